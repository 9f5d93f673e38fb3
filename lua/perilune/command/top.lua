-- SPDX-License-Identifier: Apache-2.0
-- perilune top: a full-screen live view.
local args = require "perilune.args"
local live = require "perilune.live"
local loop = require "perilune.core.loop"
local policy = require "perilune.policy"
local screen = require "perilune.screen"
local session = require "perilune.session"
local sink_text = require "perilune.sink_text"
local term = require "perilune.core.term"
local top_view = require "perilune.top"
local words = require "perilune.words"

local top = {
  usage = "perilune top [POLICY.lua | TEMPLATE] [--set NAME=VALUE]… [--for TIME] [--trusted]",
  summary = "a full-screen live view of a policy, of a template's records, or of who talks most",
  options = { set = "pairs", ["for"] = "text", trusted = "flag" },
  help = [[
Without a policy: who talks most on the default route's interface (--set iface=NAME, hook=, key=, window=). With the
name of a template, its records. Keys are shown at the bottom, ? lists them all. Elsewhere than on a terminal it
prints plain lines.

  --set NAME=VALUE  sets an option of the policy, or of the view
  --for TIME        ends after that time ("10s", "5m")]],
}

local REFRESH = 1 -- seconds

-- What is watched when no policy is named: a template's records, and the totals.
local VIEW = [[
local iface  = option "iface"  { type = "iface" }
local hook   = option "hook"   { default = "tc", one_of = { "xdp", "tc.ingress", "tc.egress", "tc" } }
local window = option "window" { default = "1s" }
return policy "top" {
  attach = { iface = iface, hook = hook }, window = window, always = { %s },
}]]

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
  return policy.load { source = VIEW:format(("%s { %s }"):format(name, table.concat(body, ", "))), name = "top",
    set = set, templates = context.templates }
end

local function declaration(parsed, context)
  local what = parsed[1]
  if what and (what:find "[./]" or not context.templates:get(what)) then return session.load(parsed, context) end
  return view(what or "flows", parsed, context)
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

function top.run(parsed, context)
  if #parsed > 1 then return context.fail "top takes one policy, or the name of one template" end
  local seconds, message = args.duration(parsed, "for")
  if message then return context.fail(message) end
  local decl, interfaces, code
  decl, message, code = declaration(parsed, context)
  if not decl then return context.fail(message, code) end
  interfaces, message, code = session.interfaces(decl)
  if not interfaces then return context.fail(message, code) end
  local driver
  local shown = term.isatty(0) and term.isatty(1) and os.getenv "TERM" ~= "dumb"
    and make_view(decl, function() driver:stop() end)
  local sink = shown and shown.view or sink_text.new { always_top = true }
  local status = session.drive(function(finished)
    driver = live.new {
      decl = decl, share = context.share, sink = sink, interfaces = interfaces, seconds = seconds,
      finished = function(...)
        if shown then shown.close() end
        finished(...)
      end,
    }
    return driver
  end, context, sink)
  return status
end

return top
