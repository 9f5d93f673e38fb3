-- SPDX-License-Identifier: Apache-2.0
--
-- Another declaration of a policy takes the place of the one that is pinned and runs (reload.lua), so that a kill at
-- any moment leaves one of the two to go on with (runtime/probe/pinned.h):
--
--   a window ends, is told and cleared │ all of the new one is pinned beside │ the two change places, in one step │
--   links get its programs │ the old one's last window is read, told │ the new ledger says so │ what is left goes
--
-- Who goes on after a kill does so with the new one from the exchange on. If the old one's last window was not told by
-- then, its totals are: its records are lost, since nobody knows any more how they are read, and that is said.
-- Methods of pinning.lua's.
local account = require "perilune.engine.account"
local counts = require "perilune.engine.counts"
local loop = require "perilune.core.loop"

local pinning_reload = {}

local methods = {}
pinning_reload.methods = methods

--- What an engine has counted, for the ledger of a plan: of the directions that it has.
function pinning_reload.sums(engine, planned)
  local directions = {}
  for _, root in ipairs(planned.roots) do
    directions[root.direction] = engine.directions[root.direction] or counts.zeros(counts.COUNTS)
  end
  return account.take(setmetatable({ directions = directions }, { __index = engine }))
end

--- The next one (reload.lua's), loaded and attached to nothing, is the policy's from now on, right after a window of
--- this one was told. nil, message, code: this one still is.
function methods:succeed(live, next)
  local ok, message, code = self.handle:succeed(next.probe, next.pinned.digest, {
    version = self.version, file = next.decl.file, seq = live.engine.current.seq + 1,
  }, pinning_reload.sums(live.engine, next.planned))
  if ok then return true end
  return nil, message, code == "EOPNOTSUPP" and "ENOTSUP" or code
end

--- The next one cannot be attached: it is this one's again.
function methods:undo() self.handle:undo() end

--- The last window of the one before was given to the sink, and its successor runs: done() once it is written out and
--- entered, or done(message, code).
function methods:settle(live, next, done)
  self.decl, self.digest = next.decl, next.pinned.digest
  self.when_told(live, function(message, code)
    if message then return done(message, code) end
    local current = live.engine.current
    live.probe:told(pinning_reload.sums(live.engine, live.planned), current.start, current.mono)
    self.handle:settled()
    done()
  end, done)
end

-- Where the totals of hooks are among the windowed maps.
local function totals_of(planned)
  for position, window in ipairs(planned.windows) do
    if window.role == "totals" then return position, window.map end
  end
end

-- The last window of the policy before, of which only the totals can be told: it ends when its successor's begins.
local function tell_rest(live, rest, position, current)
  live.engine:close("adopted", current.wall, current.mono, { [position] = rest.totals })
  live.engine:emit({ event = "error",
    message = ("window %.0f was counted by the policy as it was before: its records are lost"):format(rest.seq),
    hint = "its totals are not: perilune was stopped while another policy took its place" }, loop.wall())
end

--- Goes on with a policy that had just taken the place of another. begin_window(live, window): as pinning.lua's.
function methods:resume_inherited(live, current, begin_window, done)
  local function entered()
    live.probe:told(pinning_reload.sums(live.engine, live.planned))
    self.handle:settled()
    done(true)
  end
  local function told(message, code)
    if message then return done(nil, message, code) end
    entered()
  end
  -- Nothing is read: when that is done, no program of the policy before counts any more.
  local ok, message, code = live.probe:read({}, function(batches, failure, failure_code)
    if not batches then return done(nil, failure, failure_code) end
    local position, map = totals_of(live.planned)
    local rest, wrong = self.handle:rest(live.probe, map, position)
    begin_window(live, rest and setmetatable(rest, { __index = current }) or current)
    live.engine:tell_start(loop.wall(), self:about(live.engine.current.seq))
    if rest then
      tell_rest(live, rest, position, current)
      begin_window(live, current)
    else
      live:problem(wrong)
    end
    self.when_told(live, told, function() done(true) end)
  end)
  if not ok then done(nil, message, code) end
end

return pinning_reload
