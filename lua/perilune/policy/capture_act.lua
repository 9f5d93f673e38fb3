-- SPDX-License-Identifier: Apache-2.0
--
-- capture { … } as an act: packets of the suspects go into a pcapng file while the rule fires.
--
--   capture { packets = 10000, bytes = "16MB", lasting = "1m", snap = "16kB", of = "host", set = "attackers" }
--
-- All bounds have these defaults. What is captured is told by the rule's key: an address (of = "src", "dst", or "host",
-- at either end), or a port (of = "sport", "dport", or "port"); with `set`, whatever is in it; a rule without `per`
-- captures all. Frames are as the hook saw them: VLAN tags are put back, but what offloads have merged, or not cut
-- apart yet, is one packet, with a comment that says so. Files are below the policy's `captures`:
--
--   captures = { dir = "/var/lib/perilune/captures", total = "1GB", full = "oldest" }
--
-- named POLICY_RULE_KEY_TIME.pcapng, for their owner alone. When they have `total` bytes together, the oldest go, so
-- that the latest are there; with full = "refuse" nothing new is captured. A capture ends with its process, also where
-- the policy goes on without (--pin): of one that was killed the file has what was written by then.

local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local scopes = require "perilune.probe.scopes"
local sets = require "perilune.probe.sets"
local words = require "perilune.base.words"

local capture_act = {}

local MOST_SNAP, MOST_SETS = 16384, 8 -- bpf/tap_format.h
local LEAST_BYTES = 65536

capture_act.SPEC = schema.new {
  what = "capture",
  keys = {
    packets = { type = "count", min = 1, max = 1e9, default = 10000 },
    bytes = { type = "size", min = LEAST_BYTES, max = 1e12, default = 16e6 },
    lasting = { type = "duration", min = 0.001, max = 86400, default = 60 },
    snap = { type = "size", min = 64, max = MOST_SNAP, default = MOST_SNAP },
    of = { type = "text", one_of = { "src", "dst", "host", "sport", "dport", "port" } },
    set = { type = "text" },
  },
}

capture_act.WHERE = schema.new {
  what = "captures",
  keys = {
    dir = { type = "text", default = "/var/lib/perilune/captures" },
    total = { type = "size", min = LEAST_BYTES, max = 1e15, default = 1e9 },
    full = { type = "text", one_of = { "oldest", "refuse" }, default = "oldest" },
  },
}

local FIELDS = {
  src = { "src" }, dst = { "dst" }, host = { "src", "dst" }, sport = { "sport" }, dport = { "dport" },
  port = { "sport", "dport" },
}
local WIDEST = { address = "host", port = "port" }

-- The fields that a suspect is looked for in; nil when all packets are taken.
local function fields_of(values, per, fail)
  if values.set then return nil end
  if not per then
    if values.of then fail("there is no key to tell packets by", 'write per = "probe.field", or leave out of') end
    return nil
  end
  local sort = sets.sort(per.field)
  if not WIDEST[sort] then
    fail(("packets are not told by %s"):format(per.field), 'a rule per address or port, or set = "…"')
  end
  local of = values.of or WIDEST[sort]
  if sets.sort(of) ~= sort and of ~= WIDEST[sort] then
    fail(("the rule is per %s, not %s"):format(per.field, of), ('like of = "%s"'):format(WIDEST[sort]))
  end
  return FIELDS[of]
end

--- A plain act. declared.set_list: the sets as declared, of which one that is captured by gets a map in the kernel.
function capture_act.check(act, rule, per, declared)
  local values = act.values
  local function fail(message, hint)
    sandbox.fail(act.at or rule.at, ('rule "%s": capture: %s'):format(rule.name, message), hint)
  end
  if values.set then
    if not declared.sets[values.set] then
      fail(('no set "%s"'):format(values.set), words.suggest(values.set, words.keys(declared.sets)))
    end
    if values.of then fail("set says what is captured", "leave out of") end
    for _, set in ipairs(declared.set_list) do
      if set.name == values.set then set.scope = true end
    end
  end
  local fields = fields_of(values, per, fail)
  return {
    kind = "capture", lasts = true, outside = true, packets = values.packets, bytes = values.bytes,
    seconds = values.lasting, snap = values.snap, fields = fields, set = values.set,
    everything = not fields and not values.set,
  }
end

--- What the rules' captures need of the programs: { fields = set of names, sets = list of names }; nil: there are none.
function capture_act.needs(rules)
  local needs, seen = nil, {}
  for _, rule in ipairs(rules) do
    for _, act in ipairs(rule.act) do
      if act.kind == "capture" then
        needs = needs or { fields = {}, sets = {} }
        for _, field in ipairs(act.fields or {}) do needs.fields[field] = true end
        if act.set and not seen[act.set] then
          seen[act.set] = #needs.sets
          needs.sets[#needs.sets + 1] = act.set
          if #needs.sets > MOST_SETS then
            sandbox.fail(rule, ("captures by more than %d sets"):format(MOST_SETS), "use fewer")
          end
        end
        act.set_number = act.set and seen[act.set]
      end
    end
  end
  return needs
end

local TESTS = {
  src = "tap__address(&p->src, TAP_SRC)", dst = "tap__address(&p->dst, TAP_DST)",
  sport = "tap__port(p->sport, TAP_SPORT)", dport = "tap__port(p->dport, TAP_DPORT)",
}

--- The lines of C that a level ends with. `map_of`: set's name → its map.
function capture_act.lines(decl, map_of)
  local needs = decl.taps
  if not needs then return {} end
  local by_name = {}
  for _, set in ipairs(decl.sets) do by_name[set.name] = set end
  local out = {
    "\tif (*(volatile __u32 *)&tap.armed) {", "\t\t__u32 slots = *(volatile __u32 *)&tap.everything;", "",
    "\t\tif (p->parsed == PARSED) {",
  }
  for _, field in ipairs(words.keys(needs.fields)) do out[#out + 1] = ("\t\t\tslots |= %s;"):format(TESTS[field]) end
  for i, name in ipairs(needs.sets) do
    out[#out + 1] = ("\t\t\tif (tap.in_set[%d] && (%s))\n\t\t\t\tslots |= tap.in_set[%d];"):format(i - 1,
      scopes.condition(by_name[name], map_of(name), false), i - 1)
  end
  out[#out + 1] = "\t\t}\n\t\tif (slots)\n\t\t\ttap__send(p, slots);\n\t}"
  return out
end

--- What the parser is asked for by captures: a list of needs.
function capture_act.parsing(decl)
  local list = {}
  if not decl.taps then return list end
  for field in pairs(decl.taps.fields) do
    list[#list + 1] = sets.sort(field) == "port" and "transport" or "addresses"
  end
  for _, set in ipairs(decl.sets) do
    for _, name in ipairs(decl.taps.sets) do
      if name == set.name then
        for _, need in ipairs(scopes.needs(set)) do list[#list + 1] = need end
      end
    end
  end
  return list
end

return capture_act
