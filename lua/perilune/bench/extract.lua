-- SPDX-License-Identifier: Apache-2.0
-- perilune bench extract: what it costs to read a map, by every way, alone and with what is done with the records.
--
-- A hash of 16-byte keys and 48-byte values, full, and an array of the same values in shared memory. The ways take
-- turns within a round; a figure is the median of the rounds.
local bench = require "perilune.core.bench"
local loop = require "perilune.core.loop"
local measurement = require "perilune.build.measurement"
require "perilune.records.shape"
local view = require "perilune.records.view"

local extract = { summary = "reading maps: one by one, in batches, gathered, mapped; with a scan and as JSON" }

local SIZES = { 10000, 1000000 }
local SAMPLE = 250000 -- entries that are read one by one: the rest would take as long again and say no more
local TICK = 0.001

local WAYS = { "single", "batch", "gather", "mapped" } -- mapped: of the array

-- work → function(table, way) → seconds, entries | nil, message, code
local WORKS = { "plain", "scan", "json", "clear" }
local works = {}

local function sample(way) return way == "single" and SAMPLE or nil end

function works.plain(t, way) return t:read(way, { most = sample(way) }) end
function works.json(t, way) return t:read(way, { most = sample(way), json = true }) end

-- What a policy does with a window: a sum, a condition, the largest.
function works.scan(t, way)
  if way == "single" then return nil end
  local batch, seconds, code = t:batch(way)
  if not batch then return nil, seconds, code end
  local start = loop.now()
  local rows = view.new(batch, { window = "bench" })
  local total = rows:sum "bytes"
  local chosen = rows:where("packets > 500"):count()
  local first = rows:top(10, "bytes")[1].bytes
  seconds = seconds + loop.now() - start
  local entries = rows:count()
  rows:close()
  assert(total > first and chosen > 0 and chosen < entries, "the scan saw what is there")
  return seconds, entries
end

function works.clear(t, way)
  if way == "single" or way == "mapped" then return nil end
  local seconds, entries, code = t:read(way, { clear = true })
  if not seconds then return nil, entries, code end
  local ok, message, why = t:fill()
  if not ok then return nil, message, why end
  return seconds, entries
end

-- All ways and works once, into figures[way][work]. true | nil, message, code
local function round(tables, figures)
  for _, work in ipairs(WORKS) do
    for _, way in ipairs(WAYS) do
      collectgarbage()
      local seconds, entries, code = works[work](tables[way], way)
      if not seconds and entries and code ~= "EOPNOTSUPP" then return nil, entries, code end
      if seconds then
        local list = figures[way][work] or { entries = entries }
        list[#list + 1] = seconds / entries * 1e9
        figures[way][work] = list
      end
    end
  end
  return true
end

local function measure(entries)
  local hash, message, code = bench.table("hash", entries)
  if not hash then return nil, message, code end
  local array
  array, message, code = bench.table("array", entries)
  if not array then return nil, message, code end
  for _, t in ipairs { hash, array } do
    local ok
    ok, message, code = t:fill()
    if not ok then return nil, message, code end
  end
  local tables, figures = { single = hash, batch = hash, gather = hash, mapped = array }, {}
  local rounds = entries <= 100000 and 15 or 5
  for i = 0, rounds do -- the first one warms up
    if i <= 1 then for _, way in ipairs(WAYS) do figures[way] = {} end end
    local ok
    ok, message, code = round(tables, figures)
    if not ok then return nil, message, code end
  end
  for _, way in ipairs(WAYS) do
    for work, list in pairs(figures[way]) do
      figures[way][work] = { ns = measurement.median(list), entries = list.entries, rounds = #list }
    end
  end
  return figures, hash
end

-- How late a timer of 1 ms is at most, in seconds, until finish() is called by what `start` set going.
local function latest(start)
  local late, due, timer = 0, 0, nil
  local problem = {}
  timer = loop.timer(function()
    local now = loop.now()
    late = math.max(late, now - due)
    due = now + TICK
    timer:start(due)
  end)
  due = loop.now() + TICK
  timer:start(due)
  start(function(ok, message, code)
    timer:close()
    loop.stop()
    if not ok then problem = { message, code } end
  end)
  local ran, message, code = loop.run()
  if not ran then return nil, message, code end
  if problem[1] then return nil, problem[1], problem[2] end
  return late
end

-- While the whole table is read and cleared on a worker, the loop goes on.
local function lateness(t, entries)
  local worst, seconds = 0, {}
  for _ = 1, 3 do
    local late, message, code = latest(function(finish)
      local ok, why, errno = t:drain("best", function(took, count, failure)
        seconds[#seconds + 1] = took
        finish(took and count == entries, took and "not all entries were read" or count, failure)
      end)
      if not ok then finish(nil, why, errno) end
    end)
    if not late then return nil, message, code end
    worst = math.max(worst, late)
    local ok
    ok, message, code = t:fill()
    if not ok then return nil, message, code end
  end
  return { entries = entries, late_ms = worst * 1000, drain_ms = measurement.median(seconds) * 1000, rounds = 3 }
end

local RATIOS = {
  { "gather", "batch" }, { "batch", "single" }, { "mapped", "gather" },
}

local function ratios(figures, entries)
  local list = {}
  for _, pair in ipairs(RATIOS) do
    local fast, slow = figures[pair[1]].plain, figures[pair[2]].plain
    if fast and slow then
      list[#list + 1] = { entries = entries, name = pair[1] .. ":" .. pair[2], value = slow.ns / fast.ns }
    end
  end
  return list
end

local print_as = {}

function print_as.json(out, entries, figures, late)
  for _, way in ipairs(WAYS) do
    for _, work in ipairs(WORKS) do
      local f = figures[way][work]
      if f then
        out(measurement.json("measurement", { bench = "extract", entries = entries, way = way, work = work,
          ns_per_entry = f.ns, entries_per_second = 1e9 / f.ns, sample = f.entries, rounds = f.rounds },
          { "bench", "entries", "way", "work", "ns_per_entry", "entries_per_second", "sample", "rounds" }))
      end
    end
  end
  for _, ratio in ipairs(ratios(figures, entries)) do
    ratio.bench = "extract"
    out(measurement.json("ratio", ratio, { "bench", "entries", "name", "value" }))
  end
  late.bench = "extract"
  out(measurement.json("timer", late, { "bench", "entries", "late_ms", "drain_ms", "rounds" }))
end

function print_as.table(out, entries, figures, late)
  out(("%s entries of 16 + 48 bytes, ns an entry (million entries a second)"):format(measurement.grouped(entries)))
  out(("  %-8s %16s %16s %16s %16s"):format("", "read", "and scan", "and JSON", "and clear"))
  for _, way in ipairs(WAYS) do
    local cells = {}
    for i, work in ipairs(WORKS) do
      local f = figures[way][work]
      cells[i] = f and ("%.1f (%.2f)"):format(f.ns, 1e3 / f.ns) or "-"
    end
    out(("  %-8s %16s %16s %16s %16s"):format(way, unpack(cells)))
  end
  local said = {}
  for i, ratio in ipairs(ratios(figures, entries)) do said[i] = ("%s %.1f"):format(ratio.name, ratio.value) end
  out("  times as fast: " .. table.concat(said, ", "))
  out(("  read and cleared on a worker in %.0f ms; meanwhile a 1 ms timer was at most %.1f ms late\n"):format(
    late.drain_ms, late.late_ms))
end

function extract.run(parsed, context)
  local sizes = SIZES
  if parsed.entries then
    local entries = tonumber(parsed.entries)
    if not entries or entries < 1000 or entries > 1e7 or entries % 1 ~= 0 then
      return context.fail(("--entries %s: expected a number from 1000 to 10000000"):format(parsed.entries))
    end
    sizes = { entries }
  end
  for _, entries in ipairs(sizes) do
    local figures, hash, code = measure(entries)
    if not figures then return context.broke(hash, code) end
    local late, message, why = lateness(hash, entries)
    if not late then return context.broke(message, why) end
    print_as[parsed.json and "json" or "table"](context.out, entries, figures, late)
    hash:close()
  end
  return context.exit.done
end

return extract
