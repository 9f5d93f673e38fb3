-- SPDX-License-Identifier: Apache-2.0
-- What measurements have in common: medians, and lines of JSON. For perilune/bench/.
local measurement = {}

-- The middle one of a list of numbers, which is sorted.
function measurement.median(list)
  table.sort(list)
  local n = #list
  return n % 2 == 1 and list[(n + 1) / 2] or (list[n / 2] + list[n / 2 + 1]) / 2
end

-- The smallest of a sorted list that so many of them (a fraction, as 0.99) do not exceed.
function measurement.quantile(list, fraction)
  return list[math.max(1, math.ceil(#list * fraction))]
end

local function value_text(value)
  if type(value) == "string" then return ('"%s"'):format(value:gsub('[%c"\\]', "?")) end
  if type(value) == "number" then return (("%.6g"):format(value):gsub(",", ".")) end
  return tostring(value)
end

-- One line with these keys in this order; those without a value are left out.
function measurement.json(kind, record, keys)
  local parts = { '"v":1', ('"kind":"%s"'):format(kind) }
  for _, key in ipairs(keys) do
    if record[key] ~= nil then parts[#parts + 1] = ('"%s":%s'):format(key, value_text(record[key])) end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- "1,234,567"
function measurement.grouped(number)
  local text = ("%.0f"):format(number)
  local head = #text % 3
  local out = head > 0 and text:sub(1, head) or nil
  for i = head + 1, #text, 3 do out = (out and out .. "," or "") .. text:sub(i, i + 2) end
  return out
end

return measurement
