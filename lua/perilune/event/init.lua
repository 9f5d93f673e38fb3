-- SPDX-License-Identifier: Apache-2.0
-- The events of a run: the one place where their fields, their order, types and units are declared.
--
-- Sinks get events as plain tables; encode() makes the JSON line of one. event.schema.json says the same to
-- others.
local audit_event = require "perilune.event.audit_event"
local event_json = require "perilune.event.json"

local event = { version = 1 }

-- A field: { name, type, unit or nil, what it is [, key = name in the Lua table] }. A type that ends in "?"
-- is optional.
--   text texts bool      a string, a list of strings, a boolean
--   count                a whole number from 0 to 2^53
--   seconds number       a number, not negative
--   time                 whole µs since the epoch; in JSON, RFC 3339 in UTC with nanoseconds
--   values               name → number; in JSON sorted by name, null for what is no number
--   fields               name → text, number or boolean; in JSON sorted by name
--   exact                a number to the last bit; data: texts, numbers (to the last bit), booleans, lists and objects
--   rows                 JSON text of an array of objects, or a list of tables
--   { "a", "b" }         one of these words (optional = true)
--   { object = fields }  an object;  { list = fields }  a list of objects (optional = true)
local LOSS = { object = {
  { "map_full", "count", "packets", "not in a row because a map was full" },
  { "evicted", "count", "packets", "in rows that were evicted" },
  { "ring_full", "count", "events", "not delivered because a ring buffer was full" },
  { "not_parsed", "count", "packets", "seen by the hook, but not understood" },
  { "late", "count", "packets", "counted in a later window than their own" },
  { "limited", "count", "packets", "not in a record because of a limit that the policy set: nothing is lost" },
} }

local NOT_PARSED_BY = { optional = true, object = {
  { "not_ip", "count", "packets", "neither IPv4 nor IPv6" },
  { "truncated", "count", "packets", "shorter than their headers say" },
  { "malformed", "count", "packets", "with headers that contradict themselves" },
} }

local FLAWED_BY = { optional = true, object = {
  { "bad_length", "count", "packets", "whose IP header claims more than the frame has" },
  { "bad_headers", "count", "packets", "whose extension or transport headers end too early" },
  { "bad_transport", "count", "packets", "with a length in the transport header that cannot be" },
} }

local COUNTS = {
  { "packets", "count", "packets", "segments on the wire" },
  { "skbs", "count", "skbs", "what the hook saw" },
  { "bytes", "count", "bytes", "IP octets of all segments" },
}

local DIRECTIONS = { optional = true, object = {
  { "ingress", { optional = true, object = COUNTS }, nil, "what came in" },
  { "egress", { optional = true, object = COUNTS }, nil, "what went out" },
} }

local HOOK = { "xdp", "tc.ingress", "tc.egress", "tc" }
local MODE = { "native", "generic", "tcx", "clsact" }

local ATTACHMENT = {
  { "iface", "text", nil, "the interface" },
  { "hook", HOOK, nil, "where in the kernel" },
  { "mode", MODE, nil, "how it is attached" },
  { "ifindex", "count?", nil, "the interface's index, which tells apart those that had one name after another" },
  { "netns", "text?", nil, "the network namespace that it is in, if not perilune's own" },
}

local COST = { optional = true, object = {
  { "swap_seconds", "seconds", "s", "to end it: until every hook counts in the next one" },
  { "skew_seconds", "seconds", "s", "between the first and the last hook's change to the next one, at most" },
  { "grace_seconds", "seconds", "s", "until nothing counted in it any more" },
  { "read_seconds", "seconds", "s", "to read and clear its maps" },
} }

local LEVEL_SEEN = {
  { "level", "text", nil, "the level" },
  { "windows", "count", "windows", "windows closed at it" },
  { "seconds", "seconds", "s", "how long it was in force" },
  COUNTS[1], COUNTS[2], COUNTS[3],
  { "entered", "count", "times", "how often it was entered" },
}

-- What a level has seen since it was entered.
local STAY = { optional = true, object = {
  { "windows", "count", "windows", "windows closed" },
  { "seconds", "seconds", "s", "how long it was in force" },
  { "packets", "count", "packets", "segments on the wire" },
} }

local function fields(...)
  local list = {}
  for _, part in ipairs { ... } do
    for _, field in ipairs(part) do
      list[#list + 1] = field
    end
  end
  return list
end

local SEQ = { "seq", "count", nil, "number of the window" }

-- In front of every event's own fields.
event.head = {
  { "v", "count", nil, "version of this format" },
  { "time", "time", nil, "when" },
  { "event", "text", nil, "which event" },
  { "policy", "text", nil, "name of the policy or template" },
  { "host", "text?", nil, "the machine, as it is labelled" },
  { "site", "text?", nil, "where it is, as it is labelled" },
}

event.names = { "start", "attach", "detach", "window", "records", "rule", "transition", "action", "budget", "emit",
  "capture", "delivery", "reload", "error", "summary" }

event.fields = {
  reload = {
    { "file", "text?", nil, "the policy's file" },
    { "levels", "texts", nil, "the ladder, cheapest first" },
    { "level", "text", nil, "the level that it begins at" },
    { "kept", "texts", nil, "what still means the same and goes on: level, sets, rules" },
    { "lost", "texts", nil, "what was there and is not, or means something else" },
  },
  start = {
    { "file", "text?", nil, "the policy's file" },
    { "levels", "texts", nil, "the ladder, cheapest first" },
    { "window", "seconds", "s", "the length of a window at the base level" },
    { "boot", "text?", nil, "pinned: with seq, the same window has the same name in whatever process tells of it" },
    { "seq", "count?", nil, "pinned: number of the first window that is told of" },
    { "adopted", "bool?", nil, "pinned: whether it goes on where another process has left off" },
  },
  attach = ATTACHMENT,
  detach = fields(ATTACHMENT, { { "why", "text?", nil, "why, while the policy goes on" } }),
  window = fields({
    SEQ,
    { "level", "text", nil, "the level it was watched at" },
    { "start", "time", nil, "when it began" },
    { "end", "time", nil, "when it ended", key = "finish" },
    { "seconds", "seconds", "s", "its length" },
    { "cut", { "clock", "trigger", "level", "schedule", "budget", "request", "reload", "adopted", "exit" },
      nil, "what ended it" },
    { "deepest", "text?", nil, "the window before was still being read when a trigger raised the level, up to this "
      .. "one: so this one could not end there, and has what levels counted up to it" },
    { "deepest_seconds", "seconds?", "s", "for how long, until its end, a level above `level` was in force, if it "
      .. "is known" },
  }, COUNTS, {
    { "loss", LOSS, nil, "what was not counted where it belongs" },
    { "not_parsed_by", NOT_PARSED_BY, nil, "not_parsed by reason" },
    { "flawed_by", FLAWED_BY, nil, "counted, though something is wrong with them" },
    { "directions", DIRECTIONS, nil, "the totals by direction" },
    { "cost", COST, nil, "what its end took" },
  }),
  records = {
    SEQ,
    { "probe", "text", nil, "the probe's name" },
    { "template", "text", nil, "the probe's template" },
    { "level", "text", nil, "the level it was watched at" },
    { "sample_rate", "count", nil, "one in so many packets was looked at" },
    { "rows", "rows", nil, "the records" },
    { "omitted", "count", "rows", "rows that are not listed" },
    { "loss", LOSS, nil, "what is missing in the rows" },
  },
  rule = {
    SEQ,
    { "rule", "text", nil, "the rule's name" },
    { "key", "text?", nil, "the instance of a rule with `per`" },
    { "state", { "pending", "firing", "cleared" }, nil, "what it became" },
    { "reason", "text", nil, "why, for people" },
    { "values", "values", nil, "the measures that decided" },
    { "why", "text?", nil, "what decided instead of its condition in a window: trigger, not observed, reload" },
  },
  transition = {
    SEQ,
    { "from", "text", nil, "the level left" },
    { "to", "text", nil, "the level entered" },
    { "rule", "text?", nil, "the first holder" },
    { "held_by", "texts", nil, "all that hold the level" },
    { "capped_by", "texts", nil, "all that cap the level" },
    { "values", "values", nil, "the measures that decided" },
    { "reason", "text", nil, "why, for people" },
    { "after", STAY, nil, "what the level left has seen since it was entered" },
    { "loss", { optional = true, object = LOSS.object }, nil, "of the run so far" },
    { "cost_before", "number?", "ns", "a packet, at the level left, if it is known" },
    { "cost_after", "number?", "ns", "a packet, at the level entered, if it is known" },
  },
  action = {
    { "seq", "count?", nil, "number of the window" },
    { "act", { "add", "log", "call", "notify", "capture", "emit", "export" }, nil, "what is done" },
    { "set", "text?", nil, "the set" },
    { "member", "text?", nil, "the set's member" },
    { "rule", "text?", nil, "the rule that asked for it" },
    { "key", "text?", nil, "the instance of a rule with `per`" },
    { "undo", "bool", nil, "whether it is taken back" },
    { "text", "text?", nil, "what is logged, emitted or notified, or where a set is pinned" },
    { "dry_run", "bool?", nil, "true: only said, not done" },
  },
  budget = {
    SEQ,
    { "what", { "thin", "shed", "cap", "settled", "back", "spent" }, nil,
      "what is given up; settled: what that has brought; back: what is given back; spent: nothing is left to give up" },
    { "level", "text", nil, "the level it was measured at" },
    { "reason", "text", nil, "why, for people" },
    { "cost", "count?", "ns", "of the programs for a packet that a hook sees; nothing when there were too few" },
    { "cpu", "number?", nil, "share of one core that programs and process take; nothing when it is not known yet" },
    { "cost_limit", "number?", "ns", "what a packet may cost" },
    { "cpu_limit", "number?", nil, "the share that they may take" },
    { "saved", "count?", "ns", "a packet costs less since the step, as measured" },
    { "thin", "count", nil, "sampled probes look at one in so many of the packets that they would look at" },
    { "shed", "texts", nil, "probes that are off" },
    { "cap", "text?", nil, "the level above which none is entered" },
  },
  emit = {
    SEQ,
    { "name", "text", nil, "what the policy calls it" },
    { "rule", "text", nil, "the rule that fires" },
    { "key", "text?", nil, "the instance of a rule with `per`" },
    { "reason", "text", nil, "why, for people" },
    { "values", "values", nil, "the measures that decided" },
    { "fields", "fields", nil, "what the policy adds" },
  },
  capture = {
    { "rule", "text", nil, "the rule that fired" },
    { "key", "text?", nil, "the instance of a rule with `per`" },
    { "file", "text", nil, "where the packets are" },
    { "start", "time", nil, "when it began" },
    { "end", "time", nil, "when it ended", key = "finish" },
    { "packets", "count", "packets", "in the file" },
    { "bytes", "count", "bytes", "of the file, without its statistics" },
    { "lost", "count", "packets", "that found no room in the ring meanwhile, of this and other captures" },
    { "why", { "packets", "bytes", "time", "error", "cleared", "reload" }, nil, "what ended it" },
  },
  delivery = {
    { "receiver", "text", nil, "who was told" },
    { "firing", "count", "instances", "that it was told of: they fire" },
    { "resolved", "count", "instances", "that it was told of: they fire no more" },
    { "attempts", "count", nil, "how often it was tried" },
    { "seconds", "seconds", "s", "from the first attempt until it was told" },
    { "waiting", "count", "instances", "that it has still to be told of" },
  },
  error = {
    { "file", "text?", nil, "the file at fault" },
    { "line", "count?", nil, "its line" },
    { "rule", "text?", nil, "the rule at fault" },
    { "message", "text", nil, "what is wrong, with a traceback if there is one" },
    { "hint", "text?", nil, "what to do" },
  },
  summary = fields(COUNTS, {
    { "windows", "count", "windows", "windows closed" },
    { "transitions", "count", "transitions", "changes of level" },
    { "loss", LOSS, nil, "the sum over the windows" },
    { "not_parsed_by", NOT_PARSED_BY, nil, "not_parsed by reason" },
    { "flawed_by", FLAWED_BY, nil, "counted, though something is wrong with them" },
    { "directions", DIRECTIONS, nil, "the totals by direction" },
    { "seconds", "seconds", "s", "from the first window's begin to the last one's end" },
    { "levels", { optional = true, list = LEVEL_SEEN }, nil, "what each level saw, cheapest first" },
    { "left", "bool?", nil, "pinned: it goes on, and another process is to tell of it" },
    { "detached", { optional = true, list = ATTACHMENT }, nil, "what was attached and is no more" },
  }),
}

for _, name in ipairs { "test", "tests" } do event.names[#event.names + 1] = name end

event.fields.test = {
  { "file", "text", nil, "the file of tests" },
  { "line", "count", nil, "the test's line" },
  { "test", "text", nil, "its name" },
  { "passed", "bool", nil, "whether all came as expected" },
  { "packets", "count", "packets", "packets of its replay" },
  { "seconds", "seconds", "s", "time of its replay" },
  { "transitions", "count", "transitions", "changes of level" },
  { "failures", { list = {
    { "line", "count?", nil, "the expectation's line" },
    { "expected", "text", nil, "what was expected" },
    { "instead", "text", nil, "what was so instead" },
  } }, nil, "what did not come as expected" },
  { "timeline", "texts?", nil, "what happened, for people" },
}

event.fields.tests = {
  { "passed", "count", "tests", "tests that passed" },
  { "failed", "count", "tests", "tests that failed" },
}

for _, name in ipairs(audit_event.names) do
  event.names[#event.names + 1] = name
  event.fields[name] = audit_event.fields[name]
end

-- Fields of the Lua tables that are for the eye only and no part of the JSON line.
--   top   of each probe, the deepest last: { probe =, key_fields = { "src" }, rows = { { src =, … }, … },
--         more = rows not listed [, by = the field they are sorted by] }
--   sets  name → list of members
event.view = { window = { top = true, sets = true } }

-- Events that may come before there is a policy.
event.without_policy = { error = true, tests = true }

-- What was really lost, and what was seen but is not IP (which a network has always). `e`: a window or
-- summary event. Returns the loss, the packets that are not IP, and a list of { name, number } of what is
-- lost, without zeros.
function event.loss(e)
  local by = e.not_parsed_by or {}
  local not_ip = by.not_ip or 0
  local total, parts = 0, {}
  for _, field in ipairs(LOSS.object) do
    local name = field[1]
    local lost = e.loss and e.loss[name] or 0
    if name == "limited" then
      lost = 0
    elseif name == "not_parsed" then
      lost = math.max(0, lost - not_ip)
    end
    if lost > 0 then
      total = total + lost
      parts[#parts + 1] = { name, lost }
    end
  end
  return total, not_ip, parts
end

-- The event as one line of JSON, without the newline. An event that is not as declared is a bug: an error.
function event.encode(e)
  local line, why = event_json.encode(event, e)
  if not line then
    error(why, 2)
  end
  return line
end

return event
