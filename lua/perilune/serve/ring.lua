-- SPDX-License-Identifier: Apache-2.0
--
-- The last so many things, oldest first.
local ring = {}
local Ring = {}
Ring.__index = Ring

function ring.new(most) return setmetatable({ most = most, first = 1, last = 0 }, Ring) end

function Ring:add(item)
  self.last = self.last + 1
  self[self.last] = item
  if self.last - self.first >= self.most then
    self[self.first] = nil
    self.first = self.first + 1
  end
end

function Ring:newest() return self[self.last] end

--- The newest `count` of them (all when nil), oldest first, as a list.
function Ring:list(count)
  local out = {}
  local first = count and math.max(self.first, self.last - count + 1) or self.first
  for i = first, self.last do out[#out + 1] = self[i] end
  return out
end

return ring
