-- SPDX-License-Identifier: Apache-2.0
--
-- The daemon's word to whoever manages it (systemd; sd_notify(3)): that it is ready, how it stands, that it is alive,
-- that it reads its configuration again, that it ends. And the capabilities that it keeps once it listens: what is open
-- then needs no more.
--
-- Ready is when it listens and each policy that it is to begin with runs, or has failed for the first time.
local service = require "perilune.core.service"

local manager = {}
local Manager = {}
Manager.__index = Manager

-- Of this process: what monitors that it attaches itself take.
local OWN = { bpf = true, net_admin = true, perfmon = true }
-- Of the processes of policies, should they have them at all: also what statistics of programs, other network
-- namespaces, maps by id and files of others take.
local HANDED = { bpf = true, net_admin = true, perfmon = true, sys_admin = true, sys_resource = true,
  dac_override = true, dac_read_search = true }

--- policies: of the daemon; log; now() → seconds, monotonic. nil, message, code.
function manager.new(options)
  local handle, message, code = service.open()
  if handle == nil then return nil, message, code end
  local self = setmetatable({ service = handle, policies = options.policies, log = options.log, now = options.now },
    Manager)
  local seconds = handle and handle:watchdog()
  self.interval = seconds and seconds / 2 -- late by once is not too late
  return self
end

--- Lays down the capabilities that nothing here needs once it listens.
function Manager:lay_down()
  local ok, message = service.keep_rights(OWN, HANDED)
  if not ok then return self.log:warn("capabilities are kept that are not needed", { error = message }) end
  local rights = service.rights()
  for name in pairs(rights and rights.effective or {}) do
    if not OWN[name] then self.log:warn("a capability is kept that is not needed", { capability = name }) end
  end
end

local function say(self, ...)
  if not self.service then return end
  local ok, message = self.service:tell(table.concat({ ... }, "\n"))
  if not ok then self.log:debug("the service manager is not told", { error = message }) end
  return ok
end

local function monotonic(self) return ("MONOTONIC_USEC=%.0f"):format(self.now() * 1e6) end

-- How many there are, how many have failed, and whether one has not begun yet.
local function standing(policies)
  local count, failed, starting = 0, 0, false
  policies:each(function(one)
    count = count + 1
    if one.state == "failed" then failed = failed + 1 end
    starting = starting or one.state == "starting"
  end)
  local text = ("%d polic%s%s"):format(count, count == 1 and "y" or "ies",
    failed > 0 and (", %d failed"):format(failed) or "")
  return text, starting
end

--- To be called a few times a second.
function Manager:tick(now)
  if not self.service then return end
  local status, starting = standing(self.policies)
  if not self.ready and not starting then
    self.ready = say(self, "READY=1", "STATUS=" .. status) -- a manager that did not read is told again
    self.status = status
  end
  -- One that did not read is told again.
  if status ~= self.status and say(self, "STATUS=" .. status) then self.status = status end
  if self.interval and now >= (self.next or 0) then
    self.next = now + self.interval
    say(self, "WATCHDOG=1")
  end
end

function Manager:reloading() say(self, "RELOADING=1", monotonic(self)) end

function Manager:reloaded() self.ready = say(self, "READY=1") end

function Manager:stopping() say(self, "STOPPING=1") end

return manager
