-- SPDX-License-Identifier: Apache-2.0
-- An event as a line of JSON, written as its declaration (perilune.event) says: fixed order, the same bytes
-- every time.
local format = require "perilune.base.format"

local event_json = {}

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
  ["\b"] = "\\b", ["\f"] = "\\f" }

local function quote(text)
  return '"' .. format.utf8(text):gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local LIMIT = 2 ^ 53

-- Whole numbers exactly, others with nine digits; nil for what JSON has no number for.
local function number(value)
  if value ~= value or value == math.huge or value == -math.huge then
    return nil
  elseif value == 0 then
    return "0"
  elseif value == math.floor(value) and math.abs(value) <= LIMIT then
    return ("%.0f"):format(value)
  end
  return (("%.9g"):format(value):gsub(",", "."))
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  return keys
end

-- type → function(value) → JSON text | nil, what it must be
local scalar = {}

function scalar.text(value)
  if type(value) ~= "string" then
    return nil, "must be a string"
  end
  return quote(value)
end

function scalar.bool(value)
  if type(value) ~= "boolean" then
    return nil, "must be true or false"
  end
  return tostring(value)
end

function scalar.count(value)
  if type(value) ~= "number" or not (value >= 0 and value <= LIMIT) or value ~= math.floor(value) then
    return nil, "must be a whole number from 0 to 2^53"
  end
  return number(value)
end

function scalar.seconds(value)
  if type(value) ~= "number" or not (value >= 0 and value < math.huge) then
    return nil, "must be a number of seconds, not negative"
  end
  return number(value)
end

function scalar.number(value)
  if type(value) ~= "number" or not (value >= 0 and value < math.huge) then
    return nil, "must be a number, not negative"
  end
  return number(value)
end

function scalar.time(value)
  local text = format.rfc3339(value)
  if not text then
    return nil, "must be a time in µs since the epoch"
  end
  return '"' .. text .. '"'
end

function scalar.texts(value)
  if type(value) ~= "table" then
    return nil, "must be a list of strings"
  end
  local out = {}
  for i, text in ipairs(value) do
    if type(text) ~= "string" then
      return nil, "must be a list of strings"
    end
    out[i] = quote(text)
  end
  return "[" .. table.concat(out, ",") .. "]"
end

function scalar.values(value)
  if type(value) ~= "table" then
    return nil, "must be a table of numbers"
  end
  local out = {}
  for i, key in ipairs(sorted_keys(value)) do
    if type(key) ~= "string" or type(value[key]) ~= "number" then
      return nil, "must be a table of numbers with names"
    end
    out[i] = quote(key) .. ":" .. (number(value[key]) or "null")
  end
  return "{" .. table.concat(out, ",") .. "}"
end

function scalar.fields(value)
  if type(value) ~= "table" then
    return nil, "must be a table of texts, numbers and booleans"
  end
  local out = {}
  for i, key in ipairs(sorted_keys(value)) do
    local item = value[key]
    local text = type(item) == "string" and quote(item) or type(item) == "boolean" and tostring(item)
      or type(item) == "number" and (number(item) or "null")
    if type(key) ~= "string" or not text then
      return nil, "must be a table of texts, numbers and booleans with names"
    end
    out[i] = quote(key) .. ":" .. text
  end
  return "{" .. table.concat(out, ",") .. "}"
end

-- Rows made in Lua.
local function any(value)
  local kind = type(value)
  if kind == "number" then
    return number(value) or "null"
  elseif kind == "table" then
    local out = {}
    if #value > 0 then
      for i, item in ipairs(value) do
        out[i] = any(item)
      end
      return "[" .. table.concat(out, ",") .. "]"
    end
    for i, key in ipairs(sorted_keys(value)) do
      out[i] = quote(tostring(key)) .. ":" .. any(value[key])
    end
    return "{" .. table.concat(out, ",") .. "}"
  end
  return kind == "string" and quote(value) or kind == "boolean" and tostring(value) or "null"
end

--- Any value of texts, numbers, booleans, lists and tables with names; an empty table is {}.
event_json.value = any

function scalar.rows(value)
  if type(value) == "string" then
    if value:sub(1, 1) ~= "[" or value:sub(-1) ~= "]" or value:find("\n", 1, true) then
      return nil, "must be a JSON array on one line"
    end
    return value
  elseif type(value) ~= "table" then
    return nil, "must be JSON text or a list of tables"
  end
  return #value > 0 and any(value) or "[]"
end

-- Numbers to the last bit, so that reading them again gives the same; JSON has no infinity, but 1e999 is one.
local function exact(value)
  if value ~= value then return "null" end
  if value == math.huge or value == -math.huge then return value > 0 and "1e999" or "-1e999" end
  if value == math.floor(value) and math.abs(value) <= LIMIT then return ("%.0f"):format(value) end
  for digits = 15, 17 do
    local text = ("%%.%dg"):format(digits):format(value):gsub(",", ".")
    if tonumber(text) == value then return text end
  end
end

-- Plain data as it is: an empty table is a list; keys of objects are texts.
local function data(value)
  local kind = type(value)
  if kind == "number" then return exact(value) end
  if kind == "string" then return quote(value) end
  if kind == "boolean" then return tostring(value) end
  if kind ~= "table" then error("no data: a " .. kind, 0) end
  local out = {}
  if #value > 0 or next(value) == nil then
    for i, item in ipairs(value) do out[i] = data(item) end
    return "[" .. table.concat(out, ",") .. "]"
  end
  for i, key in ipairs(sorted_keys(value)) do out[i] = quote(tostring(key)) .. ":" .. data(value[key]) end
  return "{" .. table.concat(out, ",") .. "}"
end

function scalar.data(value)
  local ok, text = pcall(data, value)
  return ok and text or nil, text
end

function scalar.exact(value)
  if type(value) ~= "number" or value ~= value then return nil, "must be a number" end
  return exact(value)
end

local encode_fields

-- Every declared field with its `encode`, made once.
local encoders = setmetatable({}, { __mode = "k" })

local function encoder(kind)
  if type(kind) == "string" then
    return scalar[kind:gsub("%?$", "")]
  elseif kind.object then
    return function(value)
      if type(value) ~= "table" then
        return nil, "must be a table"
      end
      local out, why = encode_fields({}, kind.object, value)
      return out and "{" .. table.concat(out, ",") .. "}", why
    end
  elseif kind.list then
    return function(value)
      if type(value) ~= "table" then
        return nil, "must be a list"
      end
      local items = {}
      for i, item in ipairs(value) do
        local out, why = encode_fields({}, kind.list, item)
        if not out then
          return nil, why
        end
        items[i] = "{" .. table.concat(out, ",") .. "}"
      end
      return "[" .. table.concat(items, ",") .. "]"
    end
  end
  local words = {}
  for _, word in ipairs(kind) do
    words[word] = '"' .. word .. '"'
  end
  return function(value)
    return words[value], "must be one of: " .. table.concat(kind, " ")
  end
end

-- Whether a field of this type may be absent.
local function optional(kind)
  if type(kind) == "string" then
    return kind:sub(-1) == "?"
  end
  return kind.optional == true
end

-- Appends `"name":value` of every field. Returns out, or nil and what is wrong. `extra` holds names that may
-- be there too.
function encode_fields(out, declared, values, extra)
  local seen = 0
  for _, field in ipairs(declared) do
    local name, kind = field[1], field[2]
    local value = values[field.key or name]
    if value == nil then
      if not optional(kind) then
        return nil, ("the field '%s' is missing"):format(name)
      end
    else
      encoders[field] = encoders[field] or encoder(kind)
      local text, why = encoders[field](value)
      if not text then
        return nil, ("the field '%s'%s %s"):format(name, why:find("^must") and "" or ":", why)
      end
      out[#out + 1] = '"' .. name .. '":' .. text
      seen = seen + 1
    end
  end
  local known = 0
  for key in pairs(values) do
    if not (extra and extra[key]) then
      known = known + 1
    end
  end
  if known ~= seen then
    local names = {}
    for _, field in ipairs(declared) do
      names[field.key or field[1]] = true
    end
    for _, key in ipairs(sorted_keys(values)) do
      if not names[key] and not (extra and extra[key]) then
        return nil, ("there is no field '%s'"):format(tostring(key))
      end
    end
  end
  return out
end

-- Names that an event may have beside its own fields: the head's, and what is for the eye only.
local function extra_names(declarations, name)
  local extra = { rows_json = name == "records" or nil }
  for _, field in ipairs(declarations.head) do
    extra[field[1]] = true
  end
  for key in pairs(declarations.view[name] or {}) do
    extra[key] = true
  end
  return extra
end

local extras = {}

local function with_rows_json(e)
  local values = { rows = e.rows_json }
  for key, value in pairs(e) do
    if key ~= "rows_json" then
      values[key] = value
    end
  end
  return values
end

-- declarations: perilune.event. Returns the line without its newline, or nil and what is wrong with the
-- event.
function event_json.encode(declarations, e)
  local name = e.event
  local declared = declarations.fields[name]
  if not declared then
    return nil, ("there is no event '%s'"):format(tostring(name))
  end
  local time, why = scalar.time(e.time)
  if not time then
    return nil, ("event %s: the field 'time' %s"):format(name, why)
  end
  local out = { '"v":' .. declarations.version, '"time":' .. time, '"event":"' .. name .. '"' }
  if type(e.policy) == "string" then
    out[4] = '"policy":' .. quote(e.policy)
  elseif e.policy ~= nil or not declarations.without_policy[name] then
    return nil, ("event %s: the field 'policy' must be a string"):format(name)
  end
  for _, label in ipairs { "host", "site" } do
    if e[label] ~= nil then out[#out + 1] = ('"%s":%s'):format(label, quote(tostring(e[label]))) end
  end
  extras[name] = extras[name] or extra_names(declarations, name)
  local values = e.rows_json and name == "records" and with_rows_json(e) or e
  local done
  done, why = encode_fields(out, declared, values, extras[name])
  if not done then
    return nil, ("event %s: %s"):format(name, why)
  end
  return "{" .. table.concat(out, ",") .. "}"
end

--- A number as it is written in values: whole ones exactly, others with nine digits; nil when JSON has none.
event_json.number = number

return event_json
