-- SPDX-License-Identifier: Apache-2.0
--
-- The verb where on plain rows: the same conditions as on records, and function(row). What a field is, is told by its
-- values: all numbers, all true or false, otherwise text, which is compared as it is.

local expression = require "perilune.records.expression"
local list = require "perilune.records.list"

local KINDS = { number = "uint", boolean = "bool", table = "list" }

-- A field of rows as comparison.lua wants it.
local function new_field(rows, name, index)
  local kind, mixed = nil, (list.about(rows).enums or {})[name]
  for _, row in ipairs(rows) do
    local this = KINDS[type(list.value(row, name))] or "text"
    mixed = mixed or (kind and kind ~= this)
    kind = kind or this
  end
  if mixed then kind = "text" end
  return {
    name = name, index = index, kind = kind, mixed = mixed, list = kind == "list", count = 0, textual = kind == "text",
  }
end

-- A class of records (record.lua) for rows, whose fields are looked at when a condition names them.
local function class_of(rows)
  local known = {}
  for _, row in ipairs(rows) do
    for name in pairs(row) do known[name] = true end
  end
  local class, n = { plain = true, names = {} }, 0
  for name in pairs(known) do class.names[#class.names + 1] = tostring(name) end
  class.by_name = setmetatable({}, {
    __index = function(fields, name)
      if not known[name] then return nil end
      n = n + 1
      fields[name] = new_field(rows, name, n)
      return fields[name]
    end,
  })
  return class
end

local function by_condition(rows, condition)
  if #rows == 0 and (type(condition) == "string" or type(condition) == "table") then return {} end
  local compiled, constants = expression.prepare(class_of(rows), condition)
  local lines = {}
  for i = 1, #constants do lines[i] = ("local c%d = c[%d]"):format(i, i) end
  lines[#lines + 1] = "local out, m = {}, 0 for i = 1, #rows do local row = rows[i]"
  for _, field in ipairs(compiled.fields) do
    lines[#lines + 1] = ("local v%d = row[%q]"):format(field.index, field.name)
  end
  lines[#lines + 1] = ("if %s then m = m + 1 out[m] = row end end return out"):format(compiled.condition)
  local run = assert(loadstring("local rows, c = ... " .. table.concat(lines, "\n"), "=perilune.where"))
  return run(rows, constants)
end

local function by_function(rows, fn)
  local out = {}
  for _, row in ipairs(rows) do
    if fn(row) then out[#out + 1] = row end
  end
  return out
end

-- Rows whose fields have these values, that meet a condition, or for which a function(row) is true.
local function where(rows, condition)
  local chosen = type(condition) == "function" and by_function(rows, condition) or by_condition(rows, condition)
  return list.new(chosen, list.about(rows))
end

return { where = where }
