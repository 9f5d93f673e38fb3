-- SPDX-License-Identifier: Apache-2.0
--
-- What help "topic" says in a session.

local template = require "perilune.probe.template"
local words = require "perilune.base.words"

local help = {}

local TOPICS = {
  start = {
    "p = start(flows { iface = \"eth0\" })   compiles, verifies and attaches a probe",
    "p:stop()                              detaches it, and gives its totals",
    "A probe's body takes what its template knows (help \"flows\"), and iface, netns, hook, mode, window.",
    "Without iface it is the default route's interface; without window, one a second.",
  },
  probes = {
    "p:top(10, \"bytes\")      the largest records of the last closed window",
    "p:rows()                all of them, with verbs: where group top sort sum mean min max distinct quantile …",
    "p:watch \"1s\"            shows every window until Ctrl-C; verbs can follow: p:watch():top(5, \"packets\")",
    "p:bars \"sizes\"          a histogram of the last window; p:series \"packets\": the last windows as a line",
    "p:enable \"timing\"       a feature on, p:disable off, p:set { entries = 1000 }: while it runs, no count is lost",
    "p:stop()                detaches, and gives the totals.   probes() lists those that run",
  },
  source = {
    "source \"own\" { file = \"own.bpf.c\" }   a probe of own C, in a file here or below; or code = [[ … ]]",
    "Its maps are declared with bpf/half.h: NAME(rows) and NAME(other), and NAME(on_packet). Fields are those of rows.",
    "p:set { entries = 1000 } and p:enable \"more\" (FEATURE_more) compile it anew while it runs.",
    "templates/README.md has all of it; examples/hops.lua is one.",
  },
  rows = {
    "rows:where { dport = 53 }   rows:where \"bytes > 1e6 and dport == 53\"   rows:top(10, \"bytes\")",
    "rows:group(\"src\", { bytes = sum \"bytes\", ports = distinct \"dport\" })   rows:sort(\"src\", \"ascending\")",
    "rows:json()  rows:csv()     for machines; a line that begins with :json or :csv does it for any value",
  },
  run = {
    "s = run \"file.lua\"         runs a policy; run(\"file.lua\", { iface = \"eth0\" }) sets its options",
    "s:level()  s:level(\"alert\", \"10m\")  s:level(false)    which is in force; holds one for a time; lets go",
    "s:top(\"to\", 10, \"syn\")  s:rows \"to\"  s:watch \"to\"  s:transitions()  s:rules()  s:sets()  s:stop()",
  },
  attach = {
    "daemon = attach()        the daemon that runs here; attach \"/run/x.sock\", attach \"http://127.0.0.1:9000\"",
    "Its policies become variables of their names: edge:level \"siege\"  edge:watch \"to\"  edge:transitions() …",
    "daemon:policies()   daemon:policy \"edge\"   daemon:maps().   What it does is told as it happens,",
    "and it goes on when the session ends. perilune repl --attach begins with it.",
  },
  save = {
    "save \"x.lua\"   writes the probes that run, and the levels, sets and rules that were declared, as a policy",
    "The text is checked first; perilune check x.lua verifies it, perilune run x.lua runs it.",
  },
  maps = {
    "maps()                every BPF map of the machine",
    "map(\"name\"):dump()    map(12):dump()    map(\"/sys/fs/bpf/x\"):dump()",
  },
  keys = {
    "Tab completes; up and down: earlier lines; Ctrl-R: those that begin like this one.",
    "A line that is not finished goes on in the next one.",
    "Ctrl-C ends the command that runs, not the probes, or clears the line. Ctrl-D leaves.",
  },
}

local OVERVIEW = {
  "p = start(flows { key = \"src\" })   a probe on the default interface     help \"start\"",
  "p:top(5, \"bytes\")   p:watch \"1s\"    what it sees                          help \"probes\", help \"rows\"",
  "p:enable \"tcp_flags\"               change it while it runs",
  "s = run \"policy.lua\"               a whole policy                        help \"run\"",
  "daemon = attach()                    the daemon's policies                 help \"attach\"",
  "rule \"busy\" { … }   save \"x.lua\"   keep what worked                      help \"save\"",
  "templates()   interfaces()   maps()   probes()   quit()                  help \"keys\", help \"maps\"",
  "Any template is a topic too: help \"flows\". Lua's own values print as they are: 2^10, =p.name.",
}

local function row(name, unit, text) return ("  %-14s %-10s %s"):format(name, unit or "", text or "") end

--- What a template takes: lines.
function help.template(templates, name)
  local manifest, message = templates:get(name)
  if not manifest then return { message } end
  local lines, key = { ("%s: %s"):format(name, manifest.help) }, {}
  for i, field in ipairs(manifest.key_fields or {}) do key[i] = field.name end
  if manifest.key then
    lines[#lines + 1] = "keys: " .. words.list(words.keys(manifest.key.choices))
      .. (", or a list of %s"):format(words.list(key))
  end
  lines[#lines + 1] = "features:"
  for _, feature in ipairs(words.keys(manifest.features)) do
    lines[#lines + 1] = row(feature, "", manifest.features[feature].help)
  end
  lines[#lines + 1] = "fields:"
  for _, field in ipairs(template.fields(manifest, nil, words.keys(manifest.features))) do
    lines[#lines + 1] = row(field.name, field.unit, (field.help or "") .. (field.feature and (" (%s)"):format(
      field.feature) or ""))
  end
  lines[#lines + 1] = "knobs:"
  for _, knob in ipairs(words.keys(manifest.knobs)) do
    lines[#lines + 1] = row(knob, manifest.knobs[knob].unit, manifest.knobs[knob].help)
  end
  return lines
end

function help.topics(session)
  local topics = words.keys(TOPICS)
  for _, name in ipairs(session.templates:names()) do topics[#topics + 1] = name end
  return topics
end

--- Lines about a topic; without one, the overview.
function help.lines(session, topic)
  if topic == nil then return OVERVIEW end
  if TOPICS[topic] then return TOPICS[topic] end
  for _, name in ipairs(session.templates:names()) do
    if name == topic then return help.template(session.templates, name) end
  end
  topic = tostring(topic)
  return { ("there is no help on %s (%s)"):format(topic, words.suggest(topic, help.topics(session))) }
end

return help
