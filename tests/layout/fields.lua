-- SPDX-License-Identifier: Apache-2.0
--
-- For harness.c: a function that takes a batch of one record and gives what Lua sees of it, a line for every value:
--
--   L NAME INDEXES TYPE VALUE
--
-- by tabs. INDEXES count from 0 ("[2][0]"), strings are hex. A field that is an error to read is one line of the type
-- "error".

local view = require "perilune.records.view"

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function shown(value)
  if type(value) == "string" then return hex(value) end
  if type(value) == "number" then return ("%.17g"):format(value) end
  return (tostring(value):gsub("[\t\n]", " "))
end

local function write(lines, name, indexes, value)
  if type(value) ~= "table" then
    lines[#lines + 1] = ("L\t%s\t%s\t%s\t%s\n"):format(name, indexes, type(value), shown(value))
    return
  end
  for i = 1, #value do write(lines, name, ("%s[%d]"):format(indexes, i - 1), value[i]) end
end

return function(batch)
  local records = view.new(batch, { window = 1 })
  local row, lines = records[1], {}
  for _, name in ipairs(records:fields()) do
    local ok, value = pcall(function() return row[name] end)
    if ok then
      write(lines, name, "", value)
    else
      lines[#lines + 1] = ("L\t%s\t\terror\t%s\n"):format(name, shown(value))
    end
  end
  local json = assert(records:json())
  records:close()
  lines[#lines + 1] = "R\t" .. json .. "\n"
  return table.concat(lines)
end
