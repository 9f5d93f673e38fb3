-- SPDX-License-Identifier: Apache-2.0
--
-- Time zones, as the system knows them: TZif files (RFC 8536) with what they say of the past and, in their last
-- line, of every year to come (zone_rule.lua). Times are whole seconds; UTC ones since 1970, local ones as a
-- clock on the wall would count them.

local civil = require "perilune.calendar.civil"
local zone_rule = require "perilune.calendar.zone_rule"

local zone = {}
local Zone = {}
Zone.__index = Zone

local DIRECTORIES = { "/usr/share/zoneinfo", "/usr/lib/zoneinfo" }
local LOCAL = "/etc/localtime"
local LARGEST = 1024 * 1024 -- bytes; files have some kB
local HEADER = 44
-- No offset is further from UTC, so a local time is one of a UTC time so near.
local FAR = 30 * 3600
-- Most of the time nothing changes: for blocks of so many seconds it is remembered.
local BLOCK, MOST_BLOCKS = 16 * civil.DAY, 256

-- Big-endian integers. 64-bit ones need not be exact beyond 2^53 s: that is before the universe.
local function u32(bytes, at)
  local a, b, c, d = bytes:byte(at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function i32(bytes, at)
  local value = u32(bytes, at)
  return value >= 2 ^ 31 and value - 2 ^ 32 or value
end

local function i64(bytes, at) return i32(bytes, at) * 2 ^ 32 + u32(bytes, at + 4) end

-- The header at a place: { version, leaps, times, types, size of the block behind it }; nil when it is none.
local function header(bytes, at, wide)
  if #bytes < at + HEADER - 1 or bytes:sub(at, at + 3) ~= "TZif" then return nil end
  local counts = {}
  for i = 0, 5 do counts[i] = u32(bytes, at + 20 + 4 * i) end
  local head = { version = bytes:byte(at + 4), leaps = counts[2], times = counts[3], types = counts[4] }
  head.size = head.times * (wide + 1) + head.types * 6 + counts[5] + head.leaps * (wide + 4) + counts[1] + counts[0]
  if #bytes < at + HEADER - 1 + head.size or head.types == 0 then return nil end
  return head
end

-- Changes of the offset: lists at[i], after[i], and the offset before the first.
local function block(bytes, at, head, wide)
  local times, types = at, at + head.times * wide
  local offsets, changes, after = types + head.times, {}, {}
  local function offset(type) return i32(bytes, offsets + 6 * type) end
  for i = 1, head.times do
    local type = bytes:byte(types + i - 1)
    if type >= head.types then return nil end
    changes[i] = (wide == 8 and i64 or i32)(bytes, times + (i - 1) * wide)
    after[i] = offset(type)
  end
  return { at = changes, after = after, first = offset(0) }
end

-- A zone from the bytes of its file; nil, message when they are none.
function zone.parse(bytes, name)
  local at, wide = 1, 4
  local head = header(bytes, at, wide)
  if head and head.version >= 0x32 then -- "2": what follows has 64 bits, and a rule behind it
    at, wide = at + HEADER + head.size, 8
    head = header(bytes, at, wide)
  end
  if not head then return nil, "it is no file of a time zone" end
  if head.leaps > 0 then return nil, "it counts leap seconds, which clocks do not" end
  local known = block(bytes, at + HEADER, head, wide)
  if not known then return nil, "it is broken" end
  local footer = wide == 8 and bytes:sub(at + HEADER + head.size):match "^\n([^\n]*)\n" or ""
  local rule = footer ~= "" and zone_rule.parse(footer) or nil
  if footer ~= "" and not rule then return nil, ('its rule "%s" cannot be read'):format(footer) end
  return setmetatable({ name = name, known = known, rule = rule, blocks = {}, blocks_known = 0 }, Zone)
end

-- How many of the listed changes are at or before a time.
local function position(list, utc)
  local low, high = 0, #list
  while low < high do
    local middle = math.ceil((low + high) / 2)
    if list[middle] <= utc then low = middle else high = middle - 1 end
  end
  return low
end

-- The offset that holds all through the block of a time (and far beyond its edges), or false.
local function block_offset(self, time)
  local number = math.floor(time / BLOCK)
  local offset = self.blocks[number]
  if offset ~= nil then return offset end
  if self.blocks_known >= MOST_BLOCKS then self.blocks, self.blocks_known = {}, 0 end
  local from = number * BLOCK - FAR
  offset = #self:changes(from, from + BLOCK + 2 * FAR) == 0 and self:look_up(from)
  self.blocks[number], self.blocks_known = offset, self.blocks_known + 1
  return offset
end

-- Seconds east of UTC at a time.
function Zone:offset(utc)
  return block_offset(self, utc) or self:look_up(utc)
end

function Zone:look_up(utc)
  local known = self.known
  local at = position(known.at, utc)
  if at == #known.at and self.rule then return self.rule:offset(utc) end
  return at == 0 and known.first or known.after[at]
end

-- Every { at, before, after } with `from` < at <= `to`, in order; only what changes the offset.
function Zone:changes(from, to)
  local list, before = {}, self:look_up(from)
  local function take(at, after)
    if after ~= before then list[#list + 1] = { at = at, before = before, after = after } end
    before = after
  end
  local known = self.known
  for i = position(known.at, from) + 1, position(known.at, to) do take(known.at[i], known.after[i]) end
  local last = known.at[#known.at] or -math.huge
  if self.rule and to > last then
    for _, change in ipairs(self.rule:changes(math.max(from, last), to)) do take(change.at, change.after) end
  end
  return list
end

-- When clocks show a local time: the list of UTC times, which is empty for a time that is skipped and has two for
-- one that is repeated; and for a skipped one the change { at, before, after } that skips it.
function Zone:utc(wall)
  local steady = block_offset(self, wall)
  if steady then return { wall - steady } end
  local from = wall - FAR
  local changes = self:changes(from, wall + FAR)
  local times, begin, offset = {}, -math.huge, self:offset(from)
  for i = 1, #changes + 1 do
    local change = changes[i]
    local at = wall - offset
    if at >= begin and at < (change and change.at or math.huge) then times[#times + 1] = at end
    if change then begin, offset = change.at, change.after end
  end
  if #times > 0 then return times end
  for _, change in ipairs(changes) do
    if wall >= change.at + change.before and wall < change.at + change.after then return times, change end
  end
  return times
end

-- The local time at a UTC time, and its day.
function Zone:wall(utc)
  local wall = utc + self:offset(utc)
  return wall, math.floor(wall / civil.DAY)
end

zone.UTC = setmetatable({
  name = "UTC", known = { at = {}, after = {}, first = 0 }, blocks = {}, blocks_known = 0,
}, Zone)

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read(LARGEST)
  file:close()
  return bytes or "" -- a directory
end

local function open_local()
  local bytes = read(LOCAL)
  if not bytes then return setmetatable({ name = "local" }, { __index = zone.UTC }) end -- as libc does
  local found, message = zone.parse(bytes, "local")
  if not found then return nil, LOCAL .. ": " .. message end
  return found
end

-- A zone by its name ("Europe/Berlin", "UTC"), or the machine's when nil. nil, message, hint when there is none.
function zone.open(name)
  if name == nil then return open_local() end
  if name == "UTC" then return zone.UTC end
  local plain = name:find "^[%w_+-]+$" or name:find "^[%w_+/-]+$" and not name:find "//" and not name:find "^/"
    and not name:find "/$"
  local seen = false
  for _, directory in ipairs(plain and DIRECTORIES or {}) do
    local bytes = read(directory .. "/" .. name)
    if bytes then
      local found, message = zone.parse(bytes, name)
      if found then return found end
      return nil, ('the time zone "%s": %s'):format(name, message), 'like zone = "Europe/Berlin"'
    end
    seen = seen or read(directory .. "/tzdata.zi") ~= nil or read(directory .. "/Etc/UTC") ~= nil
  end
  if plain and not seen then
    return nil, ('the time zone "%s" cannot be looked up'):format(name), "install the package tzdata"
  end
  return nil, ('there is no time zone "%s"'):format(name), 'like zone = "Europe/Berlin"'
end

return zone
