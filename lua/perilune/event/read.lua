-- SPDX-License-Identifier: Apache-2.0
--
-- An event's JSON line as the table that it was made of, so that sinks show those of another process as if they were
-- this one's: times are µs again, and fields have the names that they have in Lua.
local event = require "perilune.event"
local json = require "perilune.base.json"
local moment = require "perilune.base.moment"

local event_read = {}

local read_fields

local function read(kind, value)
  if value == json.null or value == nil then return nil end
  if type(kind) == "string" then
    if kind:find "^time" then return (moment.parse(value)) end
    return value
  elseif kind.object and type(value) == "table" then
    return read_fields(kind.object, value)
  elseif kind.list and type(value) == "table" then
    local list = {}
    for i, item in ipairs(value) do list[i] = read_fields(kind.list, item) end
    return list
  end
  return value
end

function read_fields(declared, values)
  local out = {}
  for _, field in ipairs(declared) do out[field.key or field[1]] = read(field[2], values[field[1]]) end
  return out
end

--- value: of the line, as json.decode has it → event | nil, message. What an event of a newer version has besides is
--- left out.
function event_read.of(value)
  if type(value) ~= "table" then return nil, "no event" end
  local declared = event.fields[value.event]
  if not declared then return nil, "an event that is not known" end
  local e = read_fields(declared, value)
  for _, field in ipairs(event.head) do e[field[1]] = read(field[2], value[field[1]]) end
  if not e.time then return nil, "an event without a time" end
  return e
end

--- → event | nil, message
function event_read.decode(text)
  local value, message = json.decode(text)
  if value == nil then return nil, message end
  return event_read.of(value)
end

return event_read
