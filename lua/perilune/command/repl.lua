-- SPDX-License-Identifier: Apache-2.0
-- perilune repl, and perilune -e: lines of a person, one after the other, while probes go on.
local columns = require "perilune.base.columns"
local complete = require "perilune.repl.complete"
local edit = require "perilune.core.edit"
local loop = require "perilune.core.loop"
local place = require "perilune.client.place"
local session = require "perilune.repl.session"
local term = require "perilune.core.term"
local vm = require "perilune.core.vm"

local repl = {
  usage = "perilune repl [POLICY.lua …] [--attach] [--socket PATH | --server URL] […] [--history FILE]"
    .. "   perilune -e 'LUA'",
  summary = "explore: start probes, look, change them while they run, save what worked",
  options = place.with { eval = "text", history = "text", attach = "flag" },
  help = [[
Lines are Lua with the words of the policy language and verbs that act at once: start, run, save, help …
Type help() to begin with. Policies named are run at the start. With --attach the session begins at the daemon, whose
policies it shows and holds at levels, and leaves running.

  -e 'LUA'         runs one line instead, prints its value, stops what it started, and ends
  --history FILE   where lines are remembered ("" for nowhere; default ~/.perilune_history)
  --attach         begins with daemon = attach()
]] .. place.help,
}

local PROMPT, MORE = "perilune> ", "      ...> "

local Repl = {}
Repl.__index = Repl

local function history_file(parsed)
  if parsed.history then return parsed.history ~= "" and parsed.history or nil end
  local home = os.getenv "HOME"
  return home and home .. "/.perilune_history"
end

function Repl:write(text)
  if self.edit then return self.edit:above(text) end
  io.stdout:write(text)
  io.stdout:flush()
end

function Repl:ask()
  if self.ending then return end
  if self.session.quitting then return self:leave() end
  self.edit:prompt(#self.lines > 0 and MORE or PROMPT)
end

-- A line that is not finished waits for the next one.
function Repl:line(text)
  if not text then
    if self.edit:tty() then self:write "\n" end
    return self:leave()
  end
  if text:find "%S" then self.edit:remember(text) end
  self.lines[#self.lines + 1] = text
  local whole = table.concat(self.lines, "\n")
  if not whole:find "%S" then
    self.lines = {}
    return self:ask()
  end
  local how, rest = whole:match "^%s*:(%l+)%s+(.+)$"
  if how and how ~= "json" and how ~= "csv" then
    self:write((":%s is not known (:json and :csv are)\n"):format(how))
    self.lines = {}
    return self:ask()
  end
  local chunk, message = self.session:compile(rest or whole)
  if message == "incomplete" then return self:ask() end
  self.lines = {}
  if not chunk then
    self:write(message .. "\n")
    self.failed = true
    return self:ask()
  end
  self.busy = true
  self.session:run(chunk, function(ok)
    self.busy = false
    self.failed = self.failed or not ok
    self:ask()
  end, how)
end

-- Ctrl-C: the command that waits, or the line that is typed. Where nobody types, the end.
function Repl:interrupt()
  if self.ending then
    self.status = self.context.exit.interrupted
    return loop.stop()
  end
  if self.busy then return self.session:interrupt() end
  if not self.edit or not self.edit:tty() then return self:leave() end
  self.edit:discard()
  self.lines = {}
  self:write "^C\n"
  self:ask()
end

-- Says what it detaches, and ends.
function Repl:leave()
  if self.ending then return end
  self.ending = true
  self.session:interrupt()
  self.session:close(function()
    for _, handle in ipairs(self.handles) do handle:close() end
    if self.edit then self.edit:close() end
    self.edit = nil
    loop.stop()
  end)
end

function Repl:signals()
  local function on(name, fn) self.handles[#self.handles + 1] = loop.signal(name, fn) end
  on("SIGINT", function() self:interrupt() end)
  on("SIGTERM", function() self:leave() end)
  on("SIGHUP", function() self:leave() end)
  on("SIGWINCH", function()
    if self.edit then self.edit:resize() end
  end)
end

-- The policies that the command line names, as if they had been typed.
local function opening(parsed)
  local parts = { parsed.attach and "daemon = attach()" or nil }
  for _, file in ipairs(parsed) do
    local name = file:match "([%a_][%w_]*)%.lua$" or "policy"
    parts[#parts + 1] = ("%s = run %q"):format(name, file)
  end
  return #parts > 0 and table.concat(parts, "\n") or nil
end

function Repl:interactive(parsed)
  local made, message, code = edit.new {
    line = function(text) self:line(text) end,
    complete = function(text) complete.key(self.session, self.edit, table.concat(self.lines, "\n"), text) end,
    history = history_file(parsed),
  }
  if not made then return nil, message, code end
  self.edit = made
  if made:tty() then self:write 'help() says what can be done here; Tab completes, Ctrl-D leaves\n' end
  local first = opening(parsed)
  if not first then return self:ask() or true end
  self.busy = true
  self.session:command(first, function(ok)
    self.busy, self.failed = false, not ok
    self:ask()
  end)
  return true
end

function Repl:evaluate(text)
  self.busy = true
  self.session:command(text, function(ok)
    self.busy, self.failed = false, not ok
    self:leave()
  end)
  return true
end

-- What is told of the one line of -e names it as run, check and replay do.
local function note_line(text)
  io.stderr:write((text:gsub("^input 1:", "perilune: -e:"):gsub("%f[%w]input 1:", "-e:")))
end

function repl.run(parsed, context)
  local self = setmetatable({ lines = {}, handles = {}, context = context, status = context.exit.done }, Repl)
  self.session = session.new {
    share = context.share, templates = context.templates, out = function(text) self:write(text) end,
    note = parsed.eval and note_line or nil,
    place = parsed, width = columns,
  }
  vm.on_error(function(traceback)
    self:write("perilune: " .. tostring(traceback) .. "\n")
    self.failed = true
    if self.busy then self:leave() end
  end)
  self:signals()
  local ok, message, code
  if parsed.eval then
    ok, message, code = self:evaluate(parsed.eval)
  else
    ok, message, code = self:interactive(parsed)
  end
  if not ok then return context.fail(message, code) end
  loop.run()
  if self.status == context.exit.done and self.failed and (parsed.eval or not term.isatty(0)) then
    return context.exit.failed
  end
  return self.status
end

return repl
