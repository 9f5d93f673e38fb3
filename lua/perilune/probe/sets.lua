-- SPDX-License-Identifier: Apache-2.0
--
-- The sets of a policy: what one holds, who is in it from the start, and the probes that it limits.

local flow = require "perilune.records.flow"
local net = require "perilune.base.net"
local probes = require "perilune.probe.probes"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local sets = {}

local LONGEST_NAME = 31
local SHORTEST_TTL = 0.005 -- seconds, the shortest window
local FIELDS = { "src", "dst", "host", "sport", "dport", "port", "proto", "flow", "biflow" }
-- Fields of a kind: a key of one may be in a set of the other.
local SORT = { sport = "port", dport = "port", src = "address", dst = "address", host = "address",
  server = "address", client = "address", server_port = "port", client_port = "port" }
local EXAMPLES = {
  address = '{ "10.0.0.0/8", "2001:db8::1" }', port = "{ 53, 443 }", proto = '{ "tcp", "udp" }',
  flow = '{ "10.0.0.1:40000 > 10.0.0.2:443 tcp" }', biflow = '{ "10.0.0.1:40000 <> 10.0.0.2:443 tcp" }',
}

-- true, or the name it is exported as.
local function export_of(value)
  if value == true or value == false then return value end
  if type(value) == "string" and #value <= LONGEST_NAME and value:find "^[%w_][%w_-]*$" then return value end
  return nil, ("expected true or a name, got %s"):format(units.quote(value)),
    ("letters, digits, - and _; at most %d"):format(LONGEST_NAME)
end

sets.SPEC = schema.new {
  what = "set",
  keys = {
    of = { type = "text", one_of = FIELDS, required = true,
      help = 'which field its members are, like of = "src"' },
    max = { type = "count", min = 1, max = 1e6, required = true,
      help = "how many members it may have, like max = 1000" },
    members = { type = "table", help = 'who is in it from the start, like members = { "10.0.0.0/8" }' },
    ttl = { type = "duration", min = SHORTEST_TTL },
    export = { type = export_of }, keep = { type = "bool" },
  },
}

--- What a field of a key or a set is: "address", "port", or itself.
function sets.sort(field) return SORT[field] or field end

--- Whether keys of rules like this (`per`: { probe, field, both }) can be in a set of `of`.
function sets.fits(of, per)
  return sets.sort(of) == (per.both and "biflow" or sets.sort(per.field))
end

-- A member as rules would write it, or nil. That a protocol's name is one, the kernel's side says at load.
local canonical = {
  address = net.canonical,
  port = function(text)
    local port = text:find "^%d+$" and tonumber(text)
    return port and port <= 65535 and ("%d"):format(port) or nil
  end,
  proto = function(text) return text:find "^[%w-]+$" and text:lower() end,
  flow = function(text) return flow.canonical(text, false) end,
  biflow = function(text) return flow.canonical(text, true) end,
}

local function members_of(set)
  local list, sort = {}, sets.sort(set.values.of)
  for key, given in pairs(set.values.members or {}) do
    local text = (type(given) == "string" or type(given) == "number") and tostring(given)
    local member = type(key) == "number" and text and canonical[sort](text)
    if not member then
      sandbox.fail(set.at,
        ('set "%s": %s is no member'):format(set.name, tostring(type(key) == "number" and given or key)),
        "like members = " .. EXAMPLES[sort])
    end
    list[#list + 1] = member
  end
  if #list > set.values.max then
    sandbox.fail(set.at, ('set "%s": %d members and max = %d'):format(set.name, #list, set.values.max), "raise max")
  end
  return list
end

-- The name that a set is exported as, or nil.
local function exported(set, taken)
  local values = set.values
  local export = values.export == true and set.name or values.export or nil
  local title = ('set "%s": '):format(set.name)
  if not export then
    if values.keep then sandbox.fail(set.at, title .. "keep is for exported sets", "write export = true") end
    return nil
  end
  if taken[export] then
    sandbox.fail(set.at, title .. ('another set is exported as "%s"'):format(export), "give it another name")
  end
  taken[export] = true
  return export
end

--- Forms → plain declarations, in the same order.
function sets.declare(forms)
  local list, taken = {}, {}
  for i, set in ipairs(forms) do
    list[i] = {
      export = exported(set, taken), keep = set.values.keep,
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
  for _, one in ipairs(declared) do
    if one.name == name then one.scope = true end
  end
end

return sets
