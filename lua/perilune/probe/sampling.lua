-- SPDX-License-Identifier: Apache-2.0
--
-- What `sample` says of a probe, and how far its rate may be changed while it runs.
--
--   sample = 10                                    one packet in 10; where the policy has a budget, it may thin that
--   sample = "auto"                                every packet, until the budget thins it
--   sample = { from = 10, to = 640 }               between one in 10 and one in 640
--   sample = { target = "10k/s", to = 1000 }       as many as it takes to look at 10,000 packets a second

local schema = require "perilune.base.schema"

local sampling = {}

local MOST = 1000000 -- one packet in so many
local HALVINGS = 10 -- as long as nothing else is said

local SPEC = schema.new {
  what = "sample",
  keys = {
    from = { type = "count", min = 1, max = MOST, default = 1 },
    to = { type = "count", min = 2, max = MOST * 2 ^ HALVINGS },
    target = { type = "rate", min = 1 },
  },
}

--- A type of schema.lua: → { one_in, to (or nil), target (packets a second, or nil), live (whether it asks to be
--- changed) } | nil, message, remedy.
function sampling.parse(value)
  if value == "auto" then return { one_in = 1, live = true } end
  if type(value) == "table" then
    local values, message, remedy = SPEC:parse(value)
    if not values then return nil, message, remedy end
    if values.to and values.to < 2 * values.from then
      return nil, ("from one in %d to one in %d there is nothing between"):format(values.from, values.to),
        "a rate is thinned by doubling: make `to` twice `from` or more"
    end
    return { one_in = values.from, to = values.to, target = values.target, live = true }
  end
  local one_in, message, remedy = schema.value(value, { type = "count", min = 1, max = MOST })
  if not one_in then
    return nil, message, (remedy and remedy .. ", or " or "") .. 'like 10, "auto", { from = 1, to = 64 }'
  end
  return { one_in = one_in, live = false }
end

--- How often the rate may be doubled; 0: it is fixed. `budget`: whether the policy has one.
function sampling.halvings(sample, budget)
  if not sample or not (budget or sample.target) then return 0 end
  if not sample.to then return HALVINGS end
  return math.floor(math.log(sample.to / sample.one_in) / math.log(2) + 1e-9)
end

--- The rate in force when thinned so often: one packet in so many.
function sampling.rate(probe, thin)
  return probe.sample and probe.sample.one_in * 2 ^ math.min(thin, probe.halvings) or 1
end

return sampling
