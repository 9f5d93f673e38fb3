-- SPDX-License-Identifier: Apache-2.0
--
-- What a table may hold, declared once: known keys with type, default and whether they are required.
-- Everything a policy or a manifest writes goes through here, so that a mistyped key is an error that names
-- the nearest known one.
--
--   local spec = schema.new {
--     what = "set",                                        -- begins the messages
--     keys = { max = { type = "count", required = true, min = 1 }, ttl = { type = "duration" } },
--     items = { type = "text", noun = "a name" },          -- unnamed entries; none allowed when absent
--   }
--   local values, items = spec:parse(body)                 -- or nil, message, remedy
--
-- Types: text bool table function any, the units of units.lua, or a function(value) → value | nil, message,
-- remedy. `one_of` lists the texts allowed. `min` and `max` bound quantities, in the base unit.

local units = require "perilune.base.units"
local words = require "perilune.base.words"

local schema = {}
local Schema = {}
Schema.__index = Schema

local NOUNS = { text = "a text", bool = "true or false", table = "a table { … }",
  ["function"] = "a function" }
local LUA_TYPES = { text = "string", bool = "boolean", table = "table", ["function"] = "function" }

-- Options of a policy stand for their value: they are tables with a `kind` that carry it. → value, unit, whether it has
-- one
local function plain(value)
  if type(value) ~= "table" then return value end
  local kind = rawget(value, "kind")
  if kind == "number" or kind == "value" then
    return rawget(value, "value"), rawget(value, "unit"), true
  end
  return value
end

schema.plain = plain

local function quantity(value, unit, typed, rule)
  local number, have
  if typed and type(value) == "number" then
    if not units.fits(unit, rule.type) then
      return nil, ("expected %s, got %s, which is %s"):format(units.noun(rule.type), units.print(value, unit),
        units.noun(unit)), "write it like " .. units.example(rule.type)
    end
    number, have = value, unit
  else
    local message, remedy
    number, message, remedy = units.parse(value, rule.type)
    if not number then return nil, message, remedy end
    have = message
  end
  if rule.min and number < rule.min then
    return nil, ("%s is too small"):format(units.print(number, have)),
      "at least " .. units.print(rule.min, have)
  end
  if rule.max and number > rule.max then
    return nil, ("%s is too large"):format(units.print(number, have)),
      "at most " .. units.print(rule.max, have)
  end
  if have == "count" and rule.type == "count" and number ~= math.floor(number) then
    return nil, ("expected a whole number, got %s"):format(tostring(number))
  end
  return number
end

local function listed(choices)
  local quoted = {}
  for i, choice in ipairs(choices) do quoted[i] = ('"%s"'):format(choice) end
  return "one of " .. table.concat(quoted, ", ")
end

-- Checks one value against a rule { type, min, max, one_of }. Returns the plain value; or nil, message,
-- remedy. An option that has no value gives nil and no message.
function schema.value(given, rule)
  local value, unit, typed = plain(given)
  if value == nil then return nil end
  if type(rule.type) == "function" then return rule.type(value) end
  if units.known(rule.type) then return quantity(value, unit, typed, rule) end
  local wanted = LUA_TYPES[rule.type]
  if wanted and type(value) ~= wanted then
    return nil, ("expected %s, got %s"):format(NOUNS[rule.type],
      type(value) == "string" and ('"%s"'):format(value) or "a " .. type(value))
  end
  if rule.one_of then
    for _, choice in ipairs(rule.one_of) do
      if value == choice then return value end
    end
    return nil, ("unknown value %s"):format(units.quote(value)),
      (words.nearest(value, rule.one_of) and words.suggest(value, rule.one_of) .. " " or "")
        .. listed(rule.one_of)
  end
  return value
end

function schema.new(spec)
  for key, rule in pairs(spec.keys) do
    local known = type(rule.type) == "function" or rule.type == "any" or LUA_TYPES[rule.type]
      or units.known(rule.type)
    if not known then
      error(("schema: key %s has the unknown type %s"):format(key, tostring(rule.type)), 2)
    end
  end
  return setmetatable(spec, Schema)
end

function Schema:known()
  return words.keys(self.keys)
end

-- Named and unnamed entries apart, in an order that does not depend on the table's own.
local function split(body)
  local names, count, last = {}, 0, 0
  for key in pairs(body) do
    if type(key) == "number" and key >= 1 and key == math.floor(key) then
      count, last = count + 1, math.max(last, key)
    else
      names[#names + 1] = key
    end
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names, count, last
end

function Schema:items_of(body, count, last)
  local items = {}
  if count == 0 then return items end
  if not self.items then
    return nil, ("%s takes no unnamed entries"):format(self.what), 'write key = value'
  end
  if last ~= count then
    return nil, ("an unnamed entry of %s is nil"):format(self.what),
      "is a name misspelt, or used before it is set?"
  end
  for i = 1, count do
    local value, message, remedy = schema.value(body[i], self.items)
    if value == nil then
      return nil, ("entry %d of %s: %s"):format(i, self.what, message or "it has no value"), remedy
    end
    items[i] = value
  end
  return items
end

-- Returns a table of the named values (defaults filled in) and the list of the unnamed ones; or nil, message,
-- remedy.
function Schema:parse(body)
  if type(body) ~= "table" then
    return nil, ("%s needs a body, got a %s"):format(self.what, type(body)), "write { … } after it"
  end
  local names, count, last = split(body)
  local values = {}
  for _, key in ipairs(names) do
    local rule = type(key) == "string" and self.keys[key]
    if not rule then
      return nil, ("%s has no key %s"):format(self.what, units.quote(key)),
        words.suggest(key, self:known(), "it takes no keys")
    end
    local value, message, remedy = schema.value(body[key], rule)
    if message then return nil, ("%s: %s: %s"):format(self.what, key, message), remedy end
    values[key] = value
  end
  for _, key in ipairs(words.keys(self.keys)) do
    local rule = self.keys[key]
    if values[key] == nil and rule.required then
      return nil, ("%s lacks %s"):format(self.what, key), rule.help
    end
    if values[key] == nil then values[key] = rule.default end
  end
  local items, message, remedy = self:items_of(body, count, last)
  if not items then return nil, message, remedy end
  return values, items
end

return schema
