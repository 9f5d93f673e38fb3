-- SPDX-License-Identifier: Apache-2.0
-- What the live view knows of a run: events go in with apply(), the renderer reads the fields. All time is
-- the events'.
local event = require "perilune.event"
local sink_text = require "perilune.show.sink_text"

local model = {
  span = 1, -- seconds that rates are over, or one window if that is longer; a bar of the trend is as long
}

local TREND = 120
local MEMBERS = 200

function model.new()
  return { levels = {}, attached = {}, recent = {}, trend = {}, tops = {}, flags = {}, sets = {}, loss = {},
    not_parsed_by = {} }
end

local apply = {}

function apply.start(m, e)
  m.policy, m.levels, m.level, m.started = e.policy, e.levels, e.levels[1], e.time
end

-- Another declaration of the policy: its ladder, and only the sets that are still there.
function apply.reload(m, e)
  m.levels, m.level = e.levels, e.level
  for _, what in ipairs(e.lost) do
    local set = what:match "^set (.*)$"
    if set then m.sets[set] = nil end
  end
end

function apply.attach(m, e)
  m.attached[#m.attached + 1] = { iface = e.iface, hook = e.hook, mode = e.mode }
end

function apply.detach(m, e)
  for i = #m.attached, 1, -1 do
    if m.attached[i].iface == e.iface and m.attached[i].hook == e.hook then
      table.remove(m.attached, i)
    end
  end
end

-- Whether the window lies wholly before the span that ends at `finish`; a millisecond is forgiven.
local function old(window, finish)
  return window.finish <= finish - model.span * 1e6 + 1e3
end

-- Drops what is old, but never the newest.
local function expire(list, finish)
  while #list > 1 and old(list[1], finish) do
    table.remove(list, 1)
  end
end

local function add_all(sum, counts)
  for name, number in pairs(counts or {}) do
    sum[name] = (sum[name] or 0) + number
  end
end

local function extend_trend(m, e)
  local open = m.open or { packets = 0, seconds = 0 }
  open.packets, open.seconds = open.packets + e.packets, open.seconds + e.seconds
  m.open = open
  if open.seconds >= model.span - 0.001 then
    m.trend[#m.trend + 1] = open.packets / open.seconds
    m.open = nil
    if #m.trend > TREND then
      table.remove(m.trend, 1)
    end
  end
end

local function remember_tops(m, e)
  for i, top in ipairs(e.top or {}) do
    local kept = m.tops[top.probe] or { probe = top.probe, windows = {} }
    m.tops[top.probe] = kept
    kept.key_fields, kept.depth, kept.by = top.key_fields or {}, i, top.by or "packets"
    kept.windows[#kept.windows + 1] = { rows = top.rows, more = top.more or 0, seconds = e.seconds,
      packets = e.packets, finish = e.finish }
    local flags = m.flags[top.probe] or {}
    m.flags[top.probe] = flags
    for _, row in ipairs(top.rows) do
      for _, flag in ipairs(sink_text.FLAGS) do
        flags[flag] = flags[flag] or (row[flag] or 0) > 0
      end
    end
  end
  for name, kept in pairs(m.tops) do
    expire(kept.windows, e.finish)
    if old(kept.windows[1], e.finish) and kept.windows[1].finish ~= e.finish then
      m.tops[name] = nil
    end
  end
end

function apply.window(m, e)
  m.seq, m.level, m.seconds, m.now = e.seq, e.level, e.seconds, e.finish
  m.recent[#m.recent + 1] = { finish = e.finish, seconds = e.seconds, packets = e.packets, skbs = e.skbs,
    bytes = e.bytes, directions = e.directions }
  expire(m.recent, e.finish)
  extend_trend(m, e)
  remember_tops(m, e)
  add_all(m.loss, e.loss)
  add_all(m.not_parsed_by, e.not_parsed_by)
  if event.loss(e) > 0 then
    m.lost_at = e.finish
  end
  for name, members in pairs(e.sets or {}) do
    m.sets[name] = { count = #members, members = members, told = true }
  end
end

function apply.transition(m, e)
  m.level, m.since, m.reason = e.to, e.time, e.reason
end

function apply.action(m, e)
  if e.act ~= "add" or not e.set or not e.member then
    return
  end
  local set = m.sets[e.set] or { count = 0, members = {} }
  m.sets[e.set] = set
  if set.told then -- whoever tells the sets with the windows knows better
    return
  end
  for i, member in ipairs(set.members) do
    if member == e.member then
      if e.undo then
        table.remove(set.members, i)
        set.count = set.count - 1
      end
      return
    end
  end
  if e.undo then
    set.count = math.max(#set.members, set.count - 1)
    return
  end
  set.count = set.count + 1
  if #set.members < MEMBERS then
    set.members[#set.members + 1] = e.member
  end
end

function model.apply(m, e)
  m.now = math.max(m.now or 0, e.time)
  if apply[e.event] then
    apply[e.event](m, e)
  end
end

return model
