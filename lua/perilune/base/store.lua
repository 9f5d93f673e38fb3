-- SPDX-License-Identifier: Apache-2.0
--
-- The directory of what outlives a run: what policies have learnt, logs, recorded costs.
--
--   local kept = store.open()                     PERILUNE_STATE, else /var/lib/perilune as root, else
--                                                 $XDG_STATE_HOME/perilune, else ~/.local/state/perilune
--   kept:save(name, kind, version, value)         true | nil, message, code: the plain value (pack.lua) in place of
--                                                 what was there; on the disk when it returns
--   kept:save_soon(name, kind, version, value, done)   the same on a worker, then done(true | nil, message, code);
--                                                 in order, and what has been overtaken by a later one is left out
--   kept:load(name, kind, version)                value | nil, message, code: ENOENT when there is none, EBADMSG when
--                                                 it is damaged or of another kind or version: to be said and ignored
--   kept:log(name)                                a file of lines that only grows: log:write(text) → its bytes,
--                                                 log:sync(), log:size(), log:rotate(keep), log:close(); EBUSY while
--                                                 another process has it
--   store.log_at(path)                            the same, in a place that somebody else has chosen
--   kept:lock(name)                               a claim to a name until lock:close() or the process ends; EBUSY
--   kept:remove(name), kept:path(name)
--   kept:text(name)                               a file as it is, if it and its directory are ours alone: it
--                                                 is then still the same when opened by its path
--
-- A name is one or several words with a slash between them, like "budget/mypolicy.cost". Nothing is made before it is
-- written. Directories are 0700, files 0600; what belongs to somebody else or may be written by others is refused
-- (EACCES). All failures are nil, message, code.

local core = require "perilune.core.store"
local pack = require "perilune.base.pack"

local store = {}

local Store, Log = {}, {}
Store.__index, Log.__index = Store, Log

local MOST = 64e6 -- bytes that are read of a file

local function directory()
  local function given(name)
    local value = os.getenv(name)
    return value and value ~= "" and value or nil
  end
  if given "PERILUNE_STATE" then return given "PERILUNE_STATE" end
  if core.privileged() then return "/var/lib/perilune" end
  local base = given "XDG_STATE_HOME" or given "HOME" and given "HOME" .. "/.local/state"
  return base and base .. "/perilune"
end

--- dir: another directory than the default.
function store.open(dir)
  dir = dir or directory()
  if not dir then return nil, "there is no directory for what is kept (set PERILUNE_STATE)", "ENOENT" end
  core.sweep(dir)
  return setmetatable({ dir = dir, waiting = {} }, Store)
end

function Store:path(name)
  for word in (name .. "/"):gmatch "([^/]*)/" do
    if not word:find "^[%w_][%w_.=-]*$" then error(("store: %q is no name"):format(name), 2) end
  end
  return self.dir .. "/" .. name
end

function Store:load(name, kind, version)
  local path = self:path(name)
  local text, message, code = core.read(path, MOST)
  if not text then return nil, message, code end
  local value
  value, message = pack.unseal(kind, version, text)
  if value == nil then return nil, path .. ": " .. message, "EBADMSG" end
  return value
end

local function sealed(kind, version, value)
  local text, message = pack.seal(kind, version, value)
  return text or error("store: " .. message, 3)
end

function Store:save(name, kind, version, value)
  return core.replace(self:path(name), sealed(kind, version, value))
end

-- Writes what is waiting under this name; one worker at a time, so that the last one is the one that stays.
local function write_next(self, path)
  local job = self.waiting[path]
  local text, done = job.text, job.done
  job.text, job.done = nil, nil
  local function finished(...)
    if job.text then write_next(self, path) else self.waiting[path] = nil end
    done(...)
  end
  local ok, message, code = core.replace_soon(path, text, finished)
  if not ok then finished(nil, message, code) end
end

function Store:save_soon(name, kind, version, value, done)
  local path, text = self:path(name), sealed(kind, version, value)
  local job = self.waiting[path]
  if job then
    job.text, job.done = text, done or function() end
    return
  end
  self.waiting[path] = { text = text, done = done or function() end }
  write_next(self, path)
end

function Store:text(name)
  local path = self:path(name)
  for _, dir in ipairs { self.dir, path:match "^(.*)/" } do
    local own, message, code = core.is_own(dir)
    if not own then return nil, message, code end
  end
  return core.read(path, MOST)
end

function Store:lock(name) return core.lock(self:path(name)) end

function Store:remove(name) return core.remove(self:path(name)) end

function Store:log(name) return store.log_at(self:path(name)) end

--- A log that is elsewhere.
function store.log_at(path)
  local log, message, code = core.log(path)
  if not log then return nil, message, code end
  return setmetatable({ path = path, log = log }, Log)
end

function Log:write(text) return self.log:write(text) end

function Log:sync() return self.log:sync() end

function Log:size() return self.log:size() end

function Log:close() self.log:close() end

--- The log becomes NAME.1, which becomes NAME.2 …, of which `keep` stay; it goes on, empty.
function Log:rotate(keep)
  local path = self.path
  for n = keep - 1, 1, -1 do core.rename(("%s.%d"):format(path, n), ("%s.%d"):format(path, n + 1)) end
  local ok, message, code
  if keep > 0 then
    ok, message, code = core.rename(path, path .. ".1")
  else
    ok, message, code = core.remove(path)
  end
  if not ok then return nil, message, code end
  local fresh
  fresh, message, code = core.log(path)
  if not fresh then return nil, message, code end
  self.log:close()
  self.log = fresh
  return true
end

return store
