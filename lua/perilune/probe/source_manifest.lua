-- SPDX-License-Identifier: Apache-2.0
--
-- What a manifest says of a template, for own code: made from what its object declares. Which maps there are and what
-- their records hold is told by BTF; what a number means by its type (bpf/types.h), its name, or the policy. Pure.

local words = require "perilune.base.words"

local source_manifest = {}

local MOST_KEY, MOST_RECORD, MOST_FIELDS = 512, 32768, 256 -- bytes that the kernel takes, and fields
local MOST_ENTRIES = 16777216

source_manifest.ENTRIES = 65536 -- WINDOWED_ENTRIES

local KEYED = { hash = "WINDOWED_HASH", percpu_hash = "WINDOWED_PERCPU_HASH" }
local PUSHED = { queue = "WINDOWED_QUEUE", stack = "WINDOWED_STACK", ringbuf = "WINDOWED_RING" }
local ARRAYS = { array = "WINDOWED_SHARED_ARRAY", percpu_array = "WINDOWED_ARRAY" }

-- What a field is, by its kind in a layout.
local UNITS = {
  address = "address", ipv4 = "address", enum = "name", text = "name", ifindex = "name", time = "time",
  flags = "flags", protocol = "number", bool = "number", float = "number", pointer = "number",
}

local function unit_of(field)
  if UNITS[field.kind] then return UNITS[field.kind] end
  if field.kind == "bytes" then return field.size == 6 and "mac" or "name" end
  if field.kind == "be_uint" then return field.size == 2 and "port" or "number" end
  if field.key then return "number" end
  local name = field.name
  if name == "bytes" or name:find "_bytes$" then return "bytes" end
  if name == "ns" or name:find "_ns$" then return "ns" end
  return (name == "packets" or name == "skbs") and name or "count"
end

local function by_name(list)
  local map = {}
  for _, one in ipairs(list) do map[one.name] = one end
  return map
end

-- The windowed map NAME(map) of a probe: { map, kind, type, entries, inner = what its layout is asked of }; or nil,
-- message, remedy.
local function windowed(maps, probe, map)
  local full = ("%s_%s"):format(probe, map)
  local found = maps[full]
  if not found then
    if maps[map] then
      return nil, ("the map %s lacks the probe's name"):format(map), ("declare it as NAME(%s)"):format(map)
    end
    local own = {}
    for name in pairs(maps) do
      local rest = name:sub(1, #probe + 1) == probe .. "_" and name:sub(#probe + 2)
      if rest and not rest:find "_[01]$" then own[#own + 1] = rest end
    end
    return nil, ("the code has no map NAME(%s)"):format(map),
      words.suggest(map, own, ("like WINDOWED_HASH(NAME(%s), struct NAME(key), struct NAME(value));"):format(map))
  end
  local half = maps[full .. "_0"]
  if found.type == "array_of_maps" and half and maps[full .. "_1"] then
    if half.padding > 0 then
      return nil, ("the key of NAME(%s) has %d bytes of padding, which nobody sets: one key could have several rows")
        :format(map, half.padding), ("end it with a member __u8 pad[%d], or reorder its members"):format(half.padding)
    end
    return { map = map, kind = "map", type = half.type, entries = half.entries, inner = half.name }
  elseif ARRAYS[found.type] and found.entries % 2 == 0 then
    return { map = map, kind = "array", type = found.type, entries = found.entries / 2, inner = full }
  end
  return nil, ("the map NAME(%s) is not windowed: it is a %s that packets write while it is read"):format(map,
    found.type), ("declare it with %s(NAME(%s), …), see bpf/half.h"):format(KEYED[found.type] or ARRAYS[found.type]
    or PUSHED[found.type] or "WINDOWED_HASH", map)
end

-- Maps with two halves that the policy does not list would never be read, nor cleared.
local function forgotten(maps, probe, listed)
  for _, name in ipairs(words.keys(maps)) do
    local rest = name:sub(1, #probe + 1) == probe .. "_" and name:sub(#probe + 2)
    if rest and maps[name].type == "array_of_maps" and maps[name .. "_0"] and not listed[rest] then return rest end
  end
end

local function has_counter(layout, name)
  for _, field in ipairs(layout.fields) do
    if field.name == name and field.kind == "uint" and not field.dims then return true end
  end
  return false
end

-- Whether a map for what found no room says how much that was; or nil, message, remedy.
local function counts_lost(described, window)
  local field = window.role == "other" and "packets" or "events"
  local layout, message = described.layout(window.inner)
  if not layout then return nil, message end
  if has_counter(layout, field) then return true end
  return nil, ("a value of NAME(%s) has no `%s`, which says how many were lost"):format(window.map, field),
    ("a member __u64 %s"):format(field)
end

-- A field of a layout as a manifest has it. `said`: what the policy says of it.
local function field_of(field, said)
  said = said or {}
  return { name = field.name, unit = said.unit or unit_of(field), help = said.help, fold = said.fold,
    list = field.dims and true or nil, classes = said.classes }
end

local function too_big(layout, map)
  local key = 0
  for _, field in ipairs(layout.fields) do
    if field.key then key = math.max(key, field.offset + field.size * field.count) end
  end
  local says = "the records of NAME(%s) are too big: "
  if key > MOST_KEY then
    return (says .. "a key of %d bytes"):format(map, key), ("at most %d"):format(MOST_KEY)
  elseif layout.stride > MOST_RECORD then
    return (says .. "%d bytes"):format(map, layout.stride), ("at most %d"):format(MOST_RECORD)
  elseif #layout.fields > MOST_FIELDS then
    return (says .. "%d fields"):format(map, #layout.fields), ("at most %d; an array is one"):format(MOST_FIELDS)
  end
end

-- Key fields and others, of the records of `rows`; or nil, message, remedy.
local function fields_of(layout, rows, said)
  local key, others, known = {}, {}, {}
  for _, field in ipairs(layout.fields) do
    local into = field.key and rows.kind == "map" and key or others
    into[#into + 1] = field_of(field, said[field.name])
    known[#known + 1] = field.name
  end
  for name in pairs(said) do
    local found = false
    for _, one in ipairs(known) do found = found or one == name end
    if not found then
      return nil, ("fields: the records of NAME(%s) have no field %s"):format(rows.map, tostring(name)),
        words.suggest(tostring(name), known)
    end
  end
  return key, others
end

-- The windows of a manifest, the records' first; or nil, message, remedy. Adds `inner` of the first.
local function windows_of(maps, spec)
  local list, listed = {}, {}
  local function take(map, role)
    local one, message, remedy = windowed(maps, spec.name, map)
    if not one then return nil, message, remedy end
    one.role = role
    list[#list + 1], listed[map] = one, true
    return one
  end
  for i, map in ipairs(spec.windowed) do
    local one, message, remedy = take(map, i == 1 and "rows" or "state")
    if not one then return nil, message, remedy end
  end
  local implied = maps[spec.name .. "_other"] and not listed.other and "other" or nil
  for _, role in ipairs { "other", "lost" } do
    local map = spec.windowed[role] or role == "other" and implied or nil
    local ok, message, remedy = true, nil, nil
    if map then ok, message, remedy = take(map, role) end
    if ok and map then ok, message, remedy = counts_lost(spec.described, ok) end
    if not ok then return nil, message, remedy end
  end
  local left = forgotten(maps, spec.name, listed)
  if left then
    return nil, ("the map NAME(%s) is windowed and nothing reads it"):format(left),
      ('add "%s" to windowed'):format(left)
  end
  local rows = list[1]
  local counted = false
  for _, one in ipairs(list) do counted = counted or one.role == "other" or one.role == "lost" end
  if rows.kind == "map" and not counted then
    return nil, ("nothing counts the packets that find no room in NAME(%s)"):format(rows.map),
      "WINDOWED_ARRAY(NAME(other), struct NAME(value), 1), counted where half__row gives NULL"
  end
  return list
end

local function program_of_its_own(described)
  for _, program in ipairs(described.programs) do
    if program.name ~= "perilune_describe" then return program end
  end
end

--- spec: name, windowed = { records' map, other maps …, other =, lost =, index = }, fields = { name → { unit, help,
--- fold, classes } }, features (names), knobs (name → { type, default }), hooks, needs; described: maps, programs,
--- layout(map, index) of the object. → manifest, names of the key's fields | nil, message, remedy.
function source_manifest.of(spec)
  local foreign = program_of_its_own(spec.described)
  if foreign then
    return nil, ('the code has a program of its own, %s in SEC("%s")'):format(foreign.name, foreign.section),
      "a source is called by its level's program, for each packet: leave SEC away"
  end
  local windows, message, remedy = windows_of(by_name(spec.described.maps), spec)
  if not windows then return nil, message, remedy end
  local rows = windows[1]
  rows.index = spec.windowed.index
  local layout, wrong = spec.described.layout(rows.inner, rows.index)
  if not layout then return nil, wrong end
  message, remedy = too_big(layout, rows.map)
  if message then return nil, message, remedy end
  if rows.kind == "map" and not has_counter(layout, "packets") then
    return nil, ("a record of NAME(%s) has no `packets`: how many it stands for"):format(rows.map),
      "a member __u64 packets in its value"
  end
  local key, others
  key, others, remedy = fields_of(layout, rows, spec.fields)
  if not key then return nil, others, remedy end
  local names, features, knobs = {}, {}, {}
  for i, field in ipairs(key) do names[i] = field.name end
  for _, name in ipairs(spec.features) do features[name] = { fields = {}, help = "" } end
  for name, knob in pairs(spec.knobs) do knobs[name] = knob end
  if rows.kind == "map" then
    knobs.entries = { type = "count", default = rows.entries, min = 1, max = MOST_ENTRIES }
    rows.entries = "entries"
  end
  return {
    name = "source", help = "own code", rows = rows.kind == "map", needs = spec.needs, hooks = spec.hooks,
    key_fields = key, fields = others, features = features, knobs = knobs, windows = windows,
  }, names
end

return source_manifest
