-- SPDX-License-Identifier: Apache-2.0
--
-- A policy of the daemon, as a session sees it: what a runner (runner.lua) is of one that runs in the session itself.
-- Nothing of it ends with the session.
--
--   own.decl.name, .levels, .probes; own.level; own.last; own.events; own.ended
--   own:next_window(done), own:rows(probe), own:rates(field), own:pin(level, seconds), own:sets()
--   own:follow(probe) → feed                      every window from now on: feed:next(done), feed:close()
local blame = require "perilune.base.blame"
local client = require "perilune.client"
local event_read = require "perilune.event.read"
local list = require "perilune.records.list"
local runner = require "perilune.repl.runner"
local words = require "perilune.base.words"

local far = {}
local Far = {}
Far.__index = Far

local WINDOW_SECONDS = 360 -- for a window to close: more than the daemon waits
local MOST_EVENTS = 1000

-- A value that the daemon answers with; what it refuses is an error in the command.
local function ask(self, method, path, body, seconds)
  return self.session:await(function(done)
    return self.daemon:ask(method, self.path .. path, body, function(value, failure)
      if failure then return done(nil, failure.message) end
      done(value)
    end, seconds)
  end)
end

-- Columns of a probe's rows: keys first.
local function about(probe)
  local fields, seen = {}, {}
  for _, names in ipairs { probe.key or {}, probe.fields } do
    for _, name in ipairs(names) do
      if not seen[name] then fields[#fields + 1], seen[name] = name, true end
    end
  end
  return { fields = fields, keys = probe.key }
end

--- name: of a policy that runs. To be called in a command.
function far.new(session, daemon, name)
  local self = setmetatable({
    session = session, daemon = daemon, path = "/v1/policies/" .. client.escape(name), events = {}, probes = {},
  }, Far)
  local detail = ask(self, "GET", "")
  if detail.state ~= "running" then
    blame.fail("the policy %s does not run: it is %s%s", name, detail.state, detail.failure and ": " .. detail.failure
      or "")
  end
  self.level = detail.level
  self.decl = { name = name, levels = detail.levels, probes = detail.probes }
  for _, probe in ipairs(detail.probes) do self.probes[probe.name] = about(probe) end
  for _, one in ipairs(ask(self, "GET", "/transitions").transitions) do self:told(event_read.of(one)) end
  return self
end

--- An event of it, as it comes.
function Far:told(e)
  if not e then return end
  if e.event == "transition" then self.level = e.to end
  self.events[#self.events + 1] = e
  if #self.events > MOST_EVENTS then table.remove(self.events, 1) end
end

local function take_window(self, answer)
  local e = event_read.of(answer.window)
  self.last = { seq = e.seq, seconds = e.seconds, level = e.level, cut = e.cut, event = e, rows = {} }
  for _, records in ipairs(answer.records) do
    local known = self.probes[records.probe] or {}
    self.last.rows[records.probe] = list.new(records.rows,
      { fields = known.fields, keys = known.keys, seconds = e.seconds })
  end
  self.level = self.level or e.level
end

function Far:next_window(done)
  return self.daemon:ask("GET", self.path .. "/records", nil, function(answer, failure)
    if failure then return done(nil, failure.message) end
    take_window(self, answer)
    done(self)
  end, WINDOW_SECONDS)
end

local Feed = {}
Feed.__index = Feed

-- What has come is handed out, one window for each that asks.
local function hand_out(feed)
  local done = feed.done
  if not done or not (feed.queue[1] or feed.failure) then return end
  feed.done = nil
  local one = table.remove(feed.queue, 1)
  if one then done(one) else done(nil, feed.failure) end
end

--- done({ window, rows }): the next window that this probe ran in; done(nil, message) when no more come.
function Feed:next(done)
  self.done = done
  hand_out(self)
  return self
end

function Feed:close() self.stream.close() end

--- What windows have of a probe, each of them, as the daemon streams it: who asks for one window at a time misses those
--- that close between two questions.
function Far:follow(probe)
  local feed = setmetatable({ queue = {} }, Feed)
  local known, window = self.probes[probe] or {}, nil
  local path = "/v1/stream?records=true&events=window&policy=" .. client.escape(self.decl.name)
  feed.stream = self.daemon:stream(path, function(name, text)
    if name == "lost" then return self.session:note "windows were missed: too many to be read in time" end
    local e = event_read.decode(text)
    if e and e.event == "window" then window = e end
    if not e or e.event ~= "records" or e.probe ~= probe or not window then return end
    feed.queue[#feed.queue + 1] = {
      window = { seq = window.seq, seconds = window.seconds, level = window.level, cut = window.cut, event = window },
      rows = list.new(e.rows, { fields = known.fields, keys = known.keys, seconds = window.seconds }),
    }
    hand_out(feed)
  end, function(failure)
    feed.failure = failure.message
    hand_out(feed)
  end)
  return feed
end

function Far:rows(probe) return self.last and self.last.rows[probe] end

function Far:rates(field) return runner.rates(ask(self, "GET", "/windows").windows, field) end

--- For some seconds or until told otherwise; nil: let go.
function Far:pin(level, seconds)
  if not level then
    ask(self, "DELETE", "/level")
  else
    ask(self, "PUT", "/level", { level = level, ["for"] = seconds and ("%.3fs"):format(seconds) or nil })
  end
end

function Far:sets()
  local rows = {}
  for _, set in ipairs(ask(self, "GET", "/sets").sets) do
    for _, member in ipairs(ask(self, "GET", "/sets/" .. client.escape(set.name)).members) do
      rows[#rows + 1] = { set = set.name, member = member }
    end
  end
  return list.new(rows, { fields = { "set", "member" } })
end

function Far:stop()
  blame.fail("the policy %s is the daemon's, and goes on without this session (perilune status)", self.decl.name)
end

-- ---------------------------------------------------------------------------------------------- the daemon

local methods = {}
local Daemon = { __metatable = "daemon" }
local behind = setmetatable({}, { __mode = "k" })

function Daemon.__index(_, name)
  if methods[name] then return methods[name] end
  blame.fail('a daemon has no "%s" (%s)', tostring(name), words.suggest(name, words.keys(methods)))
end

function Daemon.__tostring(d) return "the daemon at " .. behind[d].daemon.target.shown end

local function inner_of(d)
  return behind[d] or blame.fail "expected a daemon; call it with a colon, as in daemon:policies()"
end

local function get(inner, path)
  return inner.session:await(function(done)
    return inner.daemon:ask("GET", path, nil, function(value, failure)
      if failure then return done(nil, failure.message) end
      done(value)
    end)
  end)
end

function methods.policies(d)
  local rows = {}
  for i, one in ipairs(get(inner_of(d), "/v1/policies").policies) do
    rows[i] = { policy = one.name, state = one.state, level = one.level or "", restarts = one.restarts,
      why = one.failure and one.failure:match "^[^\n]*" or "" }
  end
  return list.new(rows, { fields = { "policy", "state", "level", "restarts", "why" } })
end

function methods.policy(d, name)
  local inner = inner_of(d)
  if type(name) ~= "string" then blame.fail 'policy takes a name: daemon:policy "edge"' end
  local own = far.new(inner.session, inner.daemon, name)
  inner.policies[#inner.policies + 1] = own
  return inner.wrap(own)
end

function methods.maps(d)
  local rows = {}
  for i, one in ipairs(get(inner_of(d), "/v1/maps")) do
    local users = {}
    for j, program in ipairs(one.programs or {}) do users[j] = program.name end
    rows[i] = { id = one.id, type = one.type, name = one.name, entries = one.max_entries,
      used_by = table.concat(users, " ") }
  end
  return list.new(rows, { fields = { "id", "type", "name", "entries", "used_by" } })
end

-- What happens is told as it does, and kept for whoever asks.
local function listen(inner)
  local shown = inner.daemon.target.shown
  inner.stream = inner.daemon:stream("/v1/stream?events=attach,detach,transition,rule,action,error", function(_, text)
    local e = event_read.decode(text)
    if not e then return end
    inner.session:tell(e, e.policy)
    for _, own in ipairs(inner.policies) do
      if own.decl.name == e.policy then own:told(e) end
    end
  end, function(failure)
    inner.stream = nil
    for _, own in ipairs(inner.policies) do own.ended = true end
    inner.session:note(("the daemon at %s is gone: %s"):format(shown, failure.message))
  end)
end

--- The daemon behind a client, for a session, and its policies as it lists them; wrap(own) makes what a person gets of
--- one. To be called in a command.
function far.attach(session, daemon, wrap)
  local inner = { session = session, daemon = daemon, wrap = wrap, policies = {} }
  local d = setmetatable({}, Daemon)
  behind[d] = inner
  local names, all = {}, get(inner, "/v1/policies").policies
  for _, one in ipairs(all) do
    if one.state == "running" then names[#names + 1] = one.name end
  end
  listen(inner)
  session.attached[#session.attached + 1] = {
    shown = daemon.target.shown, names = names,
    close = function()
      if inner.stream then inner.stream.close() end
    end,
  }
  return d, all
end

--- Whether a runner is one of the daemon's policies.
function far.is_one(own) return getmetatable(own) == Far end

function far.methods() return words.keys(methods) end

function far.is(thing) return behind[thing] ~= nil end

return far
