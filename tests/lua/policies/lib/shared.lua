-- SPDX-License-Identifier: Apache-2.0
local shared = {}

function shared.busy(probe, most)
  return rate(probe .. ".packets"):above(most)
end

return shared
