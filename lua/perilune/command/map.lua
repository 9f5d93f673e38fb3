-- SPDX-License-Identifier: Apache-2.0
-- perilune map: any BPF map of this machine, whoever made it.
local format = require "perilune.base.format"
local loop = require "perilune.core.loop"
local maps = require "perilune.core.map"
local words = require "perilune.base.words"

local FOLDS = { "sum", "min", "max", "last" }
local VERBS = { "list", "dump" }

local map = {
  usage = "perilune map list | dump (PATH | id N | name X) [OPTION…]",
  summary = "the BPF maps of this machine, and what is in them, by their BTF",
  options = { json = "flag", fold = "text", drain = "flag", follow = "flag", limit = "text" },
  help = [[
  perilune map list        every map: its id, type, name, sizes, pins and the programs that use it
  perilune map dump MAP    what is in one of them: a PATH where it is pinned, id N, or name X

  --json       an array of {"key":…,"value":…}, one element a line ("values":[…] of the CPUs, "inner":{…} of inner
               maps); with --follow one object a line
  --fold WORD  one value an entry of a per-CPU map: the CPUs' sum, min, max or last
  --limit N    no more than N entries (of each inner map too)
  --drain      queues, stacks and ring buffers: take out what is there; otherwise nothing is changed
  --follow     ring buffers and perf event arrays: go on with what comes, until Ctrl-C. A ring buffer is only looked
               at, but a perf event array has one listener a CPU: whoever listened before has to open it again

Without BTF, keys and values are bytes in hex. Types that cannot be read say why, with exit status 3.]],
}

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\" }

local function quote(text)
  return '"' .. format.utf8(text):gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function array(list, each)
  local out = {}
  for i, item in ipairs(list) do out[i] = each(item) end
  return "[" .. table.concat(out, ",") .. "]"
end

local function json_program(p) return ('{"id":%d,"name":%s}'):format(p.id, quote(p.name)) end

local function json_line(m)
  return ('{"id":%d,"type":"%s","name":%s,"key_size":%d,"value_size":%d,"max_entries":%d,"flags":%s,"btf":%s,'
    .. '%s"pinned":%s,"programs":%s}'):format(m.id, m.type, quote(m.name), m.key_size, m.value_size, m.max_entries,
    array(m.flags, quote), tostring(m.btf), m.hashes and ('"hashes":%d,'):format(m.hashes) or "",
    array(m.pinned, quote), array(m.programs, json_program))
end

local function table_line(m)
  local about = {}
  for i, path in ipairs(m.pinned) do about[i] = (path:gsub("%c", "?")) end
  for _, p in ipairs(m.programs) do about[#about + 1] = ("%s[%d]"):format(p.name, p.id) end
  local line = ("%6d  %-21s %-16s %6d %7d %10d  %s"):format(m.id, m.type, m.name, m.key_size, m.value_size,
    m.max_entries, words.list(about, 4))
  return (line:gsub("%s+$", ""))
end

local function list(parsed, context)
  if parsed[2] then return context.fail(("map list takes nothing more, not %s"):format(parsed[2])) end
  for _, option in ipairs { "fold", "drain", "follow", "limit" } do
    if parsed[option] then return context.fail(("--%s is for map dump"):format(option)) end
  end
  local all, message, code = maps.list()
  if not all then return context.broke(message, code) end
  if parsed.json then
    context.out("[")
    for i, m in ipairs(all) do context.out(json_line(m) .. (i < #all and "," or "")) end
    context.out("]")
    return context.exit.done
  end
  context.out(("%6s  %-21s %-16s %6s %7s %10s  %s"):format("id", "type", "name", "key", "value", "entries",
    "pinned at, used by"))
  for _, m in ipairs(all) do context.out(table_line(m)) end
  if #all == 0 then context.out "there is no map" end
  return context.exit.done
end

-- The words after "dump" → which map | nil, message
local function target(parsed)
  local kind, rest = parsed[2], parsed[3]
  local most = (kind == "id" or kind == "name") and 3 or 2
  if not kind or kind == "" then
    return nil, "map dump needs a map: PATH, id N or name X (perilune map list shows them)"
  elseif parsed[most + 1] then
    return nil, ("map dump takes one map, not also %s"):format(parsed[most + 1])
  elseif most == 2 then
    return { path = kind }
  elseif not rest then
    return nil, ("map dump %s: which? (a file of that name is ./%s)"):format(kind, kind)
  elseif kind == "name" then
    return { name = rest }
  end
  local id = rest:match "^%d+$" and tonumber(rest)
  if not id or id < 1 or id >= 2 ^ 32 then
    return nil, ("map dump id %s: an id is a number (perilune map list shows them)"):format(rest)
  end
  return { id = id }
end

-- → options of the dump | nil, message
local function options(parsed)
  local limit
  if parsed.limit then
    limit = parsed.limit:match "^%d+$" and tonumber(parsed.limit)
    if not limit or limit < 1 or limit > 2 ^ 53 then
      return nil, ("--limit %s: expected a whole number above 0"):format(parsed.limit)
    end
  end
  if parsed.fold then
    local known = false
    for _, word in ipairs(FOLDS) do known = known or word == parsed.fold end
    if not known then
      return nil, ("--fold %s: expected %s"):format(parsed.fold, table.concat(FOLDS, ", "))
    end
  end
  return { json = parsed.json, fold = parsed.fold, drain = parsed.drain, follow = parsed.follow, limit = limit }
end

local function head(m)
  local sizes = { m.type }
  if m.key_size > 0 then sizes[#sizes + 1] = ("keys of %d bytes"):format(m.key_size) end
  if m.value_size > 0 then sizes[#sizes + 1] = ("values of %d bytes"):format(m.value_size) end
  if m.max_entries > 0 then
    sizes[#sizes + 1] = ("room for %d%s"):format(m.max_entries, m.type:match "ringbuf$" and " bytes" or "")
  end
  if #m.flags > 0 then sizes[#sizes + 1] = table.concat(m.flags, " ") end
  return ("map %d%s: %s"):format(m.id, m.name ~= "" and " " .. m.name or "", table.concat(sizes, ", "))
end

-- Runs the dump until its end or a signal; a second signal ends the process, also when nobody reads what it writes.
local function drive(dump)
  local ok, message, code
  local handles = {}
  local function release()
    for _, handle in ipairs(handles) do handle:close() end
    handles = {}
  end
  for _, name in ipairs { "SIGINT", "SIGTERM", "SIGHUP" } do
    handles[#handles + 1] = loop.signal(name, function()
      release()
      dump:stop()
    end)
  end
  local started, why, errno = dump:run(function(...)
    ok, message, code = ...
    release()
    loop.stop()
  end)
  if not started then return nil, why, errno end
  loop.run()
  return ok, message, code
end

local function dump(parsed, context)
  local which, message = target(parsed)
  local how
  if which then how, message = options(parsed) end
  if not how then return context.fail(message) end
  local it, why, code = maps.dump(which, how)
  if not it then return context.broke(why, code) end
  if not parsed.json then context.out(head(it:describe())) end
  local ok
  ok, why, code = drive(it)
  if not ok and code == "EPIPE" and not parsed.drain then return context.exit.done end
  if not ok then
    local status = context.broke(why, code)
    return code == "ECANCELED" and context.exit.interrupted or status
  end
  local rows, note = it:rows(), it:note()
  if not parsed.json then context.out(("%d %s"):format(rows, rows == 1 and "entry" or "entries")) end
  if note then context.err("perilune: " .. note) end
  return context.exit.done
end

function map.run(parsed, context)
  local verb = parsed[1]
  if verb == "list" then return list(parsed, context) end
  if verb == "dump" then return dump(parsed, context) end
  if not verb then return context.fail "map needs a word: list or dump; see perilune map --help" end
  return context.fail(("map cannot %s (%s)"):format(verb, words.suggest(verb, VERBS)))
end

return map
