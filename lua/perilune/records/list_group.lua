-- SPDX-License-Identifier: Apache-2.0
--
-- The verb group on plain rows, as group.lua does it with records.

local aggregate = require "perilune.records.aggregate"
local list = require "perilune.records.list"

-- Each is the verb of the same name over the rows of one group.
local function value_of(a, rows)
  if a.kind == "count" then return #rows end
  return rows[a.kind](rows, a.field, a.q)
end

local function group(rows, by, wanted)
  local names, aggregates = aggregate.parse(by, wanted)
  local groups, order, about = {}, {}, list.about(rows)
  for _, row in ipairs(rows) do
    local key = list.keys(row, names)
    if not groups[key] then
      groups[key] = list.new({}, { seconds = about.seconds })
      order[#order + 1] = groups[key]
    end
    groups[key][#groups[key] + 1] = row
  end
  for i, members in ipairs(order) do
    local result = {}
    for _, name in ipairs(names) do result[name] = members[1][name] end
    for _, a in ipairs(aggregates) do result[a.name] = value_of(a, members) end
    order[i] = result
  end
  return list.new(order, { keys = names, enums = about.enums, seconds = about.seconds })
end

return { group = group }
