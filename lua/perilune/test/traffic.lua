-- SPDX-License-Identifier: Apache-2.0
-- The frames of several captures as one stream in the order of time, at their own pace or another.
--
--   traffic.chain(list)    one after the other, for `perilune replay`
--   traffic.merge(list)    all on one clock, each from its own moment on, for `perilune test`
--
-- A source: source:next() → the frame's time in µs since the epoch | nil at the end | nil, message, code. The frame is
-- then the current one of source.capture; source.part says of which entry of the list, and source.part.frames how many
-- of its frames there have been.
--
-- An entry of a list:
--   name, open     what it is called, and how: open() → capture (perilune.core.capture) | nil, message, code
--   speed          how many times as fast as it was captured (1)
--   pps            frames a second, whatever their times are
--   from           seconds of the capture that are left out at its beginning
--   lasting        seconds after its begin at which it ends
--   count          frames after which it ends
--   loop           begins again when it is through, until `lasting` or `count` end it
--   src, dst       { address, n }: takes the place of the frames' own, in turn with the n - 1 addresses after it
--   at             seconds after the stream's begin at which it begins (merge)
local format = require "perilune.base.format"

local traffic = {}

local NS_A_SECOND = 1e9

-- One capture, read frame by frame. Times are ns after the first frame, which a double holds exactly for 104 days, and
-- µs since the epoch with the ns beyond them. Frames at their own pace keep their own times, however long that was.
local Part = {}
Part.__index = Part

local function new_part(entry)
  return setmetatable({ entry = entry, frames = 0, round = 0, elapsed = 0 }, Part)
end

function Part:open()
  local capture, message, code = self.entry.open()
  if not capture then return nil, message, code end
  if self.capture then self.capture:close() end
  self.capture, self.origin = capture, nil
  return true
end

-- ns after the first frame that is not left out; nil before it.
function Part:since_origin(us, ns)
  if not self.first_us then self.first_us, self.first_ns = us, ns end
  if not self.origin then
    local skipped = (us - self.first_us) * 1000 + ns - self.first_ns
    if skipped < (self.entry.from or 0) * NS_A_SECOND then return nil end
    self.origin, self.read = { us, ns }, 0
  end
  return (us - self.origin[1]) * 1000 + ns - self.origin[2]
end

-- Begins again: the pause before the first frame is as long as the others are on average.
function Part:rewind()
  local entry = self.entry
  if not entry.loop or not self.origin then return nil end
  if not entry.pps then
    if self.elapsed == self.round or self.read < 2 then
      return nil, ("%s: takes no time, so it has no pace to be repeated at (give pps)"):format(entry.name), "EINVAL"
    end
    self.round = self.elapsed + (self.elapsed - self.round) / (self.read - 1)
  end
  return self:open()
end

-- ns after the begin at which the frame that has just been read comes.
function Part:place(rel)
  local entry = self.entry
  if entry.pps then return math.floor(self.frames * NS_A_SECOND / entry.pps) end
  return math.floor(self.round + rel / (entry.speed or 1))
end

function Part:is_over(elapsed)
  local entry = self.entry
  return entry.count and self.frames >= entry.count
    or entry.lasting and elapsed >= entry.lasting * NS_A_SECOND
end

-- Reads the next frame. true | nil at the end | nil, message, code.
function Part:advance()
  local rel
  repeat
    local us, ns, code = self.capture:next()
    if us then
      self.own_us, self.own_ns = us, ns
      rel = self:since_origin(us, ns)
    elseif code then
      return nil, ns, code
    else
      local again, message, failure = self:rewind()
      if not again then return nil, message, failure end
    end
  until rel
  self.read = self.read + 1
  -- Captures of several queues run back by some µs; a round never ends before it was.
  local elapsed = self:place(rel)
  if self:is_over(elapsed) then return nil end
  self.next_ns, self.elapsed = elapsed, math.max(self.elapsed, elapsed)
  self.frames = self.frames + 1
  return true
end

function Part:begin_at(us, ns)
  self.begin_us, self.begin_ns = us, ns
end

-- The time of the frame that has been read.
function Part:time()
  local entry = self.entry
  if not entry.pps and (entry.speed or 1) == 1 and self.round == 0 then
    local ns = self.begin_ns + self.own_ns - self.origin[2]
    local carry = math.floor(ns / 1000)
    return self.begin_us + (self.own_us - self.origin[1]) + carry, ns - carry * 1000
  end
  local ns = self.begin_ns + self.next_ns
  local us = math.floor(ns / 1000)
  return self.begin_us + us, ns - us * 1000
end

-- Gives the frame its time and its addresses. true | nil, message, code
function Part:dress()
  local us, ns = self:time()
  self.capture:at(us, ns)
  for _, which in ipairs { "src", "dst" } do
    local address = self.entry[which]
    if address then
      local ok, message, code = self.capture:readdress(which, address[1], (self.frames - 1) % address[2])
      if ok == nil then return nil, message, code end
    end
  end
  return us
end

function Part:close()
  if self.capture then self.capture:close() end
  self.capture = nil
end

local Source = {}
Source.__index = Source

-- Opens all, so that what cannot be read is said before anything is run.
local function new_source(list, next_of)
  local self = setmetatable({ parts = {}, next = next_of }, Source)
  for i, entry in ipairs(list) do
    self.parts[i] = new_part(entry)
    local ok, message, code = self.parts[i]:open()
    if not ok then
      self:close()
      return nil, message, code
    end
  end
  return self
end

function Source:close()
  for _, part in ipairs(self.parts) do part:close() end
end

function Source:give(part)
  self.part, self.capture = part, part.capture
  return part:dress()
end

-- Where the part that has just been opened begins: at its own time, or right after the one before.
local function link(self, part)
  local us, ns = part.origin[1], part.origin[2]
  local before, before_ns = self.last_us, self.last_ns
  if before and part.entry.pps then
    before_ns = before_ns + math.floor(NS_A_SECOND / part.entry.pps)
    before, before_ns = before + math.floor(before_ns / 1000), before_ns % 1000
  end
  local early = before and (before - us) + (before_ns - ns) / 1000
  if early and (early > 0 or part.entry.pps) then
    if not part.entry.pps and self.note then
      self.note(("%s begins %s before %s ends: its times are shifted, so that it follows"):format(part.entry.name,
        format.duration(early / 1e6), self.linked.entry.name))
    end
    us, ns = before, before_ns
  end
  self.linked = part
  part:begin_at(us, ns)
end

local function next_in_chain(self)
  while true do
    local part = self.parts[self.at]
    if not part then return nil end
    local ok, message, code = part:advance()
    if ok then
      if not part.begin_us then link(self, part) end
      local us, ns = part:time()
      if not self.last_us or us > self.last_us or us == self.last_us and ns > self.last_ns then
        self.last_us, self.last_ns = us, ns
      end
      return self:give(part)
    end
    if code then return nil, message, code end
    self.at = self.at + 1
  end
end

--- The captures of `list` in a row. One that begins before the one in front of it ends is moved to that end, and
--- note(text) says so. nil, message, code when one cannot be opened.
function traffic.chain(list, note)
  local self, message, code = new_source(list, next_in_chain)
  if not self then return nil, message, code end
  self.at, self.note = 1, note
  return self
end

local function earlier(a, b)
  if a.us ~= b.us then return a.us < b.us end
  if a.ns ~= b.ns then return a.ns < b.ns end
  return a.order < b.order
end

-- Reads on in a part; one that has ended is taken out.
local function refill(self, part)
  local ok, message, code = part:advance()
  if not ok and code then return nil, message, code end
  if ok then
    part.us, part.ns = part:time()
    return true
  end
  for i, other in ipairs(self.open) do
    if other == part then table.remove(self.open, i) end
  end
  return true
end

-- The parts begin at their moments after `start`, which is the first capture's begin when it is not given.
local function begin_merge(self)
  local start_us, start_ns = self.start, 0
  for i, part in ipairs(self.parts) do
    part.order = i
    local ok, message, code = part:advance()
    if not ok then
      return nil, message or ("%s: holds no frame to replay"):format(part.entry.name), code or "EINVAL"
    end
    if not start_us then
      -- The stream begins where the first capture does if it is not asked to begin later.
      start_us, start_ns = part.origin[1], part.origin[2]
    end
    self.open[i] = part
    local at = start_ns + math.floor((part.entry.at or 0) * NS_A_SECOND + 0.5)
    part:begin_at(start_us + math.floor(at / 1000), at % 1000)
    part.us, part.ns = part:time()
  end
  self.start = start_us
  return true
end

local function next_in_merge(self)
  local ok, message, code = true, nil, nil
  if not self.open then
    self.open = {}
    ok, message, code = begin_merge(self)
  elseif self.part then
    ok, message, code = refill(self, self.part)
  end
  if not ok then return nil, message, code end
  local first = self.open[1]
  for _, part in ipairs(self.open) do
    if earlier(part, first) then first = part end
  end
  if not first then
    self.part = nil
    return nil
  end
  return self:give(first)
end

--- How many frames of each capture (of traffic.merge) came before the current one, by name.
function Source:before()
  local frames = {}
  for _, part in ipairs(self.parts) do frames[part.entry.name] = part.frames end
  -- Of those that are not through, one frame is current or waits for its turn.
  for _, part in ipairs(self.open or {}) do frames[part.entry.name] = part.frames - 1 end
  return frames
end

--- The captures of `list` on one clock, which shows `start` (µs since the epoch; default: the time of the first
--- capture's first frame) at 0 s. source.start is that time, known after the first next(). After the last
--- frame there is no source.part.
function traffic.merge(list, start)
  local self, message, code = new_source(list, next_in_merge)
  if not self then return nil, message, code end
  self.start = start
  return self
end

return traffic
