-- SPDX-License-Identifier: Apache-2.0
-- perilune bench map: perilune map dump --json against bpftool -j map dump, on the same map, whole programs with their
-- start.
--
-- A hash of 16-byte keys and 48-byte values with BTF, full. At the end, what both print is compared pair by pair.
local bench = require "perilune.core.bench"
local measurement = require "perilune.build.measurement"

local map = { summary = "dumping a map as JSON, against bpftool" }

local SIZES = { 100000, 1000000 }
local BLOCK = 262144

local function commands(id)
  id = ("%d"):format(id)
  return {
    perilune = { bench.self(), "map", "dump", "id", id, "--json" },
    bpftool = { "bpftool", "-j", "map", "dump", "id", id },
  }
end

local function quoted(command)
  local out = {}
  for i, word in ipairs(command) do out[i] = "'" .. word:gsub("'", "'\\''") .. "'" end
  return table.concat(out, " ")
end

local PROTOCOLS = { ["6"] = "tcp", ["17"] = "udp" }

local function address(number)
  number = tonumber(number)
  return ("%d.%d.%d.%d"):format(number % 256, math.floor(number / 256) % 256, math.floor(number / 65536) % 256,
    math.floor(number / 16777216))
end

local function port(number)
  number = tonumber(number)
  return number % 256 * 256 + math.floor(number / 256)
end

-- How each names a pair → the pair in one wording: bpftool gives addresses and ports as the numbers they are in memory.
local PAIR = {
  perilune = {
    '{"key":{"src":"([%d.]+)","dst":"([%d.]+)","sport":(%d+),"dport":(%d+),"proto":"(%l+)"},"value":({[^}]*})}',
    function(src, dst, sport, dport, proto, value)
      return table.concat({ src, dst, sport, dport, proto, value }, " ")
    end,
  },
  bpftool = {
    '"formatted":{"key":{"src":(%d+),"dst":(%d+),"sport":(%d+),"dport":(%d+),"proto":(%d+)},"value":({[^}]*})}',
    function(src, dst, sport, dport, proto, value)
      return table.concat({ address(src), address(dst), port(sport), port(dport), PROTOCOLS[proto], value }, " ")
    end,
  },
}

-- Calls fn(pair) for every pair that a program prints.
local function each_pair(command, form, fn)
  local pattern, wording = form[1], form[2]
  local pipe, rest = assert(io.popen(quoted(command))), ""
  for block in function() return pipe:read(BLOCK) end do
    rest = rest .. block
    local from = 1
    while true do
      local first, last, a, b, c, d, e, f = rest:find(pattern, from)
      if not first then break end
      fn(wording(a, b, c, d, e, f))
      from = last + 1
    end
    rest = rest:sub(from)
  end
  pipe:close()
end

-- true | nil, message
local function same(command, entries)
  local pairs_of, left = {}, 0
  each_pair(command.perilune, PAIR.perilune, function(pair)
    if not pairs_of[pair] then left = left + 1 end
    pairs_of[pair] = true
  end)
  if left ~= entries then return nil, ("perilune printed %d pairs of %d"):format(left, entries) end
  local strange
  each_pair(command.bpftool, PAIR.bpftool, function(pair)
    if pairs_of[pair] then left = left - 1 else strange = pair end
    pairs_of[pair] = nil
  end)
  if strange or left ~= 0 then
    return nil, "bpftool and perilune do not print the same pairs: " .. (strange or left .. " are missing")
  end
  return true
end

-- → { perilune = { seconds, kb }, bpftool = … }, rounds | nil, message, code
local function measure(command, entries)
  local seconds, peak = { perilune = {}, bpftool = {} }, { perilune = 0, bpftool = 0 }
  local rounds = entries <= 100000 and 9 or 5
  for _ = 1, rounds do
    for _, name in ipairs { "perilune", "bpftool" } do
      local took, kb, code = bench.child(command[name])
      if not took then return nil, kb, code end
      table.insert(seconds[name], took)
      peak[name] = math.max(peak[name], kb)
    end
  end
  local out = {}
  for name, list in pairs(seconds) do out[name] = { seconds = measurement.median(list), kb = peak[name] } end
  return out, rounds
end

local print_as = {}

function print_as.json(out, entries, figures, rounds)
  for _, name in ipairs { "perilune", "bpftool" } do
    local f = figures[name]
    out(measurement.json("measurement", { bench = "map", entries = entries, program = name, seconds = f.seconds,
      ns_per_entry = f.seconds / entries * 1e9, peak_kb = f.kb, rounds = rounds },
      { "bench", "entries", "program", "seconds", "ns_per_entry", "peak_kb", "rounds" }))
  end
  out(measurement.json("ratio", { bench = "map", entries = entries, name = "perilune:bpftool",
    value = figures.bpftool.seconds / figures.perilune.seconds }, { "bench", "entries", "name", "value" }))
end

function print_as.table(out, entries, figures, rounds)
  out(("%s entries of 16 + 48 bytes as JSON; both print the same pairs; %d rounds"):format(
    measurement.grouped(entries), rounds))
  for _, name in ipairs { "perilune", "bpftool" } do
    local f = figures[name]
    out(("  %-8s %8.3f s %8.0f ns an entry %7.1f MB at most"):format(name, f.seconds, f.seconds / entries * 1e9,
      f.kb / 1024))
  end
  out(("  times as fast: %.1f\n"):format(figures.bpftool.seconds / figures.perilune.seconds))
end

-- A full table and what reading it takes. nil, message, code
local function timed(entries)
  local t, message, code = bench.table("hash", entries)
  if not t then return nil, message, code end
  local ok
  ok, message, code = t:fill()
  if not ok then return nil, message, code end
  local command = commands(t:id())
  local figures, rounds
  figures, rounds, code = measure(command, entries)
  if not figures then
    return nil, rounds .. (code == "ENOENT" and " (bpftool is what this compares with)" or ""), code
  end
  return { table = t, entries = entries, command = command, figures = figures, rounds = rounds }
end

function map.run(parsed, context)
  local sizes = SIZES
  if parsed.entries then
    local entries = tonumber(parsed.entries)
    if not entries or entries < 1000 or entries > 1e7 or entries % 1 ~= 0 then
      return context.fail(("--entries %s: expected a number from 1000 to 10000000"):format(parsed.entries))
    end
    sizes = { entries }
  end
  local work = {}
  for i, entries in ipairs(sizes) do
    local one, message, code = timed(entries)
    if not one then return context.broke(message, code) end
    work[i] = one
  end
  -- Last, since it takes memory, which would count as the programs' too.
  for _, one in ipairs(work) do
    local ok, message = same(one.command, one.entries)
    if not ok then return context.broke(message) end
    print_as[parsed.json and "json" or "table"](context.out, one.entries, one.figures, one.rounds)
    one.table:close()
  end
  return context.exit.done
end

return map
