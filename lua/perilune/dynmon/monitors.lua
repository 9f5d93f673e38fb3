-- SPDX-License-Identifier: Apache-2.0
--
-- The daemon's monitors by name, and the interfaces that they may be attached to.
local kernel = require "perilune.core.kernel"
local monitor = require "perilune.dynmon.monitor"
local words = require "perilune.base.words"

local monitors = {}
local Monitors = {}
Monitors.__index = Monitors

monitors.NAME = "^[%w_][%w_.:-]*$"
monitors.LONGEST_NAME = 63

local MOST = 256
local TICK_SECONDS = 0.5

--- options: log, share.
function monitors.new(options)
  return setmetatable({ by_name = {}, coming = {}, log = options.log, share = options.share, due = 0 }, Monitors)
end

function Monitors:names() return words.keys(self.by_name) end
function Monitors:get(name) return self.by_name[name] end

--- Creates one with these paths; done(monitor) | done(nil, message, code): then there is none.
function Monitors:create(name, kind, loglevel, paths, done)
  if self.by_name[name] or self.coming[name] then
    return done(nil, ("there is a monitor called %s already"):format(name), "EEXIST")
  end
  local count = 0
  for _ in pairs(self.by_name) do count = count + 1 end
  if count >= MOST then return done(nil, ("there are %d monitors, as many as there may be"):format(MOST), "ENOSPC") end
  local one = monitor.new { name = name, kind = kind, loglevel = loglevel, share = self.share, log = self.log }
  self.coming[name] = true
  one:inject(paths, function(ok, message, code)
    self.coming[name] = nil
    if not ok then return done(nil, message, code) end
    self.by_name[name] = one
    done(one)
  end)
end

--- done(true) | done(nil, message, code)
function Monitors:delete(name, done)
  local one = self.by_name[name]
  self.by_name[name] = nil
  local ok, message, code = one:close(function(...)
    done(...)
  end)
  if ok then return end
  self.by_name[name] = one
  done(nil, message, code)
end

--- The interface of this name: { index, name } | nil, message, code
function Monitors.interface(_, name)
  local found, message, code = kernel.interface(name)
  if not found then return nil, message, code end
  return { index = found.index, name = found.name }
end

function Monitors:tick(now)
  if now < self.due then return end
  self.due = now + TICK_SECONDS
  for _, one in pairs(self.by_name) do one:tick() end
end

--- Ends all; done() when they have.
function Monitors:stop(done)
  local left = 1
  local function one_less()
    left = left - 1
    if left == 0 then done() end
  end
  for _, name in ipairs(self:names()) do
    left = left + 1
    self:delete(name, one_less)
  end
  one_less()
end

return monitors
