-- SPDX-License-Identifier: Apache-2.0
--
-- Loads the policy of a run anew, for whoever finds that it has changed: --watch and the daemon. The file is tried in
-- a child, loaded here where a window can spare the time, and takes the place of what runs (reload.lua), or does not
-- and all is as before.
--
-- One thing at a time: what is wanted meanwhile is loaded afterwards, and of several only the last.

local session = require "perilune.run.session"

local anew = {}

local Anew = {}
Anew.__index = Anew

--- driver: live.lua's; context: main.lua's.
function anew.new(driver, context)
  return setmetatable({ driver = driver, context = context }, Anew)
end

-- It is over; what came up meanwhile is next.
local function over(self, done, ...)
  self.busy, self.cancel = false, nil
  local next = self.next
  self.next = nil
  done(...)
  if next and not self.closed then self:load(next.parsed, next.done) end
end

--- parsed: as session.load takes it. done(true, nil, nil, files), or done(nil, message, code, files) and the old one
--- runs on; files, if they are known: what it was made from.
function Anew:load(parsed, done)
  if self.closed then return done(nil, "the run has ended", "ECANCELED") end
  if self.busy then
    if self.next then self.next.done(nil, "it has changed again before it was loaded", "ECANCELED") end
    self.next = { parsed = parsed, done = done }
    return
  end
  self.busy = true
  local function lull(seconds, fn) self.driver:lull(seconds, fn) end
  local cancel = session.load_anew(parsed, self.context, lull, function(decl, found, code, files)
    self.cancel = nil
    if not decl then return over(self, done, nil, found, code, files) end
    self.driver:replace(decl, found, function(ok, message, failure)
      over(self, done, ok, message, failure, decl.sources)
    end)
  end)
  if self.busy then self.cancel = cancel end
end

function Anew:close()
  self.closed = true
  if self.cancel then self.cancel() end
end

return anew
