-- SPDX-License-Identifier: Apache-2.0
--
-- How much of the machine a policy's own code may take: while its file is loaded, and while its functions are called at
-- the end of a window. These are for mistakes: far beyond what a policy needs.

local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local units = require "perilune.base.units"

local limits = {}

local CALL, WINDOW = 0.2, 0.5 -- seconds
local MEMORY = 64e6           -- bytes beyond what perilune itself has

-- For loading a file: seconds of processor time, and by the clock, however busy the machine is.
limits.load = { seconds = 1, patience = 10, memory = MEMORY }

-- Bytes that functions may print in one window.
limits.output = 65536

-- `limits = { time =, total =, memory = }` of a policy.
limits.SPEC = schema.new {
  what = "limits",
  keys = {
    time = { type = "duration", min = 0.001, max = 10 },  -- one call
    total = { type = "duration", min = 0.001, max = 10 }, -- all calls of a window
    memory = { type = "size", min = 4e6, max = 2 ^ 34 },  -- all calls of a window
  },
}

-- The limits in force, from the values that a policy has written; fails at `at` when they contradict one another.
function limits.of(values, at)
  local time = values.time or math.min(CALL, values.total or CALL)
  local total = values.total or math.max(WINDOW, time)
  if total < time then
    sandbox.fail(at, ("limits: total: %s is less than the %s of one call"):format(units.print(total, "duration"),
      units.print(time, "duration")), "raise total or lower time")
  end
  return { time = time, total = total, memory = values.memory or MEMORY }
end

return limits
