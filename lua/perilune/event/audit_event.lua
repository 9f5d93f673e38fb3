-- SPDX-License-Identifier: Apache-2.0
--
-- The events that only an audit log has (audit.lua): what a decision was made of. event.lua takes them in.

local audit_event = {}

-- Version of what is below; a reader refuses a newer one.
audit_event.format = 1

-- The lines of a log that are numbered.
audit_event.numbered = { audit = true, judged = true, tripped = true, claim = true, reconsidered = true }

local N = { "n", "count", nil, "number of this line since the last audit event, which is 1" }

local INPUTS = { list = {
  { "rule", "text", nil, "the rule" },
  { "raw", "text?", nil, "the instance's key, its bytes in hexadecimal" },
  { "key", "text?", nil, "the instance's key" },
  { "values", "data", nil, "what its conditions read, by slot; none: it was forgotten, since its probe does not run" },
} }

local BEFORE = { optional = true, object = {
  { "finish", "exact", nil, "when it ended" },
  { "level", "text", nil, "its level" },
} }

audit_event.names = { "audit", "judged", "tripped", "claim", "reconsidered", "told" }

audit_event.fields = {
  audit = {
    N,
    { "format", "count", nil, "version of this log's format" },
    { "file", "text?", nil, "the policy's file" },
    { "dry_run", "bool", nil, "whether levels and acts are left alone" },
    { "options", "fields", nil, "the policy's options" },
    { "instances", "count", nil, "most instances of a rule" },
    { "levels", "data", nil, "the ladder, cheapest first: name, window, lease, longest (s), probes" },
    { "sets", "data", nil, "the sets: name, of, max, ttl (s), members from the start" },
    { "rules", "data", nil, "the rules: name, when and clear (text and condition), per, probes, hold, add" },
    { "schedules", "data?", nil, "the schedules, as the policy declares them" },
    { "state", "data", nil, "what rules, sets and levels are like: this may go on with an earlier log" },
    { "adopted", "bool?", nil, "whether the policy was another process's: what rules knew is gone, the level goes on" },
    { "lost", "count?", nil, "lines that could not be written before this one" },
  },
  judged = {
    N,
    { "seq", "count", nil, "number of the window" },
    { "level", "text", nil, "the level it was watched at" },
    { "cut", "text", nil, "what ended it" },
    { "decisive", "bool", nil, "whether rules were judged by it" },
    { "start", "exact", nil, "when it began, seconds of the engine's clock" },
    { "seconds", "exact", "s", "its length" },
    { "now", "exact", nil, "when it ended, as levels count: seconds of the same clock" },
    { "before", BEFORE, nil, "the last window before this by which rules were judged" },
    { "inputs", INPUTS, nil, "what was read, where something came of it" },
  },
  tripped = {
    N,
    { "rule", "text", nil, "the rule whose trigger tripped in the kernel" },
    { "now", "exact", nil, "when: seconds of the engine's clock" },
    { "slice", "exact", "s", "how long the kernel looked back" },
    { "before", BEFORE, nil, "the last window before this by which rules were judged" },
    { "inputs", INPUTS, nil, "what was counted" },
  },
  claim = {
    N,
    { "who", "text", nil, "who holds or caps a level" },
    { "hold", "text?", nil, "the level held" },
    { "cap", "text?", nil, "the level capped at" },
    { "expires", "exact?", nil, "when it ends by itself, seconds of the engine's clock" },
    { "cut", "text?", nil, "what a window that ends for it is cut by" },
    { "why", "text?", nil, "why" },
    { "values", "data?", nil, "what was measured for it" },
    { "anew", "bool", nil, "whether it may hold a level again that has lasted its longest" },
  },
  reconsidered = {
    N,
    { "now", "exact", nil, "when levels were looked at between two windows' ends: seconds of the engine's clock" },
  },
}

-- What `perilune explain --json` makes of a log: a moment, and all that happened at it.
audit_event.fields.told = {
  { "seq", "count?", nil, "number of the window" },
  { "from", "text?", nil, "the level left, if it changed" },
  { "to", "text?", nil, "the level entered" },
  { "because", "text?", nil, "why" },
  { "held_by", "texts?", nil, "all that hold the level" },
  { "capped_by", "texts?", nil, "all that cap the level" },
  { "values", "values?", nil, "the measures that decided" },
  { "after", { optional = true, object = {
    { "windows", "count", "windows", "windows closed" },
    { "seconds", "seconds", "s", "how long it was in force" },
    { "packets", "count", "packets", "segments on the wire" },
  } }, nil, "what the level left has seen since it was entered" },
  { "cost_before", "number?", "ns", "a packet, at the level left" },
  { "cost_after", "number?", "ns", "a packet, at the level entered" },
  { "lost", "count?", "packets", "lost so far, of the run" },
  { "rules", { list = {
    { "rule", "text", nil, "the rule" },
    { "key", "text?", nil, "the instance of a rule with `per`" },
    { "state", "text", nil, "what it became" },
    { "reason", "text", nil, "why" },
  } }, nil, "rules that changed" },
  { "done", "texts", nil, "what was done, and what else happened" },
}

return audit_event
