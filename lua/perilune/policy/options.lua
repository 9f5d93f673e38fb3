-- SPDX-License-Identifier: Apache-2.0
--
-- The options of a policy: typed by their default or by `type`, set from outside, and usable in calculations.
--
--   option "surge" { default = "2k/s", help = "SYNs a second that are not normal here" }

local interfaces = require "perilune.base.interfaces"
local measure = require "perilune.policy.measure"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local options = {}

local HOOKS = { "xdp", "tc.ingress", "tc.egress", "tc" }
local TYPES = { "iface", "hook", "rate", "duration", "size", "share", "count", "text", "bool" }
local BOOLS = { ["true"] = true, yes = true, on = true, ["false"] = false, no = false, off = false }

-- A text that names interfaces, as interfaces.lua has it.
function options.iface(text)
  local list, message, remedy = interfaces.parse(text)
  if not list then return nil, message, remedy end
  return text
end

-- The list of names and globs that a text, or a list of texts, stands for.
function options.ifaces(value)
  local list = {}
  if type(value) ~= "table" then value = { value } end
  for key in pairs(value) do
    if type(key) ~= "number" or key > #value then
      return nil, "expected a name or a list of names", 'like iface = { "eth0", "veth*" }'
    end
  end
  if #value == 0 then return nil, "the list is empty", 'like iface = { "eth0", "veth*" }' end
  for i, item in ipairs(value) do
    local text, message, remedy = schema.value(item, { type = options.iface })
    if not text then return nil, message or ("name %d of the list has no value"):format(i), remedy end
    for _, name in ipairs(interfaces.parse(text)) do list[#list + 1] = name end
  end
  return list
end

-- A network namespace: its name, or a path.
function options.netns(value)
  if type(value) ~= "string" or value == "" or value:find "%c" or value == "." or value == ".." then
    return nil, ("%s is no network namespace"):format(units.quote(value)), "a name of `ip netns`, or a path"
  end
  return value
end

local SPEC = schema.new {
  what = "option",
  keys = {
    type = { type = "text", one_of = TYPES }, default = { type = "any" }, help = { type = "text" },
    one_of = { type = "table" }, min = { type = "any" }, max = { type = "any" },
  },
}

local function type_by_default(default)
  if type(default) == "number" then return "count" end
  if type(default) == "boolean" then return "bool" end
  if type(default) ~= "string" then return nil end
  local value, unit = units.parse(default)
  if not value then return "text" end
  return unit == "byterate" and "rate" or unit
end

-- Reads a given value (a text from the command line, or what the policy wrote). Returns value, unit; or nil,
-- message, remedy.
local function read(option, given)
  local kind = option.type
  if kind == "iface" then return options.iface(given) end
  if kind == "bool" then
    if type(given) == "string" then given = BOOLS[given:lower()] end
    if type(given) ~= "boolean" then return nil, "expected true or false", "yes, no, on and off will do" end
    return given
  end
  if not units.known(kind) then return schema.value(given, { type = "text", one_of = option.one_of }) end
  local value, unit, remedy = units.parse(given, option.unit or kind, option.unit ~= nil)
  if not value then return nil, unit, remedy end
  local checked, message, hint = schema.value(measure.number(value, unit),
    { type = kind, min = option.least, max = option.most })
  if not checked then return nil, message, hint end
  if option.one_of then
    for _, choice in ipairs(option.one_of) do
      if units.parse(choice) == value then return value, unit end
    end
    return nil, ("unknown value %s"):format(units.quote(given)), "one of " .. words.list(option.one_of)
  end
  return value, unit
end

local function bound(option, given)
  if given == nil then return nil end
  local value, message, remedy = units.parse(given, option.unit or option.type, option.unit ~= nil)
  if not value then sandbox.fail(option, ('option "%s": %s'):format(option.name, message), remedy) end
  return value
end

-- What to write for an option of this type.
local function example(option)
  if option.one_of then return tostring(option.one_of[1]) end
  if units.known(option.type) then return (tostring(units.example(option.type)):gsub('"', "")) end
  return option.type == "iface" and "eth0" or option.type == "bool" and "yes" or "text"
end

local function settle(option, body, context)
  local given = context.set[option.name]
  local from_outside = given ~= nil
  if not from_outside then given = body.default end
  if given == nil and option.type ~= "iface" then
    if not context.options_only then
      sandbox.fail(option, ('option "%s" has no value'):format(option.name),
        ("give it with --set %s=%s"):format(option.name, example(option)))
    end
    given = example(option)
  end
  if given == nil then return end
  local value, message, remedy = read(option, given)
  if value == nil then
    local place = from_outside and ("--set %s=%s"):format(option.name, tostring(given))
      or ('option "%s": default'):format(option.name)
    sandbox.fail(option, place .. ": " .. message, remedy)
  end
  option.value = value
  if units.known(option.type) then option.unit = message end
end

-- Declares an option and returns the value that stands for it in the policy. `context` holds `set` (name →
-- text given from outside), `options` (the list so far) and `options_only` (values from outside do not
-- matter).
function options.declare(context, name, body, at)
  for _, other in ipairs(context.options) do
    if other.name == name then
      sandbox.fail(at, ('option "%s" is declared twice'):format(name),
        ("first in line %d"):format(other.line))
    end
  end
  local values, message, remedy = SPEC:parse(body)
  if not values then sandbox.fail(at, ('option "%s": %s'):format(name, message), remedy) end
  local option = {
    name = name, type = values.type or type_by_default(values.default), default = values.default,
    help = values.help,
    one_of = values.one_of, line = at.line, file = at.file,
  }
  if not option.type then
    sandbox.fail(at, ('option "%s" has neither a default nor a type'):format(name),
      'write default = "2k/s" or type = "iface"')
  end
  if option.type == "hook" and not option.one_of then option.one_of = HOOKS end
  if units.known(option.type) and values.default ~= nil then
    -- 5kB/s and 5k/s are both rates; which of the two an option takes is settled by its default.
    local _, unit = units.parse(values.default)
    if units.known(unit) and units.fits(unit, option.type) then option.unit = unit end
  end
  if units.known(option.type) then
    option.least, option.most = bound(option, values.min), bound(option, values.max)
  end
  settle(option, values, context)
  context.options[#context.options + 1] = option
  if units.known(option.type) then return measure.number(option.value, option.unit, name) end
  return measure.constant(option.value, name)
end

-- Values given from outside for options that the policy does not have: nil, or a message.
function options.unknown(context, file)
  local known = {}
  for i, option in ipairs(context.options) do known[i] = option.name end
  for _, name in ipairs(words.keys(context.set)) do
    local found = false
    for _, option in ipairs(known) do found = found or option == name end
    if not found then
      local nearest = words.nearest(name, known)
      return ('%s: no option "%s" (%s%s)'):format(file, name,
        nearest and ('did you mean "%s"? '):format(nearest) or "",
        #known > 0 and "it has " .. words.list(known) or "it has no options")
    end
  end
end

options.HOOKS = HOOKS

return options
