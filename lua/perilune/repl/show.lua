-- SPDX-License-Identifier: Apache-2.0
--
-- Values as a person reads them: rows as aligned tables in their units, lists of numbers as bars, series as sparklines;
-- and rows as JSON and CSV for machines. Pure: values in, lines out.
--
-- What a column means is told by its name: the fields of all templates, by unit (show.units).

local format = require "perilune.base.format"
local list = require "perilune.records.list"
local words = require "perilune.base.words"

local show = {}

local MOST_ROWS, MOST_DEPTH = 40, 3
local BARS = 16 -- columns of a list of numbers in a table

local units = {} -- field → unit

--- Learns the units of a manifest's fields that are not known yet.
function show.know(manifest)
  for _, feature in pairs(manifest.features) do
    for _, field in ipairs(feature.fields) do
      local own = type(field) == "table" and field or { name = field }
      units[own.name] = units[own.name] or own.unit or feature.unit
    end
  end
  for _, fields in ipairs { manifest.fields, manifest.key_fields or {} } do
    for _, field in ipairs(fields) do units[field.name] = units[field.name] or field.unit end
  end
end

--- Learns those of a registry (perilune.template).
function show.learn(templates)
  for _, name in ipairs(templates:names()) do
    local manifest = templates:get(name)
    if manifest then show.know(manifest) end
  end
end

local function is_list(value) return type(value) == "table" and (#value > 0 or next(value) == nil) end

local NUMBERS = {
  bytes = format.bytes,
  ns = function(value) return format.duration(value / 1e9) end,
  time = function(value) return value == 0 and "-" or format.clock(math.floor(value * 1e6 + 0.5)) end,
  port = function(value) return ("%.0f"):format(value) end,
  number = function(value) return ("%.14g"):format(value) end,
}

-- A list of numbers is a histogram: its share of each class as a bar.
local function bars(values)
  return (format.spark(values, #values))
end

local function is_numbers(value)
  for _, element in ipairs(value) do
    if type(element) ~= "number" then return false end
  end
  return #value > 0
end

--- One value of a column of this name, on one line.
function show.cell(value, name)
  if value == nil then return "" end
  if type(value) == "number" then return (NUMBERS[units[name]] or format.count)(value) end
  if is_list(value) and is_numbers(value) then return bars(value) end
  if type(value) == "table" then return format.clean(list.key(value)) end
  return format.clean(tostring(value))
end

-- Names of the columns: keys first, then the others as they are known to be ordered, by name otherwise.
local function columns_of(rows)
  local about, seen, names = list.about(rows), {}, {}
  local function take(name)
    if seen[name] == nil then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  local present = {}
  for _, row in ipairs(rows) do
    for name in pairs(row) do present[name] = true end
  end
  for _, source in ipairs { about.fields or {}, about.keys or {}, words.keys(present) } do
    for _, name in ipairs(source) do
      if present[name] or #rows == 0 then take(name) end
    end
  end
  return names
end

-- A column in which nothing ever happened says nothing.
local function is_empty(rows, name)
  for _, row in ipairs(rows) do
    local value = row[name]
    if value ~= nil and value ~= 0 and value ~= "" then return false end
  end
  return true
end

local function right_aligned(rows, name)
  for _, row in ipairs(rows) do
    if type(row[name]) ~= "number" then return false end
  end
  return true
end

-- A last column of texts that is too wide is cut, not left out.
local LEAST = 12 -- columns that are worth it

local function fit_last(titles, cells, width)
  local used, last = 0, #titles
  if last < 2 or titles[last].right then return end
  for c = 1, last - 1 do
    local wide = format.width(titles[c].title)
    for _, row in ipairs(cells) do wide = math.max(wide, format.width(row[c])) end
    used = used + wide + 2
  end
  if width - used < math.max(LEAST, format.width(titles[last].title)) then return end
  for _, row in ipairs(cells) do row[last] = format.cut(row[last], width - used) end
end

--- Rows as lines: { lines }, at most `width` columns wide. What was cut is said in the last line.
function show.table(rows, width)
  if #rows == 0 then return { "no rows" } end
  local names, titles, cells, left_out = {}, {}, {}, {}
  for _, name in ipairs(columns_of(rows)) do
    if #rows > 1 and is_empty(rows, name) then
      left_out[#left_out + 1] = name
    else
      names[#names + 1] = name
      titles[#titles + 1] = { title = name, right = right_aligned(rows, name) }
    end
  end
  for i = 1, math.min(#rows, MOST_ROWS) do
    cells[i] = {}
    for c, name in ipairs(names) do cells[i][c] = show.cell(rows[i][name], name) end
  end
  fit_last(titles, cells, width)
  local lines, hidden = format.table(titles, cells, width)
  local notes = {}
  if #rows > MOST_ROWS then notes[1] = ("… %s rows more"):format(format.count(#rows - MOST_ROWS)) end
  if #hidden > 0 then notes[#notes + 1] = "too narrow for " .. table.concat(hidden, " ") end
  if #left_out > 0 then notes[#notes + 1] = "all 0: " .. table.concat(left_out, " ") end
  if #notes > 0 then lines[#lines + 1] = format.cut(table.concat(notes, "; "), width) end
  return lines
end

local function is_rows(value)
  if list.is(value) then return true end
  if type(value) ~= "table" or #value == 0 then return false end
  for key, row in pairs(value) do
    if type(key) ~= "number" or type(row) ~= "table" or #row > 0 then return false end
  end
  return true
end

local function scalar(value, name)
  if type(value) == "string" then return format.clean(value) end
  return show.cell(value, name)
end

-- A table with names: a line each, what lies deeper indented.
local function append_record(lines, value, width, depth)
  local wide = 0
  local keys = words.keys((function()
    local named = {}
    for key in pairs(value) do named[tostring(key)] = true end
    return named
  end)())
  for _, key in ipairs(keys) do wide = math.max(wide, format.width(key)) end
  for _, key in ipairs(keys) do
    local inner = value[key]
    if inner == nil then inner = value[tonumber(key)] end
    local head = ("  "):rep(depth) .. format.left(format.clean(key), wide)
    if type(inner) == "table" and not (is_list(inner) and is_numbers(inner)) and depth < MOST_DEPTH
      and getmetatable(inner) == nil and next(inner) ~= nil then
      lines[#lines + 1] = head
      append_record(lines, inner, width, depth + 1)
    else
      lines[#lines + 1] = format.cut(head .. "  " .. scalar(inner, key), width)
    end
  end
end

--- Any value as lines. `width`: columns of the terminal.
function show.lines(value, width)
  if is_rows(value) then return show.table(value, width) end
  if is_list(value) and is_numbers(value) then
    local text, peak = format.spark(value, math.max(8, math.min(width - 24, 120)))
    return { ("%s  peak %s, last %s"):format(text, format.short(peak), format.short(value[#value])) }
  end
  if type(value) == "table" and getmetatable(value) == nil then
    if next(value) == nil then return { "{}" } end
    local lines = {}
    append_record(lines, value, width, 0)
    return lines
  end
  local lines = {}
  for line in (tostring(value) .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = format.clean(line) end
  return lines
end

--- A histogram of named or numbered classes as bars, one a line: { { label, number }, … }.
function show.bars(classes, width)
  local lines, peak, wide = {}, 0, 0
  for _, class in ipairs(classes) do
    peak, wide = math.max(peak, class[2]), math.max(wide, format.width(class[1]))
  end
  local room = math.max(BARS, width - wide - 14)
  for i, class in ipairs(classes) do
    local length = peak > 0 and math.ceil(class[2] / peak * room) or 0
    lines[i] = ("%s  %s %s"):format(format.left(class[1], wide), ("█"):rep(length), format.short(class[2]))
  end
  return lines
end

local function json_string(text)
  return '"' .. format.utf8(text):gsub('[%c"\\]', function(c)
    return c == '"' and '\\"' or c == "\\" and "\\\\" or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

--- Any plain value as JSON on one line.
function show.json(value)
  if type(value) == "string" then return json_string(value) end
  if type(value) == "number" then
    if value ~= value or value == math.huge or value == -math.huge then return "null" end
    if value % 1 == 0 and math.abs(value) <= 2 ^ 53 then return ("%.0f"):format(value) end
    local short = ("%.15g"):format(value)
    return tonumber(short) == value and short or ("%.17g"):format(value)
  end
  if type(value) ~= "table" then return type(value) == "boolean" and tostring(value) or "null" end
  local parts = {}
  if is_list(value) then
    for i, element in ipairs(value) do parts[i] = show.json(element) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for _, key in ipairs(words.keys(value)) do
    parts[#parts + 1] = json_string(tostring(key)) .. ":" .. show.json(value[key])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function csv_field(value)
  local text = value == nil and "" or type(value) == "table" and show.json(value)
    or type(value) == "number" and show.json(value) or tostring(value)
  return text:find '[",\r\n]' and '"' .. text:gsub('"', '""') .. '"' or text
end

--- Rows as lines of CSV (RFC 4180), the first with the names.
function show.csv(rows)
  local names, lines = columns_of(rows), {}
  lines[1] = table.concat(names, ",")
  for i, row in ipairs(rows) do
    local fields = {}
    for c, name in ipairs(names) do fields[c] = csv_field(row[name]) end
    lines[i + 1] = table.concat(fields, ",")
  end
  return lines
end

return show
