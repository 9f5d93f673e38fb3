-- SPDX-License-Identifier: Apache-2.0
--
-- The nearest known name to a mistyped one, and the sentence that offers it.

local words = {}

-- Edits (insert, delete, replace, swap of neighbours) that lead from one word to the other.
function words.distance(a, b)
  local before, last, this = {}, {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    this[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(last[j] + 1, this[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      this[j] = best
    end
    before, last, this = last, this, before
  end
  return last[#b]
end

-- The known name that was most likely meant, or nil when none is near. Equal distances: the first in
-- alphabetical order.
function words.nearest(name, known)
  local sorted = { unpack(known) }
  table.sort(sorted)
  local best, least = nil, math.max(1, math.floor(#name * 0.4)) + 1
  for _, word in ipairs(sorted) do
    local distance = words.distance(name:lower(), word:lower())
    if distance < least then best, least = word, distance end
  end
  return best
end

-- `did you mean "x"?`, else what there is to choose from, else `otherwise`.
function words.suggest(name, known, otherwise)
  local nearest = words.nearest(tostring(name), known)
  if nearest then return ('did you mean "%s"?'):format(nearest) end
  if #known == 0 then return otherwise or "there is none" end
  return "known: " .. words.list(known)
end

-- "a, b, c", cut after `most` (default 24) names.
function words.list(names, most)
  most = most or 24
  if #names <= most then return table.concat(names, ", ") end
  return table.concat(names, ", ", 1, most) .. (" and %d more"):format(#names - most)
end

-- "a", "b", "c", cut after `most`.
function words.quoted(names, most)
  local quoted = {}
  for i = 1, math.min(#names, most or 24) do quoted[i] = ('"%s"'):format(names[i]) end
  return table.concat(quoted, ", ")
end

-- The keys of a table, sorted.
function words.keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

return words
