-- SPDX-License-Identifier: Apache-2.0
--
-- Exact quantiles, by nearest rank: of N values, the q-quantile is the one with rank ⌈q·N⌉, counted from 1 in
-- ascending order (rank 1 for q = 0); so it is always one of the values. That is definition 1 of R. J. Hyndman and
-- Y. Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50 (1996), the inverse of the
-- empirical distribution function.

local blame = require "perilune.blame"

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

-- The q-quantile of values[from … from+n-1], doubles without NaN, which it puts into another order. Hoare's selection
-- with random pivots, so that no traffic makes it slow.
function quantile.select(values, from, n, q)
  local low, high, wanted = from, from + n - 1, from + quantile.rank(q, n) - 1
  while low < high do
    local pivot, i, j = values[random(low, high - 1)], low - 1, high + 1
    while true do
      repeat i = i + 1 until values[i] >= pivot
      repeat j = j - 1 until values[j] <= pivot
      if i >= j then break end
      values[i], values[j] = values[j], values[i]
    end
    if wanted <= j then high = j else low = j + 1 end
  end
  return values[wanted]
end

return quantile
