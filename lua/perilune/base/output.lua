-- SPDX-License-Identifier: Apache-2.0
-- Where a sink's text goes: a file descriptor, a Lua file or a function.
--
-- A reader that does not read must neither block the run for good nor cost a line: what could not be written
-- is kept and goes first the next time. A closed output is reported once and for all as nil, message,
-- "EPIPE"; a reader for whom too much is kept, as "ENOBUFS". A disk that is full is a reader that does not read;
-- report(text), if somebody sets it, hears of that, and when it is over.
--
-- Of a descriptor with soon = true, nothing waits for the reader, so that no window does: what it does not take is
-- written when it takes it, on the loop, and close() gives it a last chance. Only when more is kept than may be, one
-- that reads at all is waited for: windows become longer then, but no line is lost. What is written to a file is there
-- when write() returns, either way.
local output = {}
output.__index = output

-- Most bytes kept for a reader that does not read.
local CEILING = 16 * 1024 * 1024
local JOINED = 64 * 1024 -- bytes of small texts that are kept as one
local PIECE = 256 * 1024 -- of large ones

-- io's numbers for what a sink must tell apart.
local ERRNO = { [11] = "EAGAIN", [28] = "ENOSPC", [32] = "EPIPE" }

-- Never compiled: LuaJIT's compiled flush(), when it fails, is done again by the interpreter, which then has
-- nothing left to flush and says that all is well.
local function through_file(file)
  local function write(text)
    local ok, message, code = file:write(text)
    if ok then
      ok, message, code = file:flush()
    end
    if ok then
      return true
    end
    return nil, message, ERRNO[code] or code
  end
  jit.off(write)
  return write
end

-- target: a descriptor (number), a file handle, or function(text) → true | nil, message, code, bytes written.
-- options: soon.
function output.new(target, options)
  local write = target
  if type(target) == "number" then
    local term = require "perilune.core.term"
    write = function(text, wait)
      return term.write(target, text, wait)
    end
  elseif type(target) ~= "function" then
    write = through_file(target)
  end
  return setmetatable({
    send = write, fd = type(target) == "number" and target or nil, soon = options and options.soon or false,
    kept = {}, first = 1, last = 0, bytes = 0,
  }, output)
end

local function keep(self, text)
  local before = self.kept[self.last]
  self.bytes = self.bytes + #text
  if before and #before + #text <= JOINED then
    self.kept[self.last] = before .. text
    return
  end
  for from = 1, #text, PIECE do
    self.last = self.last + 1
    self.kept[self.last] = text:sub(from, from + PIECE - 1)
  end
end

local function forget(self)
  self.kept, self.first, self.last, self.bytes = {}, 1, 0, 0
  if self.watch then self.watch:close() end
  self.watch = nil
end

local function failed(self, message, code)
  forget(self)
  self.failure = { message = message or "cannot write", code = code }
  return nil, self.failure.message, self.failure.code
end

-- What is no failure yet. A disk has no event that says when there is room again: the next line tries.
local LATER = { EAGAIN = true, ENOSPC = true }

local function tell(self, full, message)
  if (self.full or false) == full then return end
  self.full = full
  if not self.report then return end
  self.report(full and ("%s: lines are kept until there is room, at most %d MB"):format(message, CEILING / 2 ^ 20)
    or "there is room for the output again: nothing is lost")
end

local flush

-- What is kept goes as soon as there is room for it.
local function go_on_later(self)
  if self.watch or not self.soon or not self.fd then return end
  self.watch = require("perilune.core.loop").watch(self.fd, function() flush(self, false) end, true)
end

function flush(self, wait)
  local pressed = false -- too much is kept
  while self.bytes > 0 do
    local text = self.kept[self.first]
    local ok, message, code, written = self.send(text, wait or pressed)
    if not ok and not LATER[code] then return failed(self, message, code) end
    tell(self, code == "ENOSPC", message)
    self.bytes = self.bytes - (ok and #text or written or 0)
    if not ok then
      self.kept[self.first] = text:sub((written or 0) + 1)
      if self.bytes <= CEILING then
        if code == "EAGAIN" then go_on_later(self) end
        return true
      end
      if wait or pressed then return failed(self, "the reader of the output does not read", "ENOBUFS") end
      pressed = true
    else
      pressed = pressed and self.bytes > CEILING / 2
      self.kept[self.first] = nil
      self.first = self.first + 1
    end
  end
  forget(self)
  return true
end

function output:write(text)
  if self.failure then
    return nil, self.failure.message, self.failure.code
  end
  if text ~= "" then keep(self, text) end
  return flush(self, not self.soon)
end

--- Whether all that was given is written.
function output:settled() return self.bytes == 0 and not self.failure end

--- Writes what is kept, as far as the reader goes on reading.
function output:close()
  if self.failure then
    return nil, self.failure.message, self.failure.code
  end
  local ok, message, code = flush(self, true)
  if ok and self.full and self.bytes > 0 then
    return failed(self, ("the last %d bytes of the output are lost: there was no room for them"):format(self.bytes),
      "ENOSPC")
  end
  if ok then forget(self) end
  return ok, message, code
end

return output
