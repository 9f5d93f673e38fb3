-- SPDX-License-Identifier: Apache-2.0
-- perilune bench start: from the command to the first figures on the screen.
--
--   one-liner  perilune -e 'counter { … }:watch(…):times(1)' on lo, from the cache: until its first window is shown,
--              without the window itself
--   bpftrace   bpftrace -e 'BEGIN { … }', where it is installed: until its first line
local child = require "perilune.core.child"
local loop = require "perilune.core.loop"
local measurement = require "perilune.build.measurement"
local task = require "perilune.base.task"

local start = { summary = "from the command to the first window on the screen, beside bpftrace" }

local ROUNDS = 11
local WINDOW = 0.05 -- seconds
local LINE = ('counter { iface = "lo", hook = "tc.ingress" }:watch("%dms"):times(1):json()'):format(WINDOW * 1000)

-- Starts a command; gives the seconds until its output shows `pattern`, and waits for its end.
local function first_output(t, argv, pattern)
  local begun, shown, text = loop.now(), nil, ""
  local status = t:await(function(done)
    return child.start({ argv = argv, output = function(fd, bytes)
      if fd == 1 and not shown then
        text = text .. bytes
        if text:find(pattern) then shown = loop.now() - begun end
      end
    end }, function(status) done(status or false) end)
  end)
  if status ~= 0 or not shown then
    error({ message = ("%s ended with %s before it had shown anything"):format(argv[1], tostring(status)) }, 0)
  end
  return shown
end

local function is_there(t, program)
  local found = false
  t:await(function(done)
    local started = child.start({ argv = { program, "--version" }, output = function() end }, function(status)
      found = status == 0
      done(true)
    end)
    if not started then done(true) end
    return started or true
  end)
  return found
end

local function measure(t, program)
  local ways = {
    { way = "one-liner", argv = { program, "-e", LINE }, pattern = "\n?{[^\n]*\n", less = WINDOW },
    { way = "bpftrace", argv = { "bpftrace", "-e", 'BEGIN { printf("first\\n"); exit(); }' }, pattern = "first\n",
      less = 0 },
  }
  if not is_there(t, "bpftrace") then ways[2] = nil end
  first_output(t, ways[1].argv, ways[1].pattern) -- the cache is filled
  for round = 1, ROUNDS do
    for _, one in ipairs(ways) do
      one.times = one.times or {}
      one.times[round] = (first_output(t, one.argv, one.pattern) - one.less) * 1000
    end
  end
  return ways
end

local KEYS = { "bench", "way", "rounds", "ms", "least_ms", "most_ms", "ratio" }

function start.run(parsed, context)
  local program, message, code = child.program()
  if not program then return context.broke(message, code) end
  local ways
  local ok, status
  ok, message, code, status = task.run(function(t) ways = measure(t, program) end)
  if status then return status end
  if not ok then return context.broke(message, code) end
  if not parsed.json then context.out "way          ms (median)    least     most   of one-liner" end
  local base
  for _, one in ipairs(ways) do
    local ms = measurement.median(one.times)
    base = base or ms
    local record = { bench = "start", way = one.way, rounds = ROUNDS, ms = ms, least_ms = one.times[1],
      most_ms = one.times[#one.times], ratio = ms / base }
    context.out(parsed.json and measurement.json("measurement", record, KEYS)
      or ("%-10s %13.1f %8.1f %8.1f %14.2f"):format(one.way, ms, record.least_ms, record.most_ms, record.ratio))
  end
  if #ways == 1 and not parsed.json then context.out "bpftrace is not installed" end
  return context.exit.done
end

return start
