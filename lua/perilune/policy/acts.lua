-- SPDX-License-Identifier: Apache-2.0
--
-- Acts: what a rule does while it fires. Their words, and what of them fits a rule.
--
--   add "set"                         the instance's key is a member
--   log, log "text"                   says it once
--   emit "name" { field = value, … }  an event of the policy's own, once; fields are text, numbers and booleans
--   capture { packets =, lasting = }   writes the packets of the suspects to a file (capture_act.lua)
--   notify "receiver"                 tells it, and tells it again when it is over
--   function(w, key) … end            is called once
--
-- A checked act is plain data, which decide.lua hands out with the instance it is for:
--   { kind =, lasts = true when clearing takes it back, outside = true when it is done outside of the engine
--     (performers.lua), text = what an event says of it, … }

local capture_act = require "perilune.policy.capture_act"
local form = require "perilune.base.form"
local measure = require "perilune.policy.measure"
local sandbox = require "perilune.base.sandbox"
local sets = require "perilune.probe.sets"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local acts = {}

local Act = {}

local MOST_FIELDS = 32 -- of an emit
local EXAMPLE = 'add "set", log, log "text", emit "name", notify "receiver", capture { … }, function(w, key)'

local function is_act(thing) return getmetatable(thing) == Act end

local function new(fields)
  fields.at = sandbox.here() or false
  return setmetatable(fields, Act)
end

local function add(name)
  if type(name) ~= "string" then sandbox.fail(nil, "add takes the name of a set", 'like add "victims"') end
  return new { kind = "add", set = name }
end

-- The fields of an emit as plain values.
local function fields_of(name, body)
  if type(body) ~= "table" or is_act(body) or measure.is_value(body) then
    sandbox.fail(nil, ('emit "%s" takes fields'):format(name), ('like emit "%s" { severity = "high" }'):format(name))
  end
  local fields, count = {}, 0
  for key, value in pairs(body) do
    if type(key) ~= "string" or not key:find "^%a[%w_]*$" then
      sandbox.fail(nil, ('emit "%s": %s is no name of a field'):format(name, units.quote(key)),
        'like { severity = "high" }')
    end
    if measure.is_value(value) then value = rawget(value, "value") end -- an option
    local kind = type(value)
    if kind ~= "string" and kind ~= "boolean" and kind ~= "number" then
      sandbox.fail(nil, ('emit "%s": %s is neither text, number nor boolean'):format(name, key),
        "the measures of the rule's conditions are in the event's values")
    end
    fields[key], count = value, count + 1
  end
  if count > MOST_FIELDS then
    sandbox.fail(nil, ('emit "%s": %d fields'):format(name, count), ("at most %d"):format(MOST_FIELDS))
  end
  return fields
end

local function emit(name)
  form.check_name("emit", name)
  return new { kind = "emit", name = name, text = name, fields = {} }
end

local function capture(body)
  local values, message, remedy = capture_act.SPEC:parse(body)
  if not values then sandbox.fail(nil, message, remedy) end
  return new { kind = "capture", values = values }
end

local function notify(name)
  if type(name) ~= "string" then
    sandbox.fail(nil, "notify takes the name of a receiver", 'like notify "soc"')
  end
  return new { kind = "notify", receiver = name }
end

-- `log` stands for itself (the rule's reason is logged), with a text it logs that; emit "name" may have fields.
Act.__call = function(act, body)
  if act.kind == "emit" then
    return setmetatable({ kind = "emit", name = act.name, text = act.name, at = act.at,
      fields = fields_of(act.name, body) }, Act)
  end
  if act.kind ~= "log" then sandbox.fail(nil, act.kind .. " takes one name", 'like add "victims"') end
  if type(body) ~= "string" and not measure.is_value(body) then
    sandbox.fail(nil, "log takes a text", 'like log "found"')
  end
  return new { kind = "log", text = tostring(body) }
end

--- The words of the language that make acts.
function acts.words()
  return {
    add = add, emit = emit, notify = notify, capture = capture, log = setmetatable({ kind = "log", at = false }, Act),
  }
end

--- A schema type: the acts of a rule, as a list.
function acts.list(value)
  if is_act(value) or type(value) == "function" then value = { value } end
  if type(value) ~= "table" then
    return nil, "expected a list of acts", 'like act = { add "victims", log }'
  end
  local list = {}
  for key in pairs(value) do
    if type(key) ~= "number" or key > #value then
      return nil, "expected a list of acts without names or gaps", 'like act = { add "victims", log }'
    end
  end
  for i, act in ipairs(value) do
    if type(act) == "function" then
      local at = sandbox.origin(act) or {}
      list[i] = { kind = "call", fn = act, file = at.file, line = at.line }
    elseif is_act(act) then
      list[i] = act
    else
      return nil, ("act %d is a %s"):format(i, type(act)), "one of " .. EXAMPLE
    end
  end
  return list
end

-- kind → function(act, rule, per, declared) → the plain act, or a located failure
local checked = {}

function checked.add(act, rule, per, declared)
  local title = ('rule "%s": add "%s"'):format(rule.name, act.set)
  local set = declared.sets[act.set]
  if not set then
    sandbox.fail(rule.at, title .. ": no such set",
      words.suggest(act.set, words.keys(declared.sets), "declare it in sets = { … }"))
  end
  if not per then
    sandbox.fail(rule.at, title .. ": there is no member to add", 'write per = "probe.field"')
  end
  local of = set.values.of
  if not sets.fits(of, per) then
    local key = per.both and "biflow: the probe has rows for both ways" or per.field
    sandbox.fail(rule.at, title .. (": the set is of %s, the rule is per %s"):format(of, key), "use another set")
  end
  return { kind = "add", set = act.set }
end

function checked.log(act) return { kind = "log", text = act.text } end

function checked.emit(act) return { kind = "emit", text = act.name, fields = act.fields } end

function checked.notify(act, rule, _, declared)
  if not declared.receivers[act.receiver] then
    local known = words.keys(declared.receivers)
    local title = ('rule "%s": notify "%s": no such receiver'):format(rule.name, act.receiver)
    sandbox.fail(act.at or rule.at, title,
      words.suggest(act.receiver, known, 'write receivers = { receiver "soc" { webhook = "https://…" } }'))
  end
  return { kind = "notify", receiver = act.receiver, text = act.receiver, lasts = true, outside = true }
end

checked.capture = capture_act.check

function checked.call(act) return act end

--- The acts of a rule as plain data. `per`: { probe, field } or nil; `declared`: forms by name, { sets =,
--- set_list =, receivers = }.
function acts.check(rule, per, declared)
  local list = {}
  for i, act in ipairs(rule.values.act) do list[i] = checked[act.kind](act, rule, per, declared) end
  return list
end

return acts
