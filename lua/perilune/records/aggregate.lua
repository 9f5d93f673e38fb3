-- SPDX-License-Identifier: Apache-2.0
--
-- What group() makes of the rows of a group, as a policy says it:
--
--   sum "bytes"   mean "bytes"   min "bytes"   max "bytes"   rate "bytes"   count()
--   distinct "dport"   quantile("bytes", 0.99)   entropy "bytes"
--
-- or as text: "sum bytes", "count", "quantile bytes 0.99". The words themselves make { kind =, field =, q = }.

local blame = require "perilune.base.blame"
local quantile = require "perilune.records.quantile"
local words = require "perilune.base.words"

local aggregate = {}

local KINDS = {
  sum = true, min = true, max = true, mean = true, count = true, rate = true, distinct = true, quantile = true,
  entropy = true,
}

aggregate.words = {}
for kind in pairs(KINDS) do
  aggregate.words[kind] = function(field, q) return { kind = kind, field = field, q = q } end
end

-- A policy's measures are nodes of their own kind: sum "to.bytes" may also be the field `bytes` in `to`.
local function parts_of(said)
  if type(said) == "string" then
    local kind, field, q = said:match "^(%w+)%s*(%S*)%s*(%S*)$"
    return kind, field, q ~= "" and q or nil
  end
  if type(said) ~= "table" then return nil end
  local field, probe = rawget(said, "field") or rawget(said, 2), rawget(said, "probe")
  if probe and field then field = probe .. "." .. field end
  return rawget(said, "kind") or rawget(said, 1), field, rawget(said, "q") or rawget(said, 3)
end

-- { name =, kind =, field = (text), q = } from what is said under `name`.
local function parse(name, said)
  local kind, field, q = parts_of(said)
  if not KINDS[kind] then
    blame.fail('group: "%s" is no aggregate (write sum "bytes", count() or another of %s)', tostring(name),
      words.list(words.keys(KINDS)))
  end
  if kind == "count" then return { name = name, kind = kind } end
  if type(field) ~= "string" or field == "" then
    blame.fail('group: "%s" is a %s of which field? (write %s "bytes")', tostring(name), kind, kind)
  end
  return { name = name, kind = kind, field = field, q = kind == "quantile" and quantile.share(q) or nil }
end

-- The names of fields to group by, and the list of aggregates in order of name. Without any: n, the count.
function aggregate.parse(by, wanted)
  local names, taken, list = {}, {}, {}
  for i, name in ipairs(type(by) == "table" and by or { by }) do names[i], taken[name] = name, true end
  if #names == 0 then blame.fail "group: by which field?" end
  if wanted ~= nil and type(wanted) ~= "table" then
    blame.fail('group: expected { name = sum "field" }, got a %s', type(wanted))
  end
  for name in pairs(wanted or {}) do
    if type(name) ~= "string" then blame.fail 'group: give each aggregate a name, like bytes = sum "bytes"' end
  end
  for i, name in ipairs(words.keys(wanted or { n = "count" })) do
    if taken[name] then blame.fail('group: "%s" is grouped by; call the aggregate something else', name) end
    list[i] = parse(name, (wanted or { n = "count" })[name])
  end
  return names, list
end

-- A sum that has reached 2^53 may have been rounded on its way.
function aggregate.exact(name, magnitude)
  if magnitude < 2 ^ 53 and magnitude > -2 ^ 53 then return end
  blame.fail('the sum of "%s" reaches 2^53, where a number is no longer exact', name)
end

-- A sum a second; of a window that took no time, 0.
function aggregate.rate(sum, seconds)
  if not seconds then blame.fail "rate: how long these records took is not known" end
  return seconds > 0 and sum / seconds or 0
end

return aggregate
