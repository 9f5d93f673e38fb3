-- SPDX-License-Identifier: Apache-2.0
--
-- The words of the policy language: what each form may hold, and what it becomes. Whether the forms agree
-- with one another is check.lua's matter.

local acts = require "perilune.policy.acts"
local budget_form = require "perilune.policy.budget_form"
local capture_act = require "perilune.policy.capture_act"
local form = require "perilune.base.form"
local limits = require "perilune.policy.limits"
local measure = require "perilune.policy.measure"
local metric_form = require "perilune.policy.metric_form"
local options = require "perilune.policy.options"
local probes = require "perilune.probe.probes"
local receivers = require "perilune.policy.receivers"
local sandbox = require "perilune.base.sandbox"
local schedule_words = require "perilune.policy.schedule_words"
local schema = require "perilune.base.schema"
local sets = require "perilune.probe.sets"
local source = require "perilune.probe.source"
local state = require "perilune.policy.state"

local language = {}

local OF_TESTS = { "tests", "test", "pcap", "members", "only" }

local SHORTEST_WINDOW, LONGEST_WINDOW = 0.005, 86400
local MODES = { "auto", "native", "generic", "tcx", "clsact" }

local function condition(value) return measure.condition(value) end

local function top(value)
  local known = type(value) == "table" and #value == 2 and type(value[1]) == "number"
    and type(value[2]) == "string"
  if not known or value[1] < 1 or value[1] ~= math.floor(value[1]) then
    return nil, "expected how many and by which field", 'like top = { 100, "packets" }'
  end
  return { top = value[1], by = value[2] }
end

local window_rule = { type = "duration", min = SHORTEST_WINDOW, max = LONGEST_WINDOW }

local ATTACH = schema.new {
  what = "attach",
  keys = {
    iface = { type = options.ifaces }, netns = { type = options.netns }, wait = { type = "bool" },
    hook = { type = "text", one_of = options.HOOKS, default = "tc" },
    mode = { type = "text", one_of = MODES, default = "auto" },
  },
}

local POLICY = schema.new {
  what = "policy",
  keys = {
    attach = { type = "table", default = {} },
    window = { type = "duration", min = SHORTEST_WINDOW, max = LONGEST_WINDOW, default = 1 },
    always = { type = form.list "probe", default = {} }, levels = { type = form.list "level" },
    sets = { type = form.list "set", default = {} }, rules = { type = form.list "rule", default = {} },
    exports = { type = form.list("records", "metrics"), default = {} }, limits = { type = "table", default = {} },
    budget = { type = "table" }, schedules = { type = form.list "schedule", default = {} },
    receivers = { type = form.list "receiver", default = {} }, captures = { type = "table", default = {} },
    state = { type = state.declare }, history = { type = "count", min = 0, max = 1000, default = 16 },
  },
}

local LEVEL = schema.new {
  what = "level",
  keys = {
    window = window_rule, lease = { type = "duration", min = 0.01 },
    longest = { type = "duration", min = SHORTEST_WINDOW },
  },
  items = { type = form.one "probe" },
}

local RULE = schema.new {
  what = "rule",
  keys = {
    when = { type = condition, required = true, help = 'like when = rate("to.syn"):above "2k/s"' },
    clear = { type = condition }, per = { type = "text" }, hold = { type = "text" },
    act = { type = acts.list, default = {} },
    trigger = { type = "duration", min = 0.005, max = 10,
      help = 'over which slices of time the kernel tests the rule, like trigger = "50ms"' },
  },
}

local RECORDS = schema.new { what = "records", keys = { top = { type = top } } }

-- A word whose form is its checked body.
local function plain(kind, spec)
  return form.word(kind, function(name, body, at)
    local values, items = form.parse(spec, body, at, ('"%s"'):format(name))
    return form.new { form = kind, name = name, at = at, values = values, items = items }
  end)
end

local function policy_word()
  return form.word("policy", function(name, body, at)
    local values = form.parse(POLICY, body, at)
    return form.new {
      form = "policy", name = name, at = at, values = values, attach = form.parse(ATTACH, values.attach, at),
      captures = form.parse(capture_act.WHERE, values.captures, at),
      limits = limits.of(form.parse(limits.SPEC, values.limits, at), at),
      budget = values.budget and form.parse(budget_form.SPEC, values.budget, at),
    }
  end)
end

-- The words for one load of one policy, from `context`: templates (get, names),
-- describe (what own code declares: source.lua), set (name → text given from outside), options (list that declarations
-- are appended to), options_only.
function language.words(context)
  local known = {
    option = form.word("option", function(name, body, at)
      return options.declare(context, name, body, at)
    end),
    policy = policy_word(), level = plain("level", LEVEL), set = plain("set", sets.SPEC),
    rule = plain("rule", RULE), schedule = schedule_words.word(),
    source = source.word(context), records = plain("records", RECORDS), metrics = plain("metrics", metric_form.SPEC),
    receiver = plain("receiver", receivers.SPEC),
  }
  for word, act in pairs(acts.words()) do known[word] = act end
  for word, make in pairs(measure.vocabulary) do known[word] = make end
  for _, word in ipairs(OF_TESTS) do
    known[word] = function()
      sandbox.fail(nil, word .. " is a word of tests, not of policies", "perilune test FILE runs them")
    end
  end
  for _, name in ipairs(context.templates and context.templates:names() or {}) do
    if not known[name] then
      -- A template whose manifest is broken only matters to a policy that uses it.
      local manifest, message = context.templates:get(name)
      known[name] = manifest and probes.word(manifest)
        or function() sandbox.fail(nil, ('template "%s": %s'):format(name, tostring(message))) end
    end
  end
  return known
end

return language
