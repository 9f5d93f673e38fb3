-- SPDX-License-Identifier: Apache-2.0
--
-- What a policy keeps over runs, in the file learnt/NAME.state of the store: what its baselines have learnt, and its
-- `state`. Written every minute on a worker, and at the end; read when the policy starts. A replay with --seed writes
-- what a run then begins with.
--
-- A baseline is taken back only where rule, measure, period and probe are still the same; what does not fit is left
-- out, and an event says so. One process at a time keeps what a policy of one name has learnt.

local store = require "perilune.base.store"

local kept = {}

local Kept = {}
Kept.__index = Kept

local KIND, VERSION, EVERY = "learnt", 1, 60

--- engine: whose memory it is (kept(), restore()); report(message, hint): what went wrong, for people. nil when the
--- policy has nothing to keep.
function kept.new(name, engine, report)
  local _, any = engine:kept()
  if not any then return nil end
  return setmetatable({ name = "learnt/" .. name .. ".state", policy = name, engine = engine, report = report }, Kept)
end

local function opened(self)
  local place, message = store.open()
  if place then return place end
  self.report(message, "what the policy learns is not kept")
end

-- Claims the name; what cannot be kept is learnt all the same.
local function claim(self)
  self.store = opened(self)
  if not self.store then return false end
  local lock, message, code = self.store:lock(self.name .. ".lock")
  if lock then
    self.lock = lock
    return true
  end
  self.store = nil
  self.report(code == "EBUSY" and ("another process keeps what %s learns"):format(self.policy) or message,
    "this one begins with nothing and keeps nothing; give it another name, as NAME=FILE")
  return false
end

--- At the start. wall: seconds since the epoch. Returns how many series were taken back.
function Kept:restore(wall)
  if not claim(self) then return 0 end
  local data, message, code = self.store:load(self.name, KIND, VERSION)
  if not data then
    if code ~= "ENOENT" then self.report(message, "it is not used, and written anew") end
    return 0
  end
  local found, gone = self.engine:restore(data, wall)
  for _, what in ipairs(gone) do
    self.report(("what was learnt of %s does not fit the policy any more"):format(what),
      "it is left out and learnt anew")
  end
  return found
end

--- Another engine of the policy runs, which has gone on with what this one remembered.
function Kept:follow(engine) self.engine = engine end

--- After a window. now: seconds of the driver's clock.
function Kept:tick(now)
  if not self.store then return end
  self.next = self.next or now + EVERY
  if now < self.next then return end
  self.next = now + EVERY
  self.store:save_soon(self.name, KIND, VERSION, (self.engine:kept()), function(ok, message)
    if ok then
      self.failed = nil
    elseif not self.failed then
      self.failed = true
      self.report(message, "what the policy learns is not kept until that is better")
    end
  end)
end

--- At the end; also without restore(), for a seed. true | nil when it is not kept (and that has been said).
function Kept:save()
  if not self.store and not (self.lock == nil and not self.closed and claim(self)) then return nil end
  local ok, message = self.store:save(self.name, KIND, VERSION, (self.engine:kept()))
  if not ok then self.report(message, "what the policy has learnt is lost") end
  return ok
end

function Kept:path() return self.store and self.store:path(self.name) end

function Kept:close()
  self.closed = true
  if self.lock then self.lock:close() end
  self.lock = nil
end

return kept
