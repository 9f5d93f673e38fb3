-- SPDX-License-Identifier: Apache-2.0
-- perilune top: a full-screen live view.
local args = require "perilune.args"
local drive = require "perilune.client.drive"
local files = require "perilune.core.files"
local live = require "perilune.run.live"
local loop = require "perilune.core.loop"
local one_line = require "perilune.policy.one_line"
local place = require "perilune.client.place"
local policy = require "perilune.policy"
local screen = require "perilune.show.screen"
local session = require "perilune.run.session"
local sink_text = require "perilune.show.sink_text"
local term = require "perilune.core.term"
local top_view = require "perilune.show.top"
local watched = require "perilune.client.watched"
local words = require "perilune.base.words"

local top = {
  usage = "perilune top [POLICY.lua | -e 'LUA' | TEMPLATE | --attach [POLICY]] [--set NAME=VALUE]… [--for TIME] "
    .. "[--trusted] [--socket PATH | --server URL] […]",
  summary = "a full-screen live view of a policy, of a template's records, or of who talks most",
  options = place.with { ["-e"] = "eval", eval = "policy",
    set = "pairs", ["for"] = "text", trusted = "flag", attach = "flag" },
  help = [[
Without a policy: who talks most on the default route's interface (--set iface=NAME, hook=, key=, window=). With the
name of a template, its records. Keys are shown at the bottom, ? lists them all. Elsewhere than on a terminal it
prints plain lines.

  -e 'LUA'          a policy, or probes to watch, in the place of a file
  --set NAME=VALUE  sets an option of the policy, or of the view
  --for TIME        ends after that time ("10s", "5m")
  --attach          shows a policy of the daemon, which goes on afterwards
]] .. place.help,
}

local REFRESH = 1 -- seconds

local function view(name, parsed, context)
  local manifest, message = context.templates:get(name)
  if not manifest then return nil, message end
  local set, body = {}, {}
  for key, value in pairs(parsed.set or {}) do
    if key == "iface" or key == "hook" or key == "window" then
      set[key] = value
    elseif key == "key" and manifest.key then
      body[#body + 1] = ("key = %q"):format(value)
    elseif manifest.knobs[key] or key == "sample" or key == "filter" then
      body[#body + 1] = ("%s = %s"):format(key, tonumber(value) or ("%q"):format(value))
    else
      local known = { "iface", "hook", "window", "sample", "filter", unpack(words.keys(manifest.knobs)) }
      return nil, ("--set %s: there is no such setting (%s)"):format(key, words.suggest(key, known))
    end
  end
  local source = one_line.watch("top", ("%s { %s }"):format(name, table.concat(body, ", ")))
  return policy.load { source = source, name = "top", set = set, templates = context.templates }
end

local function declaration(parsed, context)
  local what = parsed[1]
  local is_path = what and what:find "[./]"
  if not what or not is_path and context.templates:get(what) then return view(what or "flows", parsed, context) end
  if not (is_path or one_line.is(what) or files.kind(what)) then
    return nil, ("%s: neither a policy's file nor a template (%s)"):format(what,
      words.suggest(what, context.templates:names()))
  end
  return session.load(parsed, context)
end

local function style()
  local no_color = os.getenv "NO_COLOR"
  return { color = not no_color or no_color == "", utf8 = screen.utf8(os.getenv) }
end

-- The view, what feeds it with keys and time, and their end.
local function make_view(decl, stop)
  local self = {}
  self.view = top_view.new {
    decl = decl, out = 1, size = function() return term.size(1) end, style = style(), quit = stop,
  }
  self.keys = term.keys(function(bytes) self.view:keys(bytes) end)
  local timer
  timer = loop.timer(function()
    self.view:draw(loop.wall())
    timer:start(loop.now() + REFRESH)
  end)
  timer:start(loop.now() + REFRESH)
  local resized = loop.signal("SIGWINCH", function() self.view:draw() end)
  function self.close()
    if self.keys then self.keys:close() end
    timer:close()
    resized:close()
  end
  return self
end

-- Shows what the driver of make(sink, finished) tells, until that ends or somebody ends it. → exit status
local function show(decl, context, make)
  local driver
  local shown = term.isatty(0) and term.isatty(1) and os.getenv "TERM" ~= "dumb"
    and make_view(decl, function() driver:stop() end)
  local sink = shown and shown.view or sink_text.new { always_top = true }
  return session.drive(function(finished)
    driver = make(sink, function(...)
      if shown then shown.close() end
      finished(...)
    end)
    return driver
  end, context, sink)
end

-- In the place of a live driver: a policy that the daemon runs.
local function attached(daemon, found, seconds)
  return function(sink, finished)
    local driver = {}
    local stream
    local timer = loop.timer(function() driver:stop() end)
    local function over(...)
      timer:close()
      finished(...)
    end
    function driver.start()
      stream = watched.follow(daemon, found, sink, over)
      if seconds then timer:start(loop.now() + seconds) end
    end
    function driver.stop()
      stream.close()
      over()
    end
    return driver
  end
end

local function run_attached(parsed, context, seconds)
  if parsed.set then return context.fail "--set is for a policy that is started here (--attach shows one as it is)" end
  local daemon, found
  local status = drive.run(parsed, context, function(reached, finish)
    daemon = reached
    watched.find(daemon, parsed[1], context.templates, function(one, message, code)
      found = one
      finish(one and context.exit.done or context.broke(message, code))
    end)
  end)
  if not found then return status end
  return show(found.decl, context, attached(daemon, found, seconds))
end

function top.run(parsed, context)
  if #parsed > 1 then return context.fail "top takes one policy, or the name of one template" end
  local seconds, message = args.duration(parsed, "for")
  if message then return context.fail(message) end
  if parsed.attach then return run_attached(parsed, context, seconds) end
  local decl, interfaces, code
  decl, message, code = declaration(parsed, context)
  if not decl then return context.fail(message, code) end
  interfaces, message, code = session.interfaces(decl)
  if not interfaces then return context.fail(message, code) end
  return show(decl, context, function(sink, finished)
    return live.new {
      decl = decl, share = context.share, sink = sink, interfaces = interfaces, seconds = seconds, finished = finished,
    }
  end)
end

return top
