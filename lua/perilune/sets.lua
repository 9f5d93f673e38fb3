-- SPDX-License-Identifier: Apache-2.0
--
-- The sets of a policy: what one holds, who is in it from the start, and the probes that it limits.

local probes = require "perilune.probes"
local sandbox = require "perilune.sandbox"
local schema = require "perilune.schema"
local words = require "perilune.words"

local sets = {}

local SHORTEST_TTL = 0.005 -- seconds, the shortest window
local FIELDS = { "src", "dst", "host", "sport", "dport", "proto" }
-- Fields of a kind: a key of one may be in a set of the other.
local SORT = { sport = "port", dport = "port", src = "address", dst = "address", host = "address" }

sets.SPEC = schema.new {
  what = "set",
  keys = {
    of = { type = "text", one_of = FIELDS, required = true,
      help = 'which field its members are, like of = "src"' },
    max = { type = "count", min = 1, max = 1e6, required = true,
      help = "how many members it may have, like max = 1000" },
    members = { type = "table", help = 'who is in it from the start, like members = { "10.0.0.0/8" }' },
    ttl = { type = "duration", min = SHORTEST_TTL }, export = { later = true },
  },
}

--- What a field of a key or a set is: "address", "port", or itself.
function sets.sort(field) return SORT[field] or field end

-- Whether text looks like an address or a subnet. Whether it is one, the kernel's side says at load.
local function is_address(text)
  local address = text:gsub("/%d+$", "")
  return address:find "^%d+%.%d+%.%d+%.%d+$" or address:find "^[%x:.]+$" and address:find(":", 1, true)
end

local function members_of(set)
  local list = {}
  local addresses = sets.sort(set.values.of) == "address"
  for key, member in pairs(set.values.members or {}) do
    if type(key) ~= "number" or type(member) ~= "string" or not addresses or not is_address(member) then
      sandbox.fail(set.at,
        ('set "%s": %s is no member'):format(set.name, tostring(type(key) == "number" and member or key)),
        addresses and 'like members = { "10.0.0.0/8", "2001:db8::1" }'
          or "only sets of addresses have members from the start")
    end
    list[#list + 1] = member
  end
  if #list > set.values.max then
    sandbox.fail(set.at, ('set "%s": %d members and max = %d'):format(set.name, #list, set.values.max), "raise max")
  end
  return list
end

--- Forms → plain declarations, in the same order.
function sets.declare(forms)
  local list = {}
  for i, set in ipairs(forms) do
    list[i] = {
      name = set.name, of = set.values.of, max = set.values.max, ttl = set.values.ttl, line = set.at.line,
      file = set.at.file, members = members_of(set), scope = false,
    }
  end
  return list
end

--- Notes at the set that a probe is limited by it, if it is, so that it gets a map in the kernel.
function sets.limit(probe, forms, declared)
  local name = probe.scope
  if not name then return end
  local title = probes.title(probe) .. ': scope "' .. name .. '"'
  local set = forms[name]
  if not set then
    sandbox.fail(probe.at, title .. ": no such set",
      words.suggest(name, words.keys(forms), "declare it in sets = { … }"))
  end
  if sets.sort(set.values.of) ~= "address" then
    sandbox.fail(probe.at, title .. (": the set is of %s"):format(set.values.of),
      "a scope is a set of src, dst or host")
  end
  for _, one in ipairs(declared) do
    if one.name == name then one.scope = true end
  end
end

return sets
