-- SPDX-License-Identifier: Apache-2.0
-- perilune replay: a policy, or one template, over a capture.
local capture = require "perilune.core.capture"
local moment = require "perilune.base.moment"
local net = require "perilune.base.net"
local policy = require "perilune.policy"
local replay_driver = require "perilune.run.replay"
local session = require "perilune.run.session"
local sink_json = require "perilune.show.sink_json"
local sink_text = require "perilune.show.sink_text"
local sink_timeline = require "perilune.show.sink_timeline"
local traffic = require "perilune.test.traffic"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local replay = {
  usage = "perilune replay (POLICY.lua | -e 'LUA' | --template NAME [--features A,B]) FILE.pcap … "
    .. "[--set NAME=VALUE]… [--until TIME] [--pps N] [--local NET] [--windows] [--seed] [--costs FILE] "
    .. "[--audit FILE] [--json] [--trusted]",
  summary = "run a policy or a template over captures, on their clock",
  options = { ["-e"] = "eval", eval = "policy",
    set = "pairs", json = "flag", template = "text", features = "text", ["local"] = "text",
    trusted = "flag", audit = "text", costs = "text", ["until"] = "text", pps = "text", windows = "flag",
    seed = "flag" },
  help = [[
Every frame of the captures runs through the real programs (BPF_PROG_TEST_RUN); windows, rules and levels follow the
captures' time stamps. The same captures give the same output. What happened is printed as a timeline, which ends with
what each level has seen.

Several captures are one after the other. Silence between them is kept; one that begins before the one in front of it
ends is moved to that end, and standard error says so.

  -e 'LUA'          a policy, or probes to watch, in the place of a file
  --until TIME      ends then: a duration after the first frame ("90s"), or a time ("2026-03-29T01:00:00Z"). Frames from
                    then on are not run; when the captures end before, time goes on without packets
  --pps N           N frames a second ("500", "2k/s"), whatever their time stamps say
  --template NAME   one probe of this template instead of a policy; --set gives its key, knobs, sample and window
  --features A,B    features of that template
  --local NET,…     frames from these networks are outgoing (10.0.0.0/8); without it all are incoming
  --audit FILE      appends all that decides to FILE, for perilune explain
  --costs FILE      what levels cost, of perilune check --record: the budget gives up and back by that. Nothing is
                    measured in a replay, so without it the budget is not judged. Of a share of a core it is the
                    programs' part
  --windows         prints every window too, as run does
  --seed            keeps what baselines have learnt: a run of the policy then begins with it (PERILUNE_STATE)
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

local LONGEST = 100 * 365.25 * 86400 -- seconds of a replay

-- What --until and --pps ask for: { until_wall or seconds, pps }; nil, message when one is wrong.
local function timing(parsed)
  local out = {}
  local till, pps = parsed["until"], parsed.pps
  if till then
    out.until_wall = moment.parse(till)
    out.seconds = not out.until_wall and units.parse(till, "duration") or nil
    if out.seconds and out.seconds > LONGEST then
      return nil, ("--until %s: longer than a hundred years (write it like --until 90s)"):format(till)
    elseif not out.until_wall and not out.seconds then
      return nil, ("--until %s: neither a duration nor a time "
        .. "(write it like --until 90s or --until 2026-03-29T01:00:00Z)"):format(till)
    end
  end
  if pps then
    out.pps = tonumber(pps) or units.parse(pps, "rate", true)
    if not out.pps or not (out.pps > 0 and out.pps <= 1e9) then
      return nil, ("--pps %s: not a number of frames a second (write it like --pps 500 or --pps 2k/s)"):format(pps)
    end
  end
  return out
end

-- The captures that the command line names from word `first` on, as one source of frames.
local function open_captures(parsed, first, pps, context)
  local list = {}
  for i = first, #parsed do
    local path = parsed[i]
    list[#list + 1] = { name = path, pps = pps, open = function() return capture.open(path) end }
  end
  return traffic.chain(list, function(note) context.err("perilune: " .. note) end)
end

local function sink_of(parsed)
  if parsed.json then return sink_json.new() end
  return (parsed.template or parsed.windows) and sink_text.new() or sink_timeline.new()
end

function replay.run(parsed, context)
  local first = parsed.template and 1 or 2
  if #parsed < first then
    return context.fail(parsed.template and "replay --template NAME needs a capture"
      or "replay needs a policy and a capture (perilune replay POLICY.lua FILE.pcap)")
  end
  local message, code
  if parsed["local"] then
    local matcher
    matcher, message = net.matcher(parsed["local"])
    if not matcher then return context.fail("--local " .. message) end
  end
  local when
  when, message = timing(parsed)
  if not when then return context.fail(message) end
  local decl
  if parsed.template then
    decl, message, code = from_template(parsed, context)
  else
    decl, message, code = session.load(parsed, context)
  end
  if not decl then return context.fail(message, code) end
  local source
  source, message, code = open_captures(parsed, first, when.pps, context)
  if not source then return context.fail(message, code) end
  local audit
  audit, message, code = session.audit(parsed, decl)
  if message then return context.fail(message, code) end
  local costs
  costs, message = session.costs(parsed, decl)
  if message then return context.fail(message) end
  if decl.budget and not costs then
    context.err(("perilune: %s: the budget is not judged: nothing says what levels cost (perilune check --record FILE "
      .. "measures it, for replay --costs FILE)"):format(decl.file or decl.name))
  end
  local sink = sink_of(parsed)
  local status = session.drive(function(finished)
    return replay_driver.new {
      decl = decl, share = context.share, sink = sink, source = source, file = table.concat(parsed, " ", first),
      captures = true, local_net = parsed["local"], until_wall = when.until_wall, seconds = when.seconds,
      audit = audit, finished = finished, seed = parsed.seed, costs = costs,
    }
  end, context, sink)
  source:close()
  return status
end

return replay
