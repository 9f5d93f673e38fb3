-- SPDX-License-Identifier: Apache-2.0
--
-- Reads an audit log, line by line: every line is JSON of a version that is known, they are numbered without a gap,
-- and what is not so is said with the file and the line.
--
--   for record, problem in audit_read.records(sources) do … end
--
-- record: the event, with `where` ("audit.log:12") and `at` (µs since the epoch). sources: list of { name, lines
-- }, the oldest first; lines() → the next line without its newline, or nil.

local audit_event = require "perilune.event.audit_event"
local event = require "perilune.event"
local json_read = require "perilune.base.json_read"
local moment = require "perilune.base.moment"

local audit_read = {}

local function fail(where, message, hint) error({ where = where, message = message, hint = hint }, 0) end

-- Fields that are missing or of another type than declared would only show as errors of ours.
local CHECKS = {
  text = "string", texts = "table", count = "number", exact = "number", seconds = "number", bool = "boolean",
  data = "table", values = "table", fields = "table", number = "number",
}

local function check_fields(declared, value, where, path)
  for _, field in ipairs(declared) do
    local name, kind = field[1], field[2]
    local given = value[name]
    local optional = type(kind) == "table" and kind.optional or type(kind) == "string" and kind:sub(-1) == "?"
    if given == nil then
      if not optional then fail(where, ("the field %s%s is missing"):format(path, name)) end
    elseif type(kind) == "string" then
      local wanted = CHECKS[kind:gsub("%?$", "")]
      if wanted and type(given) ~= wanted then
        fail(where, ("the field %s%s is a %s, not a %s"):format(path, name, type(given), wanted))
      end
    elseif kind.object or kind.list then
      if type(given) ~= "table" then fail(where, ("the field %s%s is a %s"):format(path, name, type(given))) end
      for _, item in ipairs(kind.list and given or { given }) do
        if type(item) ~= "table" then fail(where, ("an entry of %s%s is a %s"):format(path, name, type(item))) end
        check_fields(kind.object or kind.list, item, where, path .. name .. ".")
      end
    end
  end
end

local function check(record, where)
  if record.v ~= event.version or record.event == "audit" and (record.format or 0) > audit_event.format then
    fail(where, ("it is of a newer version (events %s, format %s)"):format(tostring(record.v),
      tostring(record.format or "?")), ("this perilune reads %d and %d"):format(event.version, audit_event.format))
  end
  local declared = event.fields[record.event]
  if not declared then fail(where, ("there is no event %q"):format(record.event)) end
  check_fields(declared, record, where, "")
  record.where, record.at = where, moment.parse(record.time)
  if not record.at then fail(where, "its time is none") end
end

-- Counts lines from each audit event on; only some say their number.
local function count(self, record)
  if record.event == "audit" then self.n = 0 end
  if not self.n then fail(record.where, "the log does not begin with an audit event", "is its beginning missing?") end
  self.n = self.n + 1
  if audit_event.numbered[record.event] and record.n ~= self.n then
    fail(record.where, ("this is line %s after the audit event, and should be line %d"):format(tostring(record.n),
      self.n), record.n > self.n and "lines are missing before it" or "lines before it do not belong there")
  end
end

-- The next line of the sources: text, where.
local function next_line(self)
  while self.source do
    local text = self.source.lines()
    if text then
      self.line = self.line + 1
      return text, ("%s:%d"):format(self.source.name, self.line)
    end
    self.index = self.index + 1
    self.source, self.line = self.sources[self.index], 0
  end
end

-- A line that a crash has cut short is the last, or what comes after it begins anew. Returns where it is.
local function cut_short(self, where)
  if not self.n then return nil end
  local following = { next_line(self) }
  if not following[1] then return where end
  local record = json_read.decode(following[1])
  if type(record) ~= "table" or record.event ~= "audit" then return nil end
  self.waiting = following
  return where
end

-- The next line as JSON; what is none ends it all, unless a crash explains it.
local function decode(self, text, where)
  local record, what, at = json_read.decode(text)
  if record == nil then
    local cut = cut_short(self, where)
    if not cut then fail(where, ("no JSON: %s (byte %d)"):format(what, at)) end
    self.cut = cut
    return nil
  end
  if type(record) ~= "table" or type(record.event) ~= "string" or record.v == nil then
    fail(where, "not an event of perilune", "perilune run --audit FILE writes such logs")
  end
  return record
end

local function read(self)
  local record, where
  repeat
    local following = self.waiting or { next_line(self) }
    self.waiting, where = nil, following[2]
    if not following[1] then return nil end
    record = decode(self, following[1], where)
  until record
  check(record, where)
  record.cut_before, self.cut = self.cut, nil
  count(self, record)
  return record
end

--- An iterator: each call gives a record; nil, message at the first thing that is wrong; nil at the end. A record's
--- cut_before says where a line before it was cut short by a crash.
function audit_read.records(sources)
  local self = { sources = sources, index = 1, source = sources[1], line = 0 }
  return function()
    local ok, record = pcall(read, self)
    if ok then return record end
    if type(record) ~= "table" then error(record, 0) end
    return nil, ("%s: %s%s"):format(record.where, record.message, record.hint and " (" .. record.hint .. ")" or "")
  end
end

--- Lines of a text, as `lines` of a source.
function audit_read.lines(text)
  local at = 1
  return function()
    if at > #text then return nil end
    local finish = text:find("\n", at, true) or #text + 1
    local line = text:sub(at, finish - 1)
    at = finish + 1
    return line
  end
end

return audit_read
