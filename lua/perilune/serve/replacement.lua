-- SPDX-License-Identifier: Apache-2.0
--
-- One of the daemon's policies takes the place of another of its name, as a transaction: whatever fails, the old one
-- runs on as it was.
--
-- In place: the process that runs the old one loads the new one and lets it take over (reload.lua), so that each packet
-- is counted once and what means the same goes on. Where that cannot be, beside it: the new one is started in a process
-- of its own, and the old one ends when it is attached; for some milliseconds both count. Where both cannot be attached
-- at once (XDP has room for one program, pins have one owner), the old one is detached first, and attached again should
-- the new one fail.
local replacement = {}

local RELOAD_SECONDS = 120 -- for compiling, on a machine that is busy

-- The candidate runs: it takes the name, and the old one's place.
local function settle(owner, change, candidate, why)
  local kept, message, code = change.keep()
  if not kept then return candidate:stop(function() change.done(nil, message, code) end) end
  candidate.file = change.lasting -- for the next time it is started
  local old = owner.by_name[change.name]
  owner.by_name[change.name] = candidate
  if not old then
    candidate:release()
    -- Where there is a reason, there was an old one, and it has gone first.
    return change.done(candidate, why and { in_place = false, why = why } or nil)
  end
  old:stop(function()
    candidate:release()
    change.done(candidate, { in_place = false, why = why })
  end)
end

local beside

-- Both at once was not possible: the old one goes first, and comes back if that was for nothing.
local function alone(owner, change, message, status, why)
  local old = owner.by_name[change.name]
  old:stop(function()
    owner.by_name[change.name] = nil
    beside(owner, change, why, function(reason, code)
      owner.by_name[change.name] = old
      old:start(function(ok)
        if not ok then old:start_later() end
        change.done(nil, reason or message, code or status)
      end)
    end)
  end)
end

function beside(owner, change, why, failed)
  local candidate = owner:make {
    name = change.name, file = change.file, set = change.set, trusted = change.trusted, origin = change.origin,
    upgrade = owner.pin,
  }
  candidate:hold()
  candidate:start(function(ok, message, status)
    if ok then return settle(owner, change, candidate, why) end
    message = change.words(message)
    local old = owner.by_name[change.name]
    if (candidate.loaded or candidate.pin) and old and old.state == "running" then
      return alone(owner, change, message, status, why)
    end
    failed(message, status)
  end)
end

local function reload(one, change, done)
  one:ask("reload", { file = change.file, set = change.set, trusted = change.trusted }, RELOAD_SECONDS, done)
end

-- It runs in the old one's process: from now on that is what it is, or, if it cannot be kept, the old one again.
local function settle_in_place(owner, change, one)
  local kept, message, code = change.keep()
  if kept then
    one.file, one.set, one.trusted = change.lasting, change.set, change.trusted
    return change.done(one, { in_place = true })
  end
  reload(one, one, function(answer)
    if not answer.ok then owner.log:error(answer.message or "no answer", { policy = one.name }) end
    change.done(nil, message, code)
  end)
end

--- owner: policies.lua's, which has make(options), by_name and log. change: name, file (to be loaded), lasting (where
--- it will be), set, trusted, origin; keep() → true | nil, message, code: it runs, and is to be there after a restart;
--- words(message) → the same for whoever asked; done(worker, { in_place =, why = } or nil when there was none before),
--- or done(nil, message, exit status or errno name).
function replacement.start(owner, change)
  local function failed(message, status) change.done(nil, message, status) end
  local old = owner.by_name[change.name]
  if not old or old.state ~= "running" then return beside(owner, change, old and "it did not run", failed) end
  reload(old, change, function(answer)
    if answer.ok then return settle_in_place(owner, change, old) end
    local message = change.words(answer.message or "the policy answered nothing that can be read")
    if answer.code == "ENOTSUP" then return beside(owner, change, message, failed) end
    failed(message, answer.code)
  end)
end

return replacement
