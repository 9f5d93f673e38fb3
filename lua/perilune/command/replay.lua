-- SPDX-License-Identifier: Apache-2.0
-- perilune replay: a policy, or one template, over a capture.
local capture = require "perilune.core.capture"
local net = require "perilune.net"
local policy = require "perilune.policy"
local replay_driver = require "perilune.replay"
local session = require "perilune.session"
local words = require "perilune.words"

local replay = {
  usage = "perilune replay (POLICY.lua | --template NAME [--features A,B]) FILE.pcap "
    .. "[--set NAME=VALUE]… [--json] [--local NET] [--trusted]",
  summary = "run a policy or a template over a capture, on the capture's clock",
  options = { set = "pairs", json = "flag", template = "text", features = "text", ["local"] = "text",
    trusted = "flag" },
  help = [[
Every frame of the capture runs through the real programs (BPF_PROG_TEST_RUN); windows, rules and levels follow the
capture's time stamps. The same capture gives the same output.

  --template NAME   one probe of this template instead of a policy; --set gives its key, knobs, sample and window
  --features A,B    features of that template
  --local NET,…     frames from these networks are outgoing (10.0.0.0/8); without it all are incoming
  --json            one JSON object a line, as event.schema.json describes
  --trusted         the policy has all of Lua (io, os, ffi …), and no limits of time and memory]],
}

local function quoted(text) return ("%q"):format(text) end

-- A policy with one probe. Its keys are quoted into the text, so that what is wrong is said as for any
-- policy.
local function from_template(parsed, context)
  local name = parsed.template
  local manifest, message = context.templates:get(name)
  if not manifest then return nil, message end
  local body, window = {}, "1s"
  for key, value in pairs(parsed.set or {}) do
    if key == "window" then
      window = value
    elseif key == "key" then
      local list = {}
      for field in value:gmatch "[^,%s]+" do list[#list + 1] = quoted(field) end
      body[#body + 1] = value:find(",", 1, true) and ("key = { %s }"):format(table.concat(list, ", "))
        or ("key = %s"):format(quoted(value))
    elseif manifest.knobs[key] or key == "sample" then
      body[#body + 1] = ("%s = %s"):format(key, tonumber(value) or quoted(value))
    else
      local known = words.keys(manifest.knobs)
      known[#known + 1], known[#known + 2] = "window", "sample"
      if manifest.key then known[#known + 1] = "key" end
      return nil, ("--set %s: the template %s has no such knob (%s)"):format(key, name, words.suggest(key, known))
    end
  end
  table.sort(body)
  local features = {}
  for feature in (parsed.features or ""):gmatch "[^,%s]+" do features[#features + 1] = quoted(feature) end
  body[#body + 1] = ("features = { %s }"):format(table.concat(features, ", "))
  local source = ("return policy %s { attach = { hook = '%s' }, window = %s, always = { %s %s { %s } } }"):format(
    quoted(name), parsed["local"] and "tc" or "xdp", quoted(window), name, quoted(name), table.concat(body, ", "))
  return policy.load { source = source, name = "--template " .. name, set = {}, templates = context.templates }
end

function replay.more_help(parsed, context)
  if parsed[1] and not parsed.template then return session.print_options(parsed, context) end
end

function replay.run(parsed, context)
  local wanted = parsed.template and 1 or 2
  if #parsed ~= wanted then
    return context.fail(parsed.template and "replay --template NAME needs one capture"
      or "replay needs a policy and a capture (perilune replay POLICY.lua FILE.pcap)")
  end
  local message, code
  if parsed["local"] then
    local matcher
    matcher, message = net.matcher(parsed["local"])
    if not matcher then return context.fail("--local " .. message) end
  end
  local decl
  if parsed.template then
    decl, message, code = from_template(parsed, context)
  else
    decl, message, code = session.load(parsed, context)
  end
  if not decl then return context.fail(message, code) end
  local path = parsed[wanted]
  local opened
  opened, message, code = capture.open(path)
  if not opened then return context.fail(message, code) end
  local sink = session.sink(parsed)
  local status = session.drive(function(finished)
    return replay_driver.new {
      decl = decl, share = context.share, sink = sink, capture = opened, file = path, local_net = parsed["local"],
      finished = finished,
    }
  end, context, sink)
  opened:close()
  return status
end

return replay
