-- SPDX-License-Identifier: Apache-2.0
--
-- Quantiles of a histogram whose classes double (bpf/histogram.h): class 0 holds values from 0 to below `first`,
-- class k from first · 2^(k-1) to below first · 2^k, and the last everything from there on.
--
-- Of N values, the q-quantile lies in the class where the running count reaches q · N, and is put there by linear
-- interpolation: as far from the class's lower end to its upper as q · N is from the count before the class to the
-- one after. It is thus at most a factor of two off, and exact at the ends of classes. In the last class, which has
-- no upper end, it is the lower one: "at least". (Prometheus's histogram_quantile does the same.)

local histogram = {}

--- counts[1 … n] → the q-quantile in the unit of `first`; NaN when all counts are 0.
function histogram.quantile(counts, n, first, q)
  local total = 0
  for k = 1, n do total = total + counts[k] end
  if total == 0 then return 0 / 0 end
  local wanted, before = q * total, 0
  for k = 1, n do
    local count = counts[k]
    if count > 0 and before + count >= wanted then
      local low = k == 1 and 0 or first * 2 ^ (k - 2)
      if k == n then return low end
      local high = first * 2 ^ (k - 1)
      return low + (high - low) * math.max(0, wanted - before) / count
    end
    before = before + count
  end
  return first * 2 ^ (n - 2) -- q · N was rounded up beyond N
end

--- The same of { class, from 1 on → count }, where the last class is -n (parts.lua).
function histogram.of_weights(weights, first, q)
  local counts, n = {}, 1
  for class in pairs(weights) do n = math.max(n, class < 0 and -class or class + 1) end
  for k = 1, n do counts[k] = weights[k] or 0 end
  counts[n] = weights[-n] or 0
  return histogram.quantile(counts, n, first, q)
end

return histogram
