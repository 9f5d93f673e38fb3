-- SPDX-License-Identifier: Apache-2.0
--
-- From the forms of one policy to its declaration: plain data in which every name that is used exists.

local acts = require "perilune.policy.acts"
local budget_form = require "perilune.policy.budget_form"
local flow = require "perilune.records.flow"
local capture_act = require "perilune.policy.capture_act"
local form = require "perilune.base.form"
local measurable = require "perilune.policy.measurable"
local metric_form = require "perilune.policy.metric_form"
local predicate = require "perilune.policy.predicate"
local probes = require "perilune.probe.probes"
local receivers = require "perilune.policy.receivers"
local resolve = require "perilune.policy.resolve"
local sandbox = require "perilune.base.sandbox"
local schedule_words = require "perilune.policy.schedule_words"
local triggers = require "perilune.policy.triggers"
local sets = require "perilune.probe.sets"
local words = require "perilune.base.words"

local check = {}

local fail = sandbox.fail

local MODES_OF_XDP = { auto = true, native = true, generic = true }
local MODES_OF_TC = { auto = true, tcx = true, clsact = true }

local MOST_LEVELS = 64 -- of the 256 that bpf/ctl.h has room for

local function known_names(map) return words.keys(map) end

-- Forms by name; two of one name are an error.
local function by_name(list, kind)
  local map = {}
  for _, one in ipairs(list) do
    local first = map[one.name]
    if first then
      fail(one.at, ('there are two of %s "%s"'):format(kind, one.name),
        ("the first is in line %d"):format(first.at.line))
    end
    map[one.name] = one
  end
  return map
end

local function hooks_of(hook)
  return hook == "tc" and { "tc.ingress", "tc.egress" } or { hook }
end

local function attach_of(policy)
  local attach = policy.attach
  local modes = attach.hook == "xdp" and MODES_OF_XDP or MODES_OF_TC
  if not modes[attach.mode] then
    fail(policy.at, ('attach: the hook %s has no mode "%s"'):format(attach.hook, attach.mode),
      "one of " .. words.list(words.keys(modes)))
  end
  return {
    iface = attach.iface, netns = attach.netns, wait = attach.wait, hook = attach.hook, mode = attach.mode,
  }
end

-- Every distinct probe once, in order of appearance, and by name.
local function gather_probes(policy, levels, attach)
  local list, map = {}, {}
  local function take(probe)
    local first = map[probe.name]
    if first == probe then return end
    if first then
      fail(probe.at, ('two different probes are named "%s"'):format(probe.name),
        ("the first is in line %d: use that one in both places, or another name"):format(first.at.line))
    end
    for _, hook in ipairs(hooks_of(attach.hook)) do
      local runs = probe.manifest.hooks == nil
      for _, able in ipairs(probe.manifest.hooks or {}) do runs = runs or able == hook end
      if not runs then
        fail(probe.at, ("%s does not run at the hook %s"):format(probes.title(probe), hook),
          "one of " .. words.list(probe.manifest.hooks))
      end
    end
    map[probe.name] = probe
    list[#list + 1] = probe
  end
  for _, probe in ipairs(policy.values.always) do take(probe) end
  for _, level in ipairs(levels) do
    for _, probe in ipairs(level.items) do take(probe) end
  end
  if #list == 0 then
    fail(policy.at, "the policy has no probe, so there is nothing to watch",
      'write always = { counter "totals" {} }')
  end
  return list, map
end

local function level_of(policy, level, base)
  local names, seen = {}, {}
  local function take(probe)
    if not seen[probe.name] then
      seen[probe.name] = true
      names[#names + 1] = probe.name
    end
  end
  for _, probe in ipairs(policy.values.always) do take(probe) end
  for _, probe in ipairs(level.items) do take(probe) end
  local values = level.values
  local window = values.window or policy.values.window
  if base and (values.longest or values.lease) then
    fail(level.at, ('level "%s" is the base, which others fall back to: it has no end'):format(level.name),
      "leave out lease and longest")
  end
  for _, bound in ipairs { "lease", "longest" } do
    if values[bound] and values[bound] <= window then
      fail(level.at, ('level "%s": %s is not longer than its window'):format(level.name, bound),
        "make it several windows long")
    end
  end
  -- The kernel keeps to `longest` as well, should nobody be there to do so.
  local lease = math.min(values.lease or math.huge, values.longest or math.huge)
  return {
    name = level.name, window = window, probes = names, lease = lease < math.huge and lease or nil,
    longest = values.longest,
    line = level.at.line, file = level.at.file,
  }
end

-- The unit of a measure, and what else is to be known of it; a failure when there is no such thing.
local function looker(map)
  return function(kind, name, field, at, where)
    local probe = map[name]
    if not probe then
      fail(at, ('no level and no "always" has a probe "%s"'):format(name),
        words.suggest(name, known_names(map)))
    end
    if measurable.needs_rows(probe, kind, field) and not probe.manifest.rows then
      fail(at, ("%s has no rows, so there is no %s of them"):format(probes.title(probe), kind),
        "use a flows probe")
    end
    local unit, about, remedy = measurable.look(probe, kind, field)
    if not unit then fail(at, about, remedy) end
    local readable, message = true, nil
    if where then readable, message = predicate.check(probe, where) end
    if not readable then
      fail(at, ('%s of %s: where "%s": %s'):format(kind, probes.title(probe), where, message),
        'like "dport == 53 and bytes > 1e3"')
    end
    return unit, about
  end
end

local function per_of(rule, map)
  local path = rule.values.per
  if not path then return nil end
  local title = ('rule "%s": per'):format(rule.name)
  local name, field = path:match("^([%w_]+)%.([%w_]+)$")
  if not name then
    fail(rule.at, title .. (': "%s" is not "probe.field"'):format(path),
      'like per = "to.dst"')
  end
  local probe = map[name]
  if not probe then
    fail(rule.at, title .. (': no level has a probe "%s"'):format(name),
      words.suggest(name, known_names(map)))
  end
  local key = probe.key or {}
  for _, part in ipairs(key) do
    if part == field then return { probe = name, field = field } end
  end
  if field == flow.NAME and flow.in_key(key) then
    return { probe = name, field = field, both = flow.both_ways(probe.features) }
  end
  if field == flow.NAME and #key > 0 then
    fail(rule.at, title .. (": %s has no flows in its key"):format(probes.title(probe)),
      ("a key with %s, like 5tuple"):format(words.list(flow.FIELDS)))
  end
  fail(rule.at, title .. (': "%s" is not in the key of %s'):format(field, probes.title(probe)),
    words.suggest(field, key, "it has no rows"))
end

-- Going to a level where the rule's own probes do not run would clear it at once, and back again, for ever.
local function hold_of(rule, used, levels)
  local name = rule.values.hold
  if not name then return nil end
  local names = {}
  for i, level in ipairs(levels) do
    names[i] = level.name
    if level.name == name then
      local runs = {}
      for _, probe in ipairs(level.probes) do runs[probe] = true end
      for _, probe in ipairs(used) do
        if not runs[probe] then
          local says = 'rule "%s" holds level "%s", where its probe "%s" does not run: it would clear at once'
          fail(rule.at, says:format(rule.name, name, probe), ("add %s to the level"):format(probe))
        end
      end
      if not rule.values.clear then
        fail(rule.at, ('rule "%s" holds a level and lacks clear'):format(rule.name),
          'like clear = …:below("500/s"):lasting "10s"')
      end
      return name
    end
  end
  fail(rule.at, ('rule "%s" holds the unknown level "%s"'):format(rule.name, name),
    words.suggest(name, names))
end

local function rule_of(rule, map, levels, declared)
  local look, per = looker(map), per_of(rule, map)
  local when = resolve.condition(rule.values.when, look)
  local clear = rule.values.clear and resolve.condition(rule.values.clear, look)
  local used = {}
  local function visit(leaf) used[leaf.probe] = true end
  resolve.each_measure(when, visit)
  if clear then resolve.each_measure(clear, visit) end
  if per then used[per.probe] = true end
  used = words.keys(used)
  return {
    name = rule.name, when = when, clear = clear, per = per, probes = used,
    hold = hold_of(rule, used, levels),
    act = acts.check(rule, per, declared), line = rule.at.line, file = rule.at.file,
  }
end

-- The rules that the kernel tests by itself.
local function triggers_of(rules, declared, map, levels)
  local list = {}
  for i, rule in ipairs(rules) do
    if rule.values.trigger then
      local title = ('rule "%s": trigger: '):format(rule.name)
      local trigger, message, remedy = triggers.of(declared[i], rule.values.trigger, map, levels)
      if not trigger then fail(rule.at, title .. message, remedy) end
      if #list == triggers.MOST then
        fail(rule.at, title .. ("there may be %d"):format(triggers.MOST), "leave it out where a window is fast enough")
      end
      list[#list + 1] = trigger
    end
  end
  return list
end

local function records_of(exports, map)
  local records, list = {}, {}
  for _, one in ipairs(exports) do
    if one.form == "records" then list[#list + 1] = one end
  end
  by_name(list, "records")
  for _, one in ipairs(list) do
    local probe = map[one.name]
    if not probe then
      fail(one.at, ('records: there is no probe "%s"'):format(one.name),
        words.suggest(one.name, known_names(map)))
    end
    local wanted = one.values.top
    if wanted then
      if not probe.manifest.rows then
        fail(one.at, ("records: %s has no rows to choose the top of"):format(probes.title(probe)),
          "leave out top")
      end
      local unit, message, remedy = probes.field(probe, wanted.by)
      if not unit then fail(one.at, "records: " .. message, remedy) end
    end
    records[one.name] = wanted or {}
  end
  return records
end

local function plain_probe(probe)
  return {
    name = probe.name, template = probe.template, manifest = probe.manifest, key = probe.key,
    key_name = probe.key_name,
    features = probe.features, knobs = probe.knobs, fold = probe.fold, filter = probe.filter,
    sample = probe.sample, scope = probe.scope, code = probe.code,
    line = probe.at.line, file = probe.at.file,
  }
end

-- The declaration of a finished `policy` form. Fails, located, at the first thing that does not fit.
function check.declare(policy, file, options)
  local values, attach = policy.values, attach_of(policy)
  local written = values.levels
  if written == nil or #written == 0 then
    written = { form.new { form = "level", name = "base", at = policy.at, values = {}, items = {} } }
  end
  by_name(written, "level")
  if #written > MOST_LEVELS then
    fail(policy.at, ("%d levels, and there may be %d"):format(#written, MOST_LEVELS), "a ladder has few rungs")
  end
  local list, map = gather_probes(policy, written, attach)
  local decl = {
    name = policy.name, file = file, line = policy.at.line, options = options, attach = attach,
    window = values.window, limits = policy.limits, state = values.state, history = values.history,
    probes = {}, levels = {}, rules = {},
  }
  for i, probe in ipairs(list) do decl.probes[i] = plain_probe(probe) end
  for i, level in ipairs(written) do decl.levels[i] = level_of(policy, level, i == 1) end
  local by_set = by_name(values.sets, "set")
  decl.sets = sets.declare(values.sets)
  for _, probe in ipairs(list) do sets.limit(probe, by_set, decl.sets) end
  local declared = { sets = by_set, set_list = decl.sets, receivers = by_name(values.receivers, "receiver") }
  decl.receivers = receivers.declare(values.receivers)
  by_name(values.rules, "rule")
  for i, rule in ipairs(values.rules) do decl.rules[i] = rule_of(rule, map, decl.levels, declared) end
  decl.triggers = triggers_of(values.rules, decl.rules, map, decl.levels)
  by_name(values.schedules, "schedule")
  decl.schedules = schedule_words.list(values.schedules, decl.levels)
  decl.taps, decl.captures = capture_act.needs(decl.rules), policy.captures
  decl.records = records_of(values.exports, map)
  decl.metrics = metric_form.list(values.exports, map, decl.attach.hook)
  budget_form.declare(decl, policy, map)
  return decl
end

return check
