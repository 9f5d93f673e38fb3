-- SPDX-License-Identifier: Apache-2.0
-- Several policies at once: a process of its own for each, so that one which fails, hangs or is killed takes nothing
-- from the others, and this one, which hands on their lines and their end.
--
--   perilune run a.lua b=b.lua  →  perilune run … a.lua, perilune run … b=b.lua
--
-- What they write goes out in whole lines; text begins with the policy's name, and events carry it. They end when this
-- process does, however it ends (child.follow).
local child = require "perilune.core.child"
local loop = require "perilune.core.loop"
local one_line = require "perilune.policy.one_line"
local output = require "perilune.base.output"
local policy = require "perilune.policy"
local session = require "perilune.run.session"
local trial = require "perilune.policy.trial"
local vm = require "perilune.core.vm"
local words = require "perilune.base.words"

local supervise = {}

-- Longest line that is waited for, in bytes.
local LONGEST = 64 * 1024 * 1024
local SIGNALS = { "SIGINT", "SIGTERM", "SIGHUP" }

local Supervisor = {}
Supervisor.__index = Supervisor

--- Who is to run: list of { word, file, name, options = set of names, or nil when the policy cannot be read, message }.
function supervise.members(parsed, context)
  local list, by_name = {}, {}
  for i, word in ipairs(parsed) do
    local spec, message = session.spec(word, parsed, context, true)
    local name, file = session.name_and_file(word)
    local options, declared = nil, message -- of a bundle that cannot be read
    if spec then
      name, file = spec.as, spec.file
      options, declared = trial.load(policy.options, spec)
    end
    local one = { word = word, file = file }
    if options then
      one.options = {}
      for _, option in ipairs(options) do one.options[option.name] = true end
    else
      one.message, declared = declared, nil
    end
    one.name = name or declared or file:match "([^/]+)%.lua$" or file
    if by_name[one.name] then
      return nil, ('%s and %s are both called "%s" (give one another name: perilune run NAME=%s)')
        :format(by_name[one.name].file, file, one.name, file)
    end
    by_name[one.name], list[i] = one, one
  end
  return list
end

--- A value for an option that no policy declares: nil, message.
function supervise.check_set(list, set)
  for _, name in ipairs(words.keys(set)) do
    local known, unread, found = {}, nil, false
    for _, one in ipairs(list) do
      unread = unread or one.message
      for option in pairs(one.options or {}) do known[option] = true end
      found = found or (one.options or {})[name]
    end
    if not found then
      return nil, ('no policy has an option "%s" (%s)'):format(name,
        unread or words.suggest(name, words.keys(known), "they have no options"))
    end
  end
  return true
end

-- The command line of one.
local function argv_of(program, one, parsed)
  local argv = { program, "run", "--parent", tostring(loop.pid()) }
  for _, flag in ipairs { "json", "dry-run", "trusted", "watch", "pin", "upgrade" } do
    if parsed[flag] then argv[#argv + 1] = "--" .. flag end
  end
  for _, option in ipairs { "audit", "for", "host", "site" } do
    if parsed[option] then argv[#argv + 1] = ("--%s=%s"):format(option, parsed[option]) end
  end
  for _, name in ipairs(words.keys(parsed.set or {})) do
    if one.options and one.options[name] then argv[#argv + 1] = ("--set=%s=%s"):format(name, parsed.set[name]) end
  end
  if one_line.is(one.word) then
    argv[#argv + 1], one.word = "-e", one_line.text(one.word)
  end
  argv[#argv + 1] = one.word
  return argv
end

-- An output that nobody reads any more ends the run, and is no failure.
function Supervisor:write(fd, text)
  local ok, message, code = self.out[fd]:write(text)
  if ok or fd ~= 1 or self.broken then return end
  self.broken = true
  if code ~= "EPIPE" then self:worse(self.context.broke(message, code)) end
  self:signal "SIGTERM"
end

function Supervisor:worse(status) self.status = math.max(self.status, status) end

function Supervisor:signal(name)
  for _, one in ipairs(self.members) do
    if one.child then one.child:signal(name) end
  end
end

-- Hands on lines. Events carry the name of their policy; text gets it here.
function Supervisor:lines(one, fd, text)
  if fd == 2 or not self.json then
    local prefix = one.name:gsub("%%", "%%%%") .. ": "
    text = text:gsub("([^\n]*)\n", prefix .. "%1\n")
  end
  self:write(fd, text)
end

-- Some of what one has written: the lines that it ends, and the beginning of the next.
function Supervisor:take(one, fd, bytes)
  local kept = one.kept[fd]
  local rest = bytes:match "^.*\n()" -- anchored: once, not from every byte
  if rest then
    kept[#kept + 1] = bytes:sub(1, rest - 1)
    self:lines(one, fd, table.concat(kept))
    kept = { bytes = 0 }
    one.kept[fd] = kept
    bytes = bytes:sub(rest)
  end
  kept[#kept + 1] = bytes
  kept.bytes = kept.bytes + #bytes
  if kept.bytes > LONGEST and not one.too_long then
    one.too_long = true
    one.child:kill()
  end
end

-- Says how one has ended, unless well.
function Supervisor:report(one, status, signal)
  local how
  if one.too_long then
    how = ("was stopped: it wrote a line of more than %d MB"):format(LONGEST / 2 ^ 20)
  elseif signal then
    how = "was ended by " .. signal
  elseif status ~= 0 then
    how = ("ended with exit status %d"):format(status)
  else
    return
  end
  local left = self.running > 0 and not self.signals and "the others go on" or nil
  self:worse(status or self.context.exit.failed)
  local event = {
    v = 1, event = "error", policy = one.name, time = loop.wall(), message = "the policy " .. how, hint = left,
  }
  local function out(text)
    self:lines(one, 1, text)
    return true
  end
  local sink = self.json and require("perilune.show.sink_json").new(out)
    or require("perilune.show.sink_text").new { out = out }
  sink:event(event)
end

function Supervisor:ended(one, status, signal)
  for fd = 1, 2 do
    local rest = table.concat(one.kept[fd])
    -- Half an event is none.
    if rest ~= "" and (fd == 2 or not self.json) then self:lines(one, fd, rest .. "\n") end
  end
  one.child, one.kept = nil, nil
  self.running = self.running - 1
  self:report(one, status, signal)
  if self.running == 0 then loop.stop() end
end

function Supervisor:start(one, program, parsed)
  one.kept = { { bytes = 0 }, { bytes = 0 } }
  self.running = self.running + 1
  local started, message, code = child.start({
    argv = argv_of(program, one, parsed), output = function(fd, bytes) self:take(one, fd, bytes) end,
  }, function(status, signal) self:ended(one, status, signal) end)
  if started then
    one.child = started
    return
  end
  self.running = self.running - 1
  self:worse(self.context.broke(("%s: %s"):format(one.name, message), code))
end

-- The first two are for the policies, which know what to do; who sends a third wants an end.
function Supervisor:interrupt(name)
  self.signals = (self.signals or 0) + 1
  if self.signals < 3 then return self:signal(name) end
  for _, one in ipairs(self.members) do
    if one.child then one.child:kill() end
  end
end

function Supervisor:run(program, parsed)
  local handles = {}
  for i, name in ipairs(SIGNALS) do handles[i] = loop.signal(name, function() self:interrupt(name) end) end
  vm.on_error(function(traceback)
    self:worse(self.context.broke(traceback))
    self:signal "SIGTERM"
  end)
  for _, one in ipairs(self.members) do self:start(one, program, parsed) end
  if self.running > 0 then loop.run() end
  for _, handle in ipairs(handles) do handle:close() end
  self:write(1, "")
  return self.status
end

--- Runs the policies that `parsed` names until all have ended. → exit status: the highest of theirs; one that a signal
--- has ended counts as failed
function supervise.run(parsed, context)
  local list, message = supervise.members(parsed, context)
  local ok, program, code = list ~= nil, nil, nil
  if ok then ok, message = supervise.check_set(list, parsed.set or {}) end
  if ok then program, message, code = child.program() end
  if not program then return context.fail(message, code) end
  local self = setmetatable({
    context = context, members = list, json = parsed.json, running = 0, status = context.exit.done,
    out = { output.new(1), output.new(2) },
  }, Supervisor)
  return self:run(program, parsed)
end

return supervise
