-- SPDX-License-Identifier: Apache-2.0
--
-- Probes that a person holds in their hand: flows { iface = "eth0" } is started, looked at, changed while it runs, and
-- stopped. Each runs as a policy of its own with one level.
--
--   p:start()  p:stop()          p:top(10, "bytes")  p:rows()  p:bars "sizes"  p:series "packets"
--   p:watch("1s")                p:enable "timing"  p:disable "timing"  p:set { entries = 1000 }

local blame = require "perilune.base.blame"
local check = require "perilune.policy.check"
local form = require "perilune.base.form"
local show = require "perilune.repl.show"
local units = require "perilune.base.units"
local watch = require "perilune.repl.watch"
local words = require "perilune.base.words"

local probe = {}

-- What the body of a probe may say in a session beside what its template knows: where it is attached, and how often its
-- windows close.
local ATTACH = { "iface", "netns", "hook", "mode", "wait" }

-- form → runner of those that run.
local running = setmetatable({}, { __mode = "k" })

local methods = {}

-- The policy that a probe is when it runs alone.
function probe.declare(session, p)
  local attach = {}
  for _, name in ipairs(ATTACH) do attach[name] = p.more[name] end
  local made = session.language.policy(p.name) {
    attach = attach, window = p.more.window, always = { p },
  }
  made.at = p.at
  return check.declare(made, session.file, {})
end

function probe.runner(p) return running[p] end

local function must_run(p)
  local own = running[p]
  if not own then blame.fail('%s does not run (start it: start(…))', tostring(p)) end
  return own
end

-- The records of the last closed window; waits for the first one.
local function last_rows(session, p)
  local own = running[p] or probe.start(session, p)
  while not own:rows(p.name) do
    if own.ended then blame.fail("%s has ended", tostring(p)) end
    session:await(function(done)
      own:next_window(done)
      return own
    end)
  end
  return own:rows(p.name)
end

function probe.start(session, p)
  if form.kind_of(p) ~= "probe" then blame.fail 'start takes a probe: start(flows { key = "src" })' end
  if running[p] then return running[p] end
  for _, other in pairs(session.probes) do
    if other.name == p.name then
      blame.fail('a probe named "%s" runs already (give this one another name: %s "%s2" {…})', p.name, p.template,
        p.name)
    end
  end
  local decl = probe.declare(session, p)
  show.know(p.manifest)
  local own = session:start_runner(decl, function(message)
    probe.forget(session, p)
    session:note(("%s has ended%s"):format(tostring(p), message and ": " .. message or ""))
  end)
  running[p] = own
  table.insert(session.probes, p)
  return own
end

function probe.forget(session, p)
  running[p] = nil
  for i, other in ipairs(session.probes) do
    if other == p then table.remove(session.probes, i) end
  end
end

-- Stops it and gives its totals; what was detached is told as it happens.
function probe.stop(session, p)
  local own = must_run(p)
  local summary = session:await(function(done)
    own:stop(function(totals, message, code)
      if totals then return done(totals) end
      done(nil, message or "it ended without totals", code)
    end)
    return own
  end)
  probe.forget(session, p)
  return { packets = summary.packets, bytes = summary.bytes, windows = summary.windows, seconds = summary.seconds,
    loss = summary.loss }
end

local function copy(p)
  local out = {}
  for key, value in pairs(p) do out[key] = value end
  return out
end

-- A probe of the same name with other settings takes its place while it runs. alter(body) changes what its word is
-- given.
local function change(session, p, alter)
  local body = copy(p.body)
  body.features = { unpack(p.features) }
  alter(body)
  local made = session.language[p.template](p.name)(body)
  local before = copy(p)
  for key in pairs(before) do p[key] = nil end
  for key, value in pairs(made) do p[key] = value end
  local own = running[p]
  if not own then return p end
  local ok, message = pcall(function()
    session:await(function(done)
      own:replace(probe.declare(session, p), done)
      return own
    end)
  end)
  if ok then return p end
  for key in pairs(copy(p)) do p[key] = nil end
  for key, value in pairs(before) do p[key] = value end
  error(message, 0)
end

local function without(list, name)
  local out = {}
  for _, one in ipairs(list) do
    if one ~= name then out[#out + 1] = one end
  end
  return out
end

-- The methods of probes in a session.
function probe.install(session)
  function methods.start(p)
    probe.start(session, p)
    return p
  end

  function methods.stop(p) return probe.stop(session, p) end

  -- The records of the last closed window, with all verbs.
  function methods.rows(p) return last_rows(session, p) end

  function methods.top(p, n, field) return last_rows(session, p):top(n or 10, field or "packets"):copy() end

  -- Shows every window from now on, until Ctrl-C; with another length of windows from now on, if one is given.
  function methods.watch(p, window)
    if window ~= nil then
      local seconds, message, remedy = units.parse(window, "duration")
      if not seconds then blame.fail("watch: %s (%s)", message, remedy or 'like watch "1s"') end
      p.more.window = window
      if running[p] then running[p].decl.levels[1].window = seconds end
    end
    return watch.new { start = function() return running[p] or probe.start(session, p) end, probe = p.name }
  end

  -- The totals of the hook in the last windows, a second, oldest first.
  function methods.series(p, field) return must_run(p):rates(field or "packets") end

  -- A histogram field of all rows of the last window, as bars.
  function methods.bars(p, field)
    local sums = {}
    for _, row in last_rows(session, p):rows() do
      local values = row[field]
      if type(values) ~= "table" then blame.fail('bars: "%s" is no list of numbers', tostring(field)) end
      for i, value in ipairs(values) do sums[i] = (sums[i] or 0) + value end
    end
    local classes = {}
    for i, value in ipairs(sums) do classes[i] = { tostring(i - 1), value } end
    session:print(show.bars(classes, session.width()))
  end

  function methods.enable(p, feature)
    return change(session, p, function(body) body.features[#body.features + 1] = feature end)
  end

  function methods.disable(p, feature)
    return change(session, p, function(body)
      local left = without(body.features, feature)
      if #left == #body.features then
        blame.fail('the feature "%s" is not on (%s)', tostring(feature), words.list(body.features))
      end
      body.features = left
    end)
  end

  function methods.set(p, settings)
    if type(settings) ~= "table" then blame.fail 'set takes settings: p:set { entries = 1000 }' end
    return change(session, p, function(body)
      for name, value in pairs(settings) do body[name] = value end
    end)
  end

  form.install("probe", methods)
end

--- Names of the methods, for completion and for what is misspelt.
function probe.methods() return words.keys(methods) end

return probe
