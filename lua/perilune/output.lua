-- SPDX-License-Identifier: Apache-2.0
-- Where a sink's text goes: a file descriptor, a Lua file or a function.
--
-- A reader that does not read must neither block the run for good nor cost a line: what could not be written
-- is kept and goes first the next time. A closed output is reported once and for all as nil, message,
-- "EPIPE".
local output = {}
output.__index = output

-- Most bytes kept for a reader that does not read.
local CEILING = 16 * 1024 * 1024

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
function output.new(target)
  local write = target
  if type(target) == "number" then
    local term = require "perilune.core.term"
    write = function(text)
      return term.write(target, text)
    end
  elseif type(target) ~= "function" then
    write = through_file(target)
  end
  return setmetatable({ send = write, kept = "" }, output)
end

function output:write(text)
  if self.failure then
    return nil, self.failure.message, self.failure.code
  end
  text = self.kept .. text
  self.kept = ""
  if text == "" then
    return true
  end
  local ok, message, code, written = self.send(text)
  if ok then
    return true
  end
  if code == "EAGAIN" then
    self.kept = text:sub((written or 0) + 1)
    if #self.kept <= CEILING then
      return true
    end
    message, code = "the reader of the output does not read", "ENOBUFS"
    self.kept = ""
  end
  self.failure = { message = message or "cannot write", code = code }
  return nil, self.failure.message, self.failure.code
end

return output
