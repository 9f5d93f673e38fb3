-- SPDX-License-Identifier: Apache-2.0
-- perilune bench call: what a policy's own function costs, in the child that it runs in (calls.lua) and without one.
--
--   window  the first call in a window: fork, call, the child's end
--   again   a further call in the same window
--   direct  the same function, called in this process
--
-- A fork copies page tables, so the first is measured for several sizes of the process: as it is, and with so much more
-- memory in use (records of a large window, say).
local calls = require "perilune.engine.calls"
local ffi = require "ffi"
local loop = require "perilune.core.loop"
local measurement = require "perilune.build.measurement"

local call = { summary = "a policy's function: in its child, and without one" }

local WINDOWS, AGAIN, DIRECT = 300, 5000, 1000000
local MORE = { 0, 16, 64, 256 } -- MiB

local function condition(w, key) return w.packets > 10 and key ~= "" end

local NODE = { kind = "function", fn = condition, line = 1 }
local WINDOW = { packets = 20 }
local DECL = {
  rules = { { when = NODE, act = {} } }, limits = { time = 10, total = 10, memory = 64e6 }, trusted = false,
}

local function resident_mb()
  local file = assert(io.open "/proc/self/statm")
  local pages = file:read "*a":match "^%d+ (%d+)"
  file:close()
  return tonumber(pages) * 4096 / 1e6
end

local function windows(caller)
  local times = {}
  for i = 1, WINDOWS do
    local begun = loop.now()
    assert(caller:call(NODE, WINDOW, "10.0.0.1"))
    caller:finish()
    times[i] = (loop.now() - begun) * 1e6
  end
  return times
end

-- Medians hide what the scheduler does now and then; the 99th percentile shows it.
local function report(print, kind, way, times, extra)
  print(kind, { bench = "call", way = way, us = measurement.median(times),
    p99_us = measurement.quantile(times, 0.99), rounds = #times, resident_mb = extra })
end

local function measure(print)
  local caller = calls.new(DECL)
  for _, more in ipairs(MORE) do
    local memory = more > 0 and ffi.new("char[?]", more * 2 ^ 20) or nil
    if memory then ffi.fill(memory, more * 2 ^ 20, 1) end
    report(print, "measurement", "window", windows(caller), resident_mb())
  end
  assert(caller:call(NODE, WINDOW, "10.0.0.1"))
  local again = {}
  for i = 1, AGAIN do
    local begun = loop.now()
    caller.used = 0 -- it is not the limits that are measured
    assert(caller:call(NODE, WINDOW, "10.0.0.1"))
    again[i] = (loop.now() - begun) * 1e6
  end
  caller:finish()
  report(print, "measurement", "again", again)
  local direct = {}
  for i = 1, 9 do
    local begun, held = loop.now(), 0
    for n = 1, DIRECT do
      WINDOW.packets = n
      if condition(WINDOW, "10.0.0.1") then held = held + 1 end
    end
    assert(held == DIRECT - 10)
    direct[i] = (loop.now() - begun) * 1e6 / DIRECT
  end
  report(print, "measurement", "direct", direct)
end

local KEYS = { "bench", "way", "resident_mb", "rounds", "us", "p99_us" }

function call.run(parsed, context)
  if not parsed.json then
    context.out "way      process MB   µs a call (median)   99th percentile"
  end
  measure(function(kind, record)
    if parsed.json then return context.out(measurement.json(kind, record, KEYS)) end
    context.out(("%-8s %10s   %18.3f   %15.3f"):format(record.way,
      record.resident_mb and ("%.0f"):format(record.resident_mb) or "-", record.us, record.p99_us))
  end)
  return context.exit.done
end

return call
