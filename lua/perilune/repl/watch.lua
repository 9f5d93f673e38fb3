-- SPDX-License-Identifier: Apache-2.0
--
-- What is shown of every window from now on: verbs are noted, and applied to each window's records.
--
--   p:watch():top(5, "bytes")     p:watch("1s"):where("dport == 53"):group("src", { n = sum "packets" }):times(10)
--
-- Any verb of records can follow, in any number; times(n) ends it after n windows, json() and csv() write for machines.

local words = require "perilune.base.words"
local blame = require "perilune.base.blame"

local watch = {}

local VERBS = {}
for verb in ([[where group top sort join delta column sum mean min max count distinct quantile rate
  copy]]):gmatch "%a+" do
  VERBS[verb] = true
end

local behind = setmetatable({}, { __mode = "k" })
local methods = {}
local Watch = { __metatable = "watch" }

function methods.times(w, n)
  if type(n) ~= "number" or n < 1 or n % 1 ~= 0 then blame.fail "times: how many windows? write times(10)" end
  behind[w].times = n
  return w
end

function methods.json(w)
  behind[w].form = "json"
  return w
end

function methods.csv(w)
  behind[w].form = "csv"
  return w
end

function Watch.__index(w, name)
  if methods[name] then return methods[name] end
  if not VERBS[name] then
    local known = words.keys(VERBS)
    for _, own in ipairs(words.keys(methods)) do known[#known + 1] = own end
    blame.fail('there is nothing to watch as "%s" (%s)', tostring(name), words.suggest(name, known))
  end
  return function(_, ...)
    local inner = behind[w]
    inner.steps[#inner.steps + 1] = { verb = name, n = select("#", ...), ... }
    return w
  end
end

function Watch.__tostring() return "what is to be shown of every window" end

-- source: { runner, probe }
function watch.new(source)
  local w = setmetatable({}, Watch)
  behind[w] = { source = source, steps = {} }
  return w
end

function watch.is(thing) return behind[thing] ~= nil end

-- { source, times, form }: what it watches, how often, and how it is written ("json", "csv" or nil).
function watch.inner(w) return behind[w] end

-- What its verbs make of records (or of rows).
function watch.apply(w, value)
  for _, step in ipairs(behind[w].steps) do value = value[step.verb](value, unpack(step, 1, step.n)) end
  return value
end

return watch
