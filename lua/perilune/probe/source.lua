-- SPDX-License-Identifier: Apache-2.0
--
-- Own code as a word of the language, a probe like any other:
--
--   source "ttl" { file = "ttl.bpf.c", windowed = { "rows", other = "other" }, knobs = { most = 64 } }
--
-- The code is what a template's is (templates/README.md): maps declared with bpf/half.h and NAME(on_packet). In the
-- place of a manifest its object is read: it is compiled once by itself, as soon as the policy is loaded
-- (describe.lua), so that all the rest of the policy is checked against what its records really hold. Where nothing can
-- be compiled, as in the trial of a policy's file (trial.lua), the probe stays undescribed, and what depends on it too.

local form = require "perilune.base.form"
local plan_probe = require "perilune.probe.plan_probe"
local probes = require "perilune.probe.probes"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local source_code = require "perilune.probe.source_code"
local source_manifest = require "perilune.probe.source_manifest"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local source = {}

local HOOKS = { "xdp", "tc.ingress", "tc.egress" }

-- What the parser may be asked for. Code whose policy does not say gets all but tunnels: a field that nobody asked for
-- would be 0 without a word.
local NEEDS = { "addresses", "transport", "ip", "tcp", "icmp", "payload", "vlan", "mpls", "tunnel", "ethertype" }
local ALL_NEEDS = { "addresses", "transport", "ip", "tcp", "icmp", "payload", "vlan", "mpls", "ethertype" }

local WINDOWED = schema.new {
  what = "windowed", items = { type = "text" },
  keys = { other = { type = "text" }, lost = { type = "text" }, index = { type = "text" } },
}

local IDENTIFIER = "^%a[%w_]*$"

-- { records' map, other maps …, other =, lost =, index = }
local function windowed(value)
  if type(value) == "string" then value = { value } end
  local values, items, remedy = WINDOWED:parse(value)
  if not values then return nil, items, remedy end
  if #items == 0 then return nil, "it names no map with records", 'like windowed = { "rows" }' end
  for i, map in ipairs(items) do values[i] = map end
  for _, map in pairs(values) do
    if not map:find(IDENTIFIER) then
      return nil, ("%s is no name of C"):format(units.quote(map)), 'as in the code, without NAME: windowed = { "rows" }'
    end
  end
  return values
end

local function list_of(known)
  return function(value)
    if type(value) == "string" then value = { value } end
    if type(value) ~= "table" or #value == 0 then return nil, "expected a list", "of " .. words.list(known) end
    local wanted = {}
    for _, name in ipairs(known) do wanted[name] = true end
    for _, name in ipairs(value) do
      if not wanted[name] then
        return nil, ("unknown value %s"):format(units.quote(tostring(name))), words.suggest(tostring(name), known)
      end
    end
    return value
  end
end

local FIELD = schema.new {
  what = "a field",
  keys = { unit = { type = "text" }, help = { type = "text" }, classes = { type = "table" },
    fold = { type = "text", one_of = { "sum", "min", "max", "last" } } },
}

local function fields(value)
  if type(value) ~= "table" then return nil, "expected a table", 'like fields = { rtt = { unit = "ns" } }' end
  local out = {}
  for name, said in pairs(value) do
    local values, message, remedy = FIELD:parse(type(said) == "string" and { unit = said } or said)
    if not values then return nil, ("%s: %s"):format(tostring(name), message), remedy end
    out[name] = values
  end
  return out
end

-- What a knob is in C: a whole number; of a duration its ns, of a size its octets.
local function knob_of(name, given)
  local value, unit = schema.plain(given)
  if type(value) == "boolean" then return { type = "count", default = value and 1 or 0 } end
  if type(value) == "string" then
    local message, remedy
    value, message, remedy = units.parse(value)
    if not value then return nil, ("%s: %s"):format(name, message), remedy end
    unit = message
  end
  if type(value) ~= "number" then
    return nil, ("%s: expected a number, got a %s"):format(name, type(value)),
      'like knobs = { most = 64, after = "50ms" }'
  end
  local whole = unit == "duration" and value * 1e9 or value
  if whole < 0 or whole > 2 ^ 53 or unit ~= "duration" and whole ~= math.floor(whole) then
    return nil, ("%s: %s is no whole number"):format(name, units.print(value, unit or "count")),
      "C gets it as KNOB_" .. name
  end
  return { type = unit == "duration" and "duration" or "count", default = value }
end

local OWN = { "file", "code", "windowed", "knobs", "fields", "hooks", "needs" }

local function spec_of(more)
  local keys = {
    file = { type = "text" }, code = { type = "text" }, windowed = { type = windowed, default = windowed "rows" },
    knobs = { type = "table", default = {} }, fields = { type = fields, default = {} },
    hooks = { type = list_of(HOOKS), default = HOOKS }, needs = { type = list_of(NEEDS), default = ALL_NEEDS },
    -- What a probe of a template has too is checked once it is known what this one counts.
    features = { type = "table", default = {} }, entries = { type = "any" }, fold = { type = "any" },
    filter = { type = "any" }, scope = { type = "any" }, sample = { type = "any" },
  }
  for name in pairs(more or {}) do keys[name] = { type = "any" } end
  return schema.new { what = "source", keys = keys }
end

local function knobs_of(given, at, title, taken)
  local out = {}
  for name, value in pairs(given) do
    local knob, message, remedy
    if type(name) ~= "string" or not name:find(IDENTIFIER) then
      message, remedy = ("%s is no name of C"):format(units.quote(name)), "letters, digits and _"
    elseif taken[name] then
      message, remedy = ("%s is a word of source itself"):format(name), "choose another name"
    else
      knob, message, remedy = knob_of(name, value)
    end
    if not knob then sandbox.fail(at, ("%s: knobs: %s"):format(title, message), remedy) end
    out[name] = knob
  end
  return out
end

local function features_of(given, at, title)
  for _, name in pairs(given) do
    if type(name) ~= "string" or not name:find(IDENTIFIER) then
      sandbox.fail(at, title .. ": features takes a list of names", 'like features = { "deep" }')
    end
  end
  return given
end

-- A failure of the compiler at its own place, with words of ours where its own would not be understood.
local function fail_compiling(message, probe, at, title)
  local missing = probe.name .. "_on_packet"
  if message:match("^[^\n]*"):find(("undeclared function '%s'"):format(missing), 1, true) then
    sandbox.fail(at, ("%s: %s has no function NAME(on_packet)"):format(title, probe.code.file),
      "static __always_inline void NAME(on_packet)(struct packet *p) { … }")
  end
  local file, line, what = message:match "^([^\n:]+):(%d+): (.*)$"
  if not file then sandbox.fail(at, ("%s: %s"):format(title, message)) end
  local hint = what:find("redefinition of", 1, true) and "a name of its own is written NAME(…)" or nil
  sandbox.fail({ file = file, line = tonumber(line) }, what, hint)
end

local function compiled(...) return require("perilune.probe.describe").object(...) end

-- The code alone, for the compiler.
local function request_of(context, probe, at)
  local kind = probe.manifest.hooks[1] == "xdp" and #probe.manifest.hooks == 1 and "xdp" or "tc"
  return plan_probe.alone(probe, at, context.templates.share or ".", kind)
end

-- The object of that: { maps, programs, layout }.
local function described(context, probe, at, title)
  local found, message = (context.describe or compiled)(request_of(context, probe, at), probe.code)
  if not found then fail_compiling(message, probe, at, title) end
  return found
end

-- The values of knobs where nothing is loaded: how many rows there is room for does not change what a row holds.
local function knobs_alone(knobs, entries)
  local values = { entries = tonumber((schema.plain(entries))) or source_manifest.ENTRIES }
  for name, knob in pairs(knobs) do values[name] = knob.default end
  return values
end

-- The rest of a body: what templates have too.
local function rest_of(body)
  local rest = {}
  for key, value in pairs(body) do rest[key] = value end
  for _, name in ipairs(OWN) do rest[name] = nil end
  return rest
end

local function undescribed(name, body, at, more)
  return form.new { form = "probe", name = name, template = "source", at = at, key = {}, features = {}, knobs = {},
    manifest = { name = "source", fields = {}, features = {}, knobs = {}, windows = {} },
    more = more and {}, body = more and body }
end

--- The word. context: templates (a registry, for `share`), describe (of an object, as describe.lua has it, which is the
--- default; false: nothing can be compiled here, and what would be is noted in `undescribed`). `more`: as of
--- probes.word.
function source.word(context, more)
  local spec = spec_of(more)
  return form.word("source", function(name, body, at)
    local title = ('source "%s"'):format(name)
    local values = form.parse(spec, body, at, ('"%s"'):format(name))
    local code = source_code.read(values, at, title)
    if values.sample and not code.text:find "weighted%s*%(" then
      sandbox.fail(at, title .. ": sample: the code counts every packet as one",
        "add up weighted(p, n) where a packet is n of something")
    end
    local features = features_of(values.features, at, title)
    local knobs = knobs_of(values.knobs, at, title, spec.keys)
    local alone = { name = name, template = "source", code = code, features = features,
      knobs = knobs_alone(knobs, values.entries), manifest = { knobs = knobs, hooks = values.hooks } }
    if context.describe == false then
      context.undescribed = context.undescribed or {}
      table.insert(context.undescribed, request_of(context, alone, at))
      return undescribed(name, body, at, more)
    end
    local manifest, key, remedy = source_manifest.of {
      name = name, windowed = values.windowed, fields = values.fields, features = features, knobs = knobs,
      hooks = values.hooks, needs = values.needs,
      described = described(context, alone, at, title),
    }
    if not manifest then sandbox.fail(at, ("%s: %s"):format(title, key), remedy) end
    local made = probes.make(manifest, name, rest_of(body), at, more)
    made.code, made.key, made.key_name, made.body = code, key, "own", more and body
    return made
  end, { identifier = true, form = "probe" })
end

return source
