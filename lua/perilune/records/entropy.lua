-- SPDX-License-Identifier: Apache-2.0
--
-- Normalised Shannon entropy: how evenly a weight is spread over n parts. With p = w / Σw of each part with w > 0,
--
--   η = -Σ p · ln p / ln n        from 0 (all of it in one part) to 1 (the same in each)
--
-- It has no unit, so the base of the logarithm does not matter. One part alone has 0; without any weight it is not
-- known (NaN). C. E. Shannon, "A Mathematical Theory of Communication" (1948), whose redundancy is 1 - η.
--
-- One pass suffices, since -Σ p · ln p = ln S - (Σ w · ln w) / S with S = Σw.

local entropy = {}

--- From the sum of weights, the sum of w · ln w, and the number of weights above 0.
function entropy.of(sum, logs, parts)
  if parts == 0 then return 0 / 0 end
  if parts == 1 then return 0 end
  local bits = (math.log(sum) - logs / sum) / math.log(parts)
  return math.max(0, math.min(1, bits))
end

--- From the weights of a table's values: { any key → weight }.
function entropy.values(weights)
  local sum, logs, parts = 0, 0, 0
  for _, weight in pairs(weights) do
    if weight > 0 then
      sum, logs, parts = sum + weight, logs + weight * math.log(weight), parts + 1
    end
  end
  return entropy.of(sum, logs, parts)
end

return entropy
