-- SPDX-License-Identifier: Apache-2.0
--
-- A session: what a person types is Lua with the words of the policy language and verbs that do things at once.
--
--   session.new { share =, templates =, out = function(text), note = function(text), width = function } → s
--                            `place`: which daemon attach() means (client.place);
--                            `note`: where what happens by itself is told, when that is another place than `out`
--   s:compile(text)          → chunk | nil, "incomplete" | nil, message
--   s:command(text, done)    runs it; done(ok) when it has ended; its values are printed
--   s:interrupt()            ends the command that waits
--   s:close(done)            stops all that runs; done()
--
-- A command is a coroutine: verbs that have to wait (for the compiler, for a window) give way to the loop. One command
-- runs at a time. What it sets stays for the next one.

local blame = require "perilune.base.blame"
local form = require "perilune.base.form"
local format = require "perilune.base.format"
local interrupt = require "perilune.core.interrupt"
local language = require "perilune.policy.language"
local list = require "perilune.records.list"
local loop = require "perilune.core.loop"
local probe = require "perilune.repl.probe"
local probes = require "perilune.probe.probes"
local runner = require "perilune.repl.runner"
local sandbox = require "perilune.base.sandbox"
local show = require "perilune.repl.show"
local sink_text = require "perilune.show.sink_text"
local own_code = require "perilune.probe.source"
local options = require "perilune.policy.options"
local view = require "perilune.records.view"
local watch = require "perilune.repl.watch"
local words = require "perilune.base.words"

local session = {}

local Session = {}
Session.__index = Session

local INTERRUPTED = "interrupted"
local MOST_COPIED = 1000 -- rows of a value that is only shown

-- What a probe's body may also say here; the same rules as of attach = { … } and window.
local MORE = {
  iface = { type = options.ifaces }, netns = { type = options.netns }, wait = { type = "bool" },
  hook = { type = "text", one_of = options.HOOKS, default = "tc" },
  mode = { type = "text", default = "auto" }, window = { type = "text", default = "1s" },
}

-- Forms that are remembered for save: as they were typed.
local DECLARED = { "level", "set", "rule", "schedule", "receiver" }

function session.new(options_)
  local self = setmetatable({
    share = options_.share, templates = options_.templates, out = options_.out,
    told = options_.note or options_.out, width = options_.width, place = options_.place,
    file = "session", probes = {}, policies = {}, variables = {}, chunks = {}, count = 0, declared = {}, attached = {},
  }, Session)
  show.learn(self.templates)
  local known = language.words { templates = self.templates, set = {}, options = {} }
  for _, name in ipairs(self.templates:names()) do
    local manifest = self.templates:get(name)
    if manifest then known[name] = probes.word(manifest, MORE) end
  end
  known.source = own_code.word({ templates = self.templates }, MORE)
  for _, kind in ipairs(DECLARED) do
    if known[kind] then known[kind] = self:remembering(kind, known[kind]) end
  end
  self.language, self.known = known, {}
  for name, word in pairs(known) do self.known[name] = word end
  probe.install(self)
  list.install { json = show.json, csv = function(rows) return table.concat(show.csv(rows), "\n") end }
  for name, verb in pairs(require("perilune.repl.verbs").of(self)) do self.known[name] = verb end
  self.box = sandbox.new { file = "session", words = self.known, variables = self.variables,
    say = function(text) self.out(text) end }
  return self
end

-- The word, noting where each form of it was written.
function Session:remembering(kind, word)
  self.declared[kind] = {}
  return function(name)
    local pending = word(name)
    return function(body)
      local made = pending(body)
      self.declared[kind][made.name] = made
      return made
    end
  end
end

-- Telling ---------------------------------------------------------------------------------------------------------

function Session:print(lines)
  for _, line in ipairs(lines) do self.out(line .. "\n") end
end

--- A line about something that happened by itself.
function Session:note(text) self.told(text .. "\n") end

local TOLD = { attach = true, detach = true, transition = true, error = true, action = true }

--- An event of something that runs; `who`: whose it is, when that cannot be told otherwise.
function Session:tell(e, who)
  if not TOLD[e.event] then return end
  self.told((who and format.clean(who) .. ": " or "") .. table.concat(sink_text.lines(e, {}), "\n") .. "\n")
end

-- Waiting ---------------------------------------------------------------------------------------------------------

--- start(done) begins something and returns a handle (or nil, message); gives what done is called with. nil, message
--- of either is an error in the command.
function Session:await(start)
  local thread = coroutine.running()
  if thread ~= self.thread then
    blame.fail "this has to wait, which only the command itself can do, no coroutine of its own"
  end
  local result, suspended
  local function settle(with)
    if result then return end
    result, self.cancel, self.at_cancel = with, nil, nil
    if suspended then self:resume() end
  end
  self.cancel = function()
    if self.at_cancel then self.at_cancel() end
    settle { n = 0, interrupted = true }
  end
  local handle, message = start(function(...) settle { n = select("#", ...), ... } end)
  if handle == nil and not result then settle { n = 2, nil, message } end
  if not result then
    suspended = true
    coroutine.yield()
  end
  if result.interrupted then error(INTERRUPTED, 0) end
  if result[1] == nil then error(result[2] or "it failed", 0) end
  return unpack(result, 1, result.n)
end

--- For what awaits: fn() is called when it is interrupted.
function Session:on_cancel(fn) self.at_cancel = fn end

function Session:resume()
  local called, ok, message = interrupt.call(coroutine.resume, self.thread)
  if not called then ok, message = false, ok end
  if ok and coroutine.status(self.thread) ~= "dead" then return end
  local done = self.done
  self.thread, self.done = nil, nil
  if not ok then
    self:note(message == INTERRUPTED and INTERRUPTED or tostring(message))
    self.failed = true
  end
  done(not self.failed)
end

--- Ends a command that waits, as an error in it; false when none does.
function Session:interrupt()
  if not self.cancel then return false end
  self.cancel()
  return true
end

-- Commands --------------------------------------------------------------------------------------------------------

--- text → chunk | nil, "incomplete" | nil, message. Bare expressions and "=expression" give their values.
function Session:compile(text)
  local expression = text:match "^%s*=(.*)$" or text
  local number = self.count + 1
  local name = ("input %d"):format(number)
  -- Not a tail call, which would leave no line behind for whoever asks where he was called.
  -- A comment at its end needs a line of its own behind it; without one the line's number stays what it is.
  local close = expression:find("--", 1, true) and "\n)" or ")"
  local source = "return (function(...) return ... end)(" .. expression .. close
  if not loadstring("return " .. expression) then
    source = text
    local _, message = loadstring(source, "=x")
    if message and message:find("near '<eof>'", 1, true) then return nil, "incomplete" end
  end
  local chunk, message = self.box:run(function() return self.box:compile(source, name) end)
  if not chunk then return nil, message end
  self.count = number
  self.chunks[name] = source
  self.box.file = name -- for what has no line: the last call of a statement leaves none behind
  return interrupt.plain(chunk)
end

-- The lines of a traceback that are the session's own, if there are several.
local function trace_of(traceback)
  local lines = {}
  for line in traceback:gmatch "[^\n]+" do
    local at = line:match "%f[%w](input %d+:%d+: in .*)$"
    if at then lines[#lines + 1] = "  " .. at end
  end
  return #lines > 1 and lines or {}
end

-- "attempt to call method 'tpo' (a nil value)": which there are.
local function with_suggestion(message)
  local name = message:match "attempt to call method '([%w_]+)'"
  if not name then return message end
  local nearest = words.nearest(name, probe.methods())
  return nearest and ('%s (did you mean "%s"?)'):format(message, nearest) or message
end

function Session:handler()
  return function(problem)
    if type(problem) == "table" and problem.lines then return problem end -- handled further in
    if problem == INTERRUPTED then return { lines = { INTERRUPTED } } end
    local lines = { with_suggestion(tostring(self.box:located(problem))) }
    for _, line in ipairs(trace_of(debug.traceback("", 2))) do lines[#lines + 1] = line end
    return { lines = lines }
  end
end

local function for_machines(value, how)
  if view.is(value) then value = value:copy() end
  if how == "csv" and list.is(value) then return show.csv(value) end
  return { show.json(value) }
end

-- A value of a command, on the screen; `how`: "json", "csv" or nil.
function Session:show(value, how)
  if watch.is(value) then
    if how then watch.inner(value).form = how end
    return self:watch(value)
  end
  if how and value ~= nil then return self:print(for_machines(value, how)) end
  if view.is(value) then
    local more = value:count() - MOST_COPIED
    self:print(show.lines(value:copy(MOST_COPIED), self.width()))
    if more > 0 then self:print { ("… %d rows more"):format(more) } end
  elseif form.kind_of(value) then
    self:print { tostring(value) .. (probe.runner(value) and "  running" or "") }
  elseif value ~= nil then
    self:print(show.lines(value, self.width()))
  end
end

--- Runs one chunk as the command of the session; done(ok). `how`: its values are written as "json" or "csv".
function Session:run(chunk, done, how)
  self.done, self.failed = done, false
  self.thread = coroutine.create(function()
    local ok, problem = xpcall(function()
      local values = (function(...) return { n = select("#", ...), ... } end)(chunk())
      for i = 1, values.n do self:show(values[i], how) end
    end, self:handler())
    if ok then return end
    self.failed = true
    self:note(table.concat(type(problem) == "table" and problem.lines or { tostring(problem) }, "\n"))
  end)
  self:resume()
end

--- Compiles and runs a text; done(ok).
function Session:command(text, done)
  local chunk, message = self:compile(text)
  if not chunk then
    self:note(message == "incomplete" and "the input ends in the middle of a statement" or message)
    return done(false)
  end
  return self:run(chunk, done)
end

-- Watching --------------------------------------------------------------------------------------------------------

local function heading(window)
  local e = window.event
  return ("%s  window %d  %s  %s  %s"):format(format.clock(e.finish), e.seq, e.level,
    sink_text.speed(e, e.seconds), sink_text.loss(e))
end

local function as_rows(value)
  return view.is(value) and value:copy(MOST_COPIED) or value
end

-- The forms for machines: JSON a window, CSV with one head.
function Session:write_window(inner, value, window, first)
  if inner.form == "json" then
    return self:print { show.json { seq = window.seq, time = loop.rfc3339(window.event.finish), level = window.level,
      seconds = window.seconds, rows = value } }
  elseif inner.form == "csv" then
    local lines = list.is(value) and show.csv(value) or { show.json(value) }
    if not first then table.remove(lines, 1) end
    return self:print(lines)
  end
  self:print { heading(window) }
  self:print(show.lines(value, self.width()))
end

--- Shows every window of what is watched, until it is interrupted, has shown enough, or ends.
function Session:watch(w)
  local inner = watch.inner(w)
  local own = inner.source.start()
  local feed = own:follow(inner.source.probe)
  local ok, problem = xpcall(function()
    local shown = 0
    while not own.ended and (not inner.times or shown < inner.times) do
      local one = self:await(function(done) return feed:next(done) end)
      if one.rows then
        shown = shown + 1
        self:write_window(inner, as_rows(watch.apply(w, one.rows)), one.window, shown == 1)
      end
    end
  end, self:handler())
  feed:close()
  if not ok then error(problem, 0) end
end

--- Starts what a declaration says and waits until it is attached; ended(message) when it ends by itself.
function Session:start_runner(decl, ended)
  local own
  local ok, message = pcall(self.await, self, function(done)
    local why
    own, why = runner.start(decl, {
      share = self.share, on_event = function(e) self:tell(e) end,
      on_end = function(_, why_ended) ended(why_ended) end,
    }, done)
    return own, why
  end)
  if ok then return own end
  if own and not own.ended then own:stop() end -- interrupted
  error(message, 0)
end

-- The end ---------------------------------------------------------------------------------------------------------

--- What runs: a list of runners.
function Session:running()
  local all = {}
  for _, p in ipairs(self.probes) do all[#all + 1] = probe.runner(p) end
  for _, policy in ipairs(self.policies) do all[#all + 1] = policy end
  return all
end

-- What goes on without the session.
local function leave(self)
  for _, one in ipairs(self.attached) do
    one.close()
    if #one.names > 0 then self:note(("left running: %s (perilune status)"):format(words.list(one.names))) end
  end
  self.attached = {}
end

--- Stops everything that is the session's own, and says what is not; done() when all is detached.
function Session:close(done)
  leave(self)
  local left = self:running()
  local waiting = #left
  if waiting == 0 then return done() end
  for _, own in ipairs(left) do
    own:stop(function()
      waiting = waiting - 1
      if waiting == 0 then done() end
    end)
  end
end

return session
