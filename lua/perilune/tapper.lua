-- SPDX-License-Identifier: Apache-2.0
--
-- Captures that go on: a file for each instance that fires (capture_act.lua), begun and ended as acts are. Each end is
-- an event; what cannot be begun is an error, once for a rule while it goes on.

local format = require "perilune.format"
local taps = require "perilune.core.tap"

local tapper = {}

local Tapper = {}
Tapper.__index = Tapper

local LONGEST_KEY = 64 -- bytes of a key in a file's name

--- `decl`: a policy's declaration; probe: loaded; emit(event, wall): wall nil when it is now; patient: whether packets
--- may wait for the disk, as those of a replay may. nil when it captures nothing; nil, message, code when it cannot.
function tapper.new(decl, probe, emit, patient)
  if not decl.taps then return nil end
  local tap, message, code = taps.open(probe)
  if not tap then return nil, message, code end
  return setmetatable({ decl = decl, tap = tap, emit = emit, patient = patient, going = {}, order = {}, failed = {} },
    Tapper)
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

local function begin(self, action, wall)
  local what, where = action.what, self.decl.captures
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
      self.tap:stop(slot)
      return nil, message, code
    end
  end
  return { slot = slot, path = path, action = action, rule = action.rule, key = action.key, start = wall,
    due = wall + what.seconds * 1e6, id = id_of(action) }
end

local function finish(self, capture, wall, why)
  self.going[capture.id] = nil
  local result = self.tap:stop(capture.slot)
  if result.message then
    self.emit({ event = "error", rule = capture.rule, message = ("%s: %s"):format(capture.path, result.message) }, wall)
  end
  self.emit({ event = "capture", rule = capture.rule, key = capture.key, file = capture.path, start = capture.start,
    finish = wall, packets = result.packets, bytes = result.bytes, lost = result.lost, why = result.why or why }, wall)
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

function Tapper:close(_, finished)
  self:finish()
  finished()
end

function Tapper:finish()
  self.tap:close()
end

return tapper
