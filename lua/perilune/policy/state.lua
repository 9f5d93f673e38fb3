-- SPDX-License-Identifier: Apache-2.0
--
-- What a policy's own functions remember from window to window: `state = { alarms = 0, seen = {} }` declares names
-- with their first values, and functions read and set w.state.alarms.
--
-- A name keeps the type of its first value: number, text, true or false, or a table of plain values. All of it takes
-- at most MOST bytes. Functions run in a child, so what they have changed comes back with their answer (calls.lua);
-- one that fails changes nothing. It outlives the run (kept.lua).

local blame = require "perilune.base.blame"
local pack = require "perilune.base.pack"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local state = {}
local State = {}
State.__index = State

local MOST = 16384 -- bytes, packed
local KINDS = { number = true, string = true, boolean = true, table = true }

local function copied(value) return (pack.decode((pack.encode(value)))) end

--- A schema's type: the declared first values, as plain data; or nil, message, remedy.
function state.declare(given)
  if type(given) ~= "table" then return nil, "expected names with first values", "like state = { alarms = 0 }" end
  for name, value in pairs(given) do
    if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" then
      return nil, ("%s is no name"):format(units.quote(name)), "like state = { alarms = 0 }"
    end
    if not KINDS[type(value)] then
      return nil, ("%s: a %s cannot be kept"):format(name, type(value)), "a number, a text, true, false or a table"
    end
  end
  local text, message = pack.encode(given, MOST)
  if not text then return nil, message, "it is for a few figures" end
  return pack.decode(text)
end

--- declared: as declare() gives it.
function state.new(declared)
  return setmetatable({ declared = declared, values = copied(declared) }, State)
end

local function undeclared(self, name)
  blame.fail('the policy declares no state "%s" (%s)', tostring(name),
    words.suggest(tostring(name), words.keys(self.declared), "write state = { … } in the policy"))
end

--- What functions see as w.state.
function State:proxy()
  return setmetatable({}, {
    __index = function(_, name)
      local value = self.values[name]
      if value == nil then undeclared(self, name) end
      return value
    end,
    __newindex = function(_, name, value)
      local first = self.declared[name]
      if first == nil then undeclared(self, name) end
      if type(value) ~= type(first) then
        blame.fail('the state "%s" is a %s and cannot become %s', name, type(first),
          value == nil and "nil" or "a " .. type(value))
      end
      self.values[name] = value
    end,
    __metatable = false,
  })
end

--- All of it as text; an error when that is too much, or not plain.
function State:text()
  local text, message = pack.encode(self.values, MOST)
  return text or blame.fail("the state cannot be kept: %s", message)
end

--- Takes values of an earlier run, or of a child: those whose names are declared and whose types fit. Returns how
--- many.
function State:take(values)
  local taken = 0
  for name, first in pairs(self.declared) do
    if type(values[name]) == type(first) then
      self.values[name] = values[name]
      taken = taken + 1
    end
  end
  return taken
end

--- Back to what text() gave.
function State:put(text) self.values = pack.decode(text) end

--- As plain data. A trusted policy's functions may have put in what cannot be kept: then it is the first values.
function State:export()
  local text = pack.encode(self.values, MOST)
  return text and pack.decode(text) or copied(self.declared)
end

return state
