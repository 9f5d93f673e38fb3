-- SPDX-License-Identifier: Apache-2.0
--
-- What an engine has counted over its windows, as a list of numbers that another process can go on from: the ledger
-- (runtime/probe/ledger.h) keeps it. Pure. The order of the numbers is part of what is pinned: see VERSION.
local words = require "perilune.base.words"

local account = {}

--- Of what the numbers mean.
account.VERSION = 1

local SINGLE = { "windows", "transitions", "seconds" }
local GROUPS = {
  { "totals", { "packets", "skbs", "bytes" } },
  { "loss", { "map_full", "evicted", "ring_full", "not_parsed", "late", "limited" } },
  { "not_parsed_by", { "not_ip", "truncated", "malformed" } },
  { "flawed_by", { "bad_length", "bad_headers", "bad_transport" } },
}
local COUNTS = { "packets", "skbs", "bytes" }

-- Calls fn(table, key) for every number of an engine, always in the same order.
local function each(engine, fn)
  for _, name in ipairs(SINGLE) do fn(engine, name) end
  for _, group in ipairs(GROUPS) do
    for _, name in ipairs(group[2]) do fn(engine[group[1]], name) end
  end
  for _, direction in ipairs(words.keys(engine.directions)) do
    for _, name in ipairs(COUNTS) do fn(engine.directions[direction], name) end
  end
end

--- The numbers of an engine as they are now.
function account.take(engine)
  local sums = {}
  each(engine, function(from, name) sums[#sums + 1] = from[name] end)
  return sums
end

--- Gives an engine that has not begun the numbers of another. nil, message when they are not as many as it has.
function account.give(engine, sums)
  local known = #account.take(engine)
  if #sums ~= 0 and #sums ~= known then
    return nil, ("%d sums are pinned, and %d are known"):format(#sums, known)
  end
  local i = 0
  each(engine, function(into, name)
    i = i + 1
    into[name] = sums[i] or 0
  end)
  return true
end

return account
