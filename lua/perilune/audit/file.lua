-- SPDX-License-Identifier: Apache-2.0
--
-- Where an audit log is: FILE, which becomes FILE.1 when it is full, and that FILE.2 …, of which so many stay. It
-- is for its owner alone (0600), has whole lines whatever happens, and is written by one process at a time.

local words = require "perilune.base.words"

local audit_file = {}

local File = {}
File.__index = File

local MOST, KEEP = 16e6, 8 -- bytes of one file; files beside the one that is written

--- path; options: most (bytes), keep, later (one that another process writes is had once that has ended: at the first
--- line). nil, message, code when it cannot be written.
function audit_file.open(path, options)
  options = options or {}
  local log, message, code = require("perilune.base.store").log_at(path) -- here: all() is pure
  if not log and not (code == "EBUSY" and options.later) then return nil, message, code end
  return setmetatable({ log = log, path = path, most = options.most or MOST, keep = options.keep or KEEP }, File)
end

function File:write(text)
  local message, code
  if not self.log then
    self.log, message, code = require("perilune.base.store").log_at(self.path)
    if not self.log then return nil, message, code end
  end
  return self.log:write(text)
end

function File:full() return self.log ~= nil and self.log:size() >= self.most end

function File:rotate()
  local ok, message, code = self.log:rotate(self.keep)
  if not ok then self.most = self.most + self.log:size() end -- to be tried again, but not at once
  return ok, message, code
end

function File:close()
  if self.log then self.log:close() end
end

--- The files of a log, the oldest first, from the names in its directory: those that `path` has become, and itself.
function audit_file.all(path, names)
  local base, dir = path:match "([^/]+)$", path:match "^(.*/)" or ""
  local numbers = {}
  for _, name in ipairs(names) do
    local number = name:sub(1, #base + 1) == base .. "." and name:match("^(%d+)$", #base + 2)
    if number then numbers[tonumber(number)] = dir .. name end
  end
  local list = {}
  for _, number in ipairs(words.keys(numbers)) do table.insert(list, 1, numbers[number]) end
  list[#list + 1] = path
  return list
end

return audit_file
