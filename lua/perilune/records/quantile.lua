-- SPDX-License-Identifier: Apache-2.0
--
-- Exact quantiles, by nearest rank: of N values, the q-quantile is the one with rank ⌈q·N⌉, counted from 1 in
-- ascending order (rank 1 for q = 0); so it is always one of the values. That is definition 1 of R. J. Hyndman and
-- Y. Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50 (1996), the inverse of the
-- empirical distribution function.

local blame = require "perilune.base.blame"

local quantile = {}

local random = math.random

-- q as said, 0.99 or "99%", as a number from 0 to 1.
function quantile.share(q)
  local share = q
  if type(q) == "string" then
    local percent = q:match "^([%d.]+)%%$"
    share = percent and tonumber(percent) and tonumber(percent) / 100 or tonumber(q)
  end
  if type(share) == "number" and share >= 0 and share <= 1 then return share end
  blame.fail('quantile: %s is no share of the rows (write 0.99 or "99%%")', q == nil and "nothing" or tostring(q))
end

-- The rank, from 1. q·n is computed with a rounding error, which must not lift a whole number to the next.
function quantile.rank(q, n)
  return math.max(1, math.ceil(q * n - n * 1e-15))
end

-- Hoare's partition of values[low … high] with a random pivot, so that no traffic makes selection slow: → the last of
-- the lower part, none of which exceeds any of the upper.
local function partition(values, low, high)
  local pivot, i, j = values[random(low, high - 1)], low - 1, high + 1
  while true do
    repeat i = i + 1 until values[i] >= pivot
    repeat j = j - 1 until values[j] <= pivot
    if i >= j then return j end
    values[i], values[j] = values[j], values[i]
  end
end

-- The q-quantile of values[from … from+n-1], doubles without NaN, which it puts into another order.
function quantile.select(values, from, n, q)
  local low, high, wanted = from, from + n - 1, from + quantile.rank(q, n) - 1
  while low < high do
    local last = partition(values, low, high)
    if wanted <= last then high = last else low = last + 1 end
  end
  return values[wanted]
end

-- The same of { value → how often it is there }; NaN of none.
function quantile.weighted(weights, q)
  local values, n, total = {}, 0, 0
  for value, weight in pairs(weights) do
    n = n + 1
    values[n], total = value, total + weight
  end
  if n == 0 then return 0 / 0 end
  local low, high, wanted = 1, n, quantile.rank(q, total)
  while low < high do
    local last, below = partition(values, low, high), 0
    for k = low, last do below = below + weights[values[k]] end
    if wanted <= below then
      high = last
    else
      low, wanted = last + 1, wanted - below
    end
  end
  return values[low]
end

return quantile
