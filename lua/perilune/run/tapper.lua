-- SPDX-License-Identifier: Apache-2.0
--
-- Captures that go on: a file for each instance that fires (capture_act.lua), begun and ended as acts are. Each end is
-- an event, told once its file is complete: however long a disk takes, no window waits for it. What cannot be begun is
-- an error, once for a rule while it goes on.

local format = require "perilune.base.format"
local loop = require "perilune.core.loop"
local taps = require "perilune.core.tap"

local tapper = {}

local Tapper = {}
Tapper.__index = Tapper

local LONGEST_KEY = 64 -- bytes of a key in a file's name
local MOST_ENDING = 32 -- files that may wait for the disk, each with up to 8 MB (pcapng.c)
local LOOK_EVERY = 0.02 -- seconds, while there are any

-- What is to be said of a file, once it is complete. wall: nil when that is later than now.
local function tell(self, one, failure, wall)
  if failure then
    self.emit({ event = "error", rule = one.rule, message = ("%s: %s"):format(one.path, failure) }, wall)
  end
  if one.event then self.emit(one.event, wall) end
end

-- Tells of the files that are complete by now; with `all`, waits until all are.
local function tell_ended(self, all)
  local before = self.ending
  self.ending = {}
  for _, one in ipairs(before) do
    local ended, message = one.file:ended(all)
    if ended then tell(self, one, one.failure or message) else self.ending[#self.ending + 1] = one end
  end
end

-- Looks again as long as there is something to wait for.
local function look(self)
  tell_ended(self)
  if self.ending[1] then
    self.look:start(loop.now() + LOOK_EVERY)
  elseif self.closing and not self.finished then
    self:finish()
    self.closing()
  end
end


--- `decl`: a policy's declaration; probe: loaded; emit(event, wall): wall nil when it is now; patient: whether packets
--- may wait for the disk, as those of a replay may. nil when it captures nothing; nil, message, code when it cannot.
function tapper.new(decl, probe, emit, patient)
  if not decl.taps then return nil end
  local tap, message, code = taps.open(probe)
  if not tap then return nil, message, code end
  local self = setmetatable({ decl = decl, tap = tap, emit = emit, patient = patient, going = {}, order = {},
    failed = {}, ending = {} }, Tapper)
  self.look = loop.timer(function() look(self) end)
  return self
end

--- The name of an interface, for files.
function Tapper:interface(ifindex, name) self.tap:interface(ifindex, name) end

--- In a replay, after a frame.
function Tapper:consume(capture) self.tap:consume(capture) end

local function id_of(action) return ("%s\0%s\0%s"):format(action.rule, action.key or "", tostring(action.what)) end

local function plain(text) return (text:gsub("[^%w._-]", "-")) end

local function path_of(self, action, wall)
  local key = action.key and "_" .. plain(action.key):sub(1, LONGEST_KEY) or ""
  local time = format.rfc3339(wall):gsub("[-:]", ""):gsub("%d%d%dZ$", "Z")
  return ("%s/%s_%s%s_%s.pcapng"):format(self.decl.captures.dir, plain(self.decl.name), plain(action.rule), key, time)
end

-- A file that has been ended is said to be once it is complete. `event` may be nil.
local function await(self, file, capture, failure, event, wall)
  local one = { file = file, rule = capture.rule, path = capture.path, failure = failure, event = event }
  if self.patient then
    local _, message = file:ended(true)
    return tell(self, one, failure or message, wall)
  end
  self.ending[#self.ending + 1] = one
  self.look:start(loop.now())
end

local function begin(self, action, wall)
  local what, where = action.what, self.decl.captures
  if #self.ending >= MOST_ENDING then
    return nil, ("%d captures wait to be written"):format(MOST_ENDING), "EBUSY"
  end
  local ok, message, code = taps.room(where.dir, where.total, what.bytes, where.full == "oldest")
  if not ok then return nil, message, code end
  local path = path_of(self, action, wall)
  local slot
  slot, message, code = self.tap:start {
    path = path, snap = what.snap, packets = what.packets, bytes = what.bytes, everything = what.everything,
    patient = self.patient, ends = wall + math.floor(what.seconds * 1e6), set = what.set_number or -1,
    comment = ("policy %s, rule %s, %s"):format(self.decl.name, action.rule, action.reason),
  }
  if not slot then return nil, message, code end
  for _, field in ipairs(what.fields or {}) do
    ok, message, code = self.tap:suspect(slot, action.key, field)
    if not ok then
      local _, file = self.tap:stop(slot)
      await(self, file, { rule = action.rule, path = path }, nil, nil, wall)
      return nil, message, code
    end
  end
  return { slot = slot, path = path, action = action, rule = action.rule, key = action.key, start = wall,
    due = wall + what.seconds * 1e6, id = id_of(action) }
end

local function finish(self, capture, wall, why)
  self.going[capture.id] = nil
  local result, file = self.tap:stop(capture.slot)
  await(self, file, capture, result.message, { event = "capture", rule = capture.rule, key = capture.key,
    file = capture.path, start = capture.start, finish = wall, packets = result.packets, bytes = result.bytes,
    lost = result.lost, why = result.why or why }, wall)
end

--- An act begins or ends.
function Tapper:perform(action, wall)
  local known = self.going[id_of(action)]
  if action.undo then
    if known then finish(self, known, wall, "cleared") end
    return
  end
  if known then return end
  local capture, message, code = begin(self, action, wall)
  if capture then
    self.going[capture.id] = capture
    self.order[#self.order + 1] = capture
    self.failed[action.rule] = nil
  elseif self.failed[action.rule] ~= code then
    self.failed[action.rule] = code
    self.emit({ event = "error", rule = action.rule, message = "capture: " .. message,
      hint = "this is not reported again for the rule until it can capture" }, wall)
  end
end

--- The policy is loaded anew, and another captures from now on: what goes on ends here. Returns the actions that it is
--- to begin, of rules in `kept` (a set of names), with acts as `decl` has them.
function Tapper:hand_over(decl, kept, wall)
  local list, rules = {}, {}
  for _, rule in ipairs(decl.rules) do rules[rule.name] = rule end
  for _, capture in ipairs(self.order) do
    if self.going[capture.id] == capture then
      finish(self, capture, wall, "reload")
      local action, what = capture.action, nil
      for i, act in ipairs(kept[capture.rule] and rules[capture.rule].act or {}) do
        if self:act_at(capture.rule, i) == action.what then what = act end
      end
      if what then
        list[#list + 1] = { act = action.act, what = what, rule = action.rule, key = action.key, undo = false,
          reason = action.reason }
      end
    end
  end
  self.order = {}
  return list
end

-- An act of a rule, by its place.
function Tapper:act_at(name, i)
  for _, rule in ipairs(self.decl.rules) do
    if rule.name == name then return rule.act[i] end
  end
end

--- Ends those that have all they may have. wall: now, µs.
function Tapper:flush(wall)
  local left = {}
  for _, capture in ipairs(self.order) do
    if self.going[capture.id] == capture then
      if self.tap:ended(capture.slot) or wall >= capture.due then
        finish(self, capture, math.min(wall, capture.due), "time")
      else
        left[#left + 1] = capture
      end
    end
  end
  self.order = left
end

--- However few seconds there are: a capture is not left without its end.
function Tapper:close(_, finished)
  self.closing = finished
  look(self)
end

function Tapper:finish()
  if self.finished then return end
  self.finished = true
  tell_ended(self, true)
  self.look:close()
  self.tap:close()
end

return tapper
