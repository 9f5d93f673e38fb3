-- SPDX-License-Identifier: Apache-2.0
--
-- Sets that limit probes, as C: their maps, and what a packet is asked (bpf/scope.h).

local sets = require "perilune.probe.sets"

local scopes = {}

-- What of a packet's headers may be in the set; flows are asked as a whole.
local FIELDS = { host = { "src", "dst" }, port = { "sport", "dport" } }
local MAPS = {
  address = "SCOPE_ADDRESSES", port = "SCOPE_PORTS", proto = "SCOPE_PROTOS", flow = "SCOPE_FLOWS",
  biflow = "SCOPE_FLOWS",
}
local NEEDS = {
  address = { "addresses" }, port = { "transport" }, proto = { "transport" }, flow = { "addresses", "transport" },
  biflow = { "addresses", "transport" },
}

-- Subnets need another map, whose lookups take longer.
local function has_subnets(set)
  for _, member in ipairs(set.members) do
    if member:find("/", 1, true) then return true end
  end
  return false
end

--- The declaration of a set's map.
function scopes.declare(set, map)
  return ("%s(%s, %d)"):format(has_subnets(set) and "SCOPE_NETS" or MAPS[sets.sort(set.of)], map, set.max)
end

--- Whether a parsed packet `p` is in the set; inside: whether its innermost headers are asked.
function scopes.condition(set, map, inside)
  local headers = inside and "(p->inner ? p->inner : p)" or "p"
  local sort, tests = sets.sort(set.of), {}
  if sort == "flow" or sort == "biflow" then return ("scope__has_%s(&%s, %s)"):format(sort, map, headers) end
  for i, field in ipairs(FIELDS[set.of] or { set.of }) do
    tests[i] = ("scope__%s(&%s, &%s->%s)"):format(has_subnets(set) and "covers" or "has", map, headers, field)
  end
  return table.concat(tests, " || ")
end

--- What the parser is asked for.
function scopes.needs(set)
  return NEEDS[sets.sort(set.of)]
end

return scopes
