-- SPDX-License-Identifier: Apache-2.0
--
-- A policy and how it stands: what the daemon shows of it.
local json = require "perilune.base.json"
local loop = require "perilune.core.loop"
local template = require "perilune.probe.template"
local units = require "perilune.base.units"

local show = {}

local function probe_of(probe)
  local fields = {}
  for i, field in ipairs(template.fields(probe.manifest, probe.key, probe.features)) do fields[i] = field.name end
  return {
    name = probe.name, template = probe.template, key = probe.key and json.array { unpack(probe.key) },
    features = json.array { unpack(probe.features) }, fields = json.array(fields), filter = probe.filter,
    scope = probe.scope, sample_rate = probe.sample or 1,
  }
end

local function level_of(level)
  return {
    name = level.name, window_seconds = level.window, lease_seconds = level.lease, longest_seconds = level.longest,
    probes = json.array { unpack(level.probes) },
  }
end

local function rule_of(rule)
  return {
    name = rule.name, per = rule.per and ("%s.%s"):format(rule.per.probe, rule.per.field), hold = rule.hold,
    line = rule.line,
  }
end

-- An option's value is written as it would be given.
local function option_of(option)
  local value = option.value
  if type(value) == "number" and option.unit then value = units.print(value, option.unit) end
  return { name = option.name, type = option.type, value = value ~= nil and tostring(value) or nil, help = option.help }
end

local function claim_of(claim)
  return {
    who = claim.who, hold = claim.hold, cap = claim.cap, why = claim.why,
    seconds_left = claim.expires and math.max(0, claim.expires - loop.now()),
  }
end

local function each(list, make)
  local out = {}
  for i, item in ipairs(list or {}) do out[i] = make(item) end
  return json.encode(json.array(out))
end

local function sets_of(decl, engine)
  local members = engine and engine.decide:sets() or {}
  return each(decl.sets, function(set)
    return { name = set.name, of = set.of, max = set.max, members = #(members[set.name] or {}) }
  end)
end

--- Who is in a set: a list of texts; nil when there is no such set.
function show.members(engine, name)
  local members = engine.decide:sets()[name]
  if not members then return nil end
  local out = {}
  for i, one in ipairs(members) do out[i] = one.member end
  return json.array(out)
end

-- How long a window of any of its levels lasts, at most.
local function longest_window(decl)
  local longest = 0
  for _, level in ipairs(decl.levels) do longest = math.max(longest, level.window) end
  return longest
end

--- driver: a live driver, in whatever state. Its parts are JSON texts, which the daemon hands on as they are.
function show.state(driver)
  local decl, engine = driver.decl, driver.engine
  return {
    window_seconds = longest_window(decl),
    attach = json.encode {
      iface = decl.attach.iface and json.array { unpack(decl.attach.iface) }, hook = decl.attach.hook,
      mode = decl.attach.mode, netns = decl.attach.netns,
    },
    levels = each(decl.levels, level_of), probes = each(decl.probes, probe_of), rules = each(decl.rules, rule_of),
    sets = sets_of(decl, engine), options = each(decl.options, option_of),
    claims = each(engine and engine.levels.claims:list(), claim_of),
  }
end

return show
