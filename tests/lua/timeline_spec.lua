-- SPDX-License-Identifier: Apache-2.0
-- A replay as a timeline: what happened, and how long each level lasted.
local levels_seen = require "perilune.engine.levels_seen"
local sink_timeline = require "perilune.show.sink_timeline"

local TIME = 1795467965123456 -- 2026-11-23T21:06:05.123456Z

local function written(...)
  local lines = {}
  local sink = sink_timeline.new { utc = true, out = function(text)
    lines[#lines + 1] = text
    return true
  end }
  for _, e in ipairs { ... } do
    e.time, e.policy = TIME, "p"
    sink:event(e)
  end
  return table.concat(lines)
end

local function window(packets) return { event = "window", level = "calm", seconds = 1, packets = packets } end

local function transition(from, to)
  return { event = "transition", from = from, to = to, reason = "because" }
end

it("a timeline has no windows, but says what a level saw when it is left", function()
  assert.equal("21:06:05.123  start p  levels calm busy  window 1 s  2026-11-23\n"
    .. "21:06:05.123  calm → busy  because\n    after 2 s at calm: 2 windows, 1,007 packets\n"
    .. "21:06:05.123  busy → calm  because\n    after 1 s at busy: 1 window, 1 packet\n",
    written({ event = "start", levels = { "calm", "busy" }, window = 1 }, window(1000), window(7), transition("calm", "busy"),
      window(1), transition("busy", "calm")))
end)

it("levels are told apart by what they saw", function()
  local calm, busy = { name = "calm" }, { name = "busy" }
  local seen = levels_seen.new { calm, busy }
  seen:add({ level = calm, seconds = 1 }, { packets = 10, skbs = 8, bytes = 400 })
  seen:entered "busy"
  seen:add({ level = busy, seconds = 0.5 }, { packets = 1, skbs = 1, bytes = 40 })
  seen:skip(busy, 3)
  assert.same({
    { level = "calm", windows = 1, seconds = 1, packets = 10, skbs = 8, bytes = 400, entered = 1 },
    { level = "busy", windows = 1, seconds = 3.5, packets = 1, skbs = 1, bytes = 40, entered = 1 },
  }, seen:list())
end)
