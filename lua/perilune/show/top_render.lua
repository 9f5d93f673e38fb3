-- SPDX-License-Identifier: Apache-2.0
--
-- The full screen of `perilune top` as lines: a pure function of the model (perilune.screen_model), of what a person
-- has chosen (`ui`, see top.lua) and of the terminal's size. Always exactly `height` lines.
local format = require "perilune.base.format"
local render = require "perilune.show.screen_render"

local top_render = {}

local clean, count = format.clean, format.count

local LEAST_ROWS, LOG_SHARE = 5, 0.25 -- of the lines below the head, what the log gets at most

local HELP = {
  "s S      sort by the next, the previous field        r        the other way round",
  "/        show only rows that match, like  dport == 53 and bytes > 1e4   (Esc: all)",
  "p        the records of the next probe               space    hold still, go on",
  "↑ ↓      one row, PgUp PgDn a page                   q        quit",
}

-- A column of the table: number fields that are rates by nature are shown a second.
local function is_amount(unit) return unit ~= "time" and unit ~= "number" and unit ~= "name" and unit ~= "port" end

local function cell(field, value, seconds)
  if value == nil then return "" end
  if type(value) == "table" then return (format.spark(value, #value)) end
  if type(value) ~= "number" then return clean(value) end
  if field.unit == "time" then return value == 0 and "-" or format.clock(math.floor(value * 1e6 + 0.5)) end
  if field.unit == "ns" then return format.duration(value / 1e9) end
  if not is_amount(field.unit) then return ("%.14g"):format(value) end
  if seconds <= 0 then return count(value) end
  if field.unit == "bytes" then return format.bits(value / seconds) end
  return count(value / seconds)
end

local function title(field, ui)
  local name = clean(field.name)
  if field.unit == "bytes" then
    name = name .. " bit/s"
  elseif type(field.unit) == "string" and is_amount(field.unit) and field.unit ~= "ns" and not field.list then
    name = name .. "/s"
  end
  return field.name == ui.sort and name .. (ui.ascending and "^" or "*") or name
end

-- ui.rows: { probe =, key = { field names }, fields = { { name, unit, list } }, rows, matching =, total =, seconds = }
local function talkers(ui, room, width, style)
  local shown = ui.rows
  if not shown then return { "" } end
  local titles, cells = { { title = clean(shown.probe) } }, {}
  for _, field in ipairs(shown.fields) do
    titles[#titles + 1] = { title = title(field, ui), right = not field.textual }
  end
  local first = math.max(0, math.min(ui.offset, #shown.rows - 1))
  local rows = math.min(room - 2, #shown.rows - first)
  for i = 1, rows do
    local row = shown.rows[first + i]
    cells[i] = { format.key(row, shown.key, style.arrow) }
    for c, field in ipairs(shown.fields) do cells[i][c + 1] = cell(field, row[field.name], shown.seconds) end
  end
  local lines, hidden = format.table(titles, cells, width)
  lines[1] = render.parts.paint({ { lines[1], "dim" } }, width, style)
  local notes = {}
  if shown.matching > first + rows or first > 0 then
    notes[1] = ("rows %s to %s of %s"):format(count(rows > 0 and first + 1 or 0), count(first + rows),
      count(shown.matching))
  elseif shown.matching == 0 then
    notes[1] = "no rows"
  end
  if shown.matching < shown.total then notes[#notes + 1] = ("%s do not match"):format(count(shown.total
    - shown.matching)) end
  if #hidden > 0 then notes[#notes + 1] = "too narrow for " .. table.concat(hidden, " ") end
  if #notes > 0 then lines[#lines + 1] = render.parts.paint({ { table.concat(notes, "; "), "dim" } }, width, style) end
  return lines
end

local function bottom(ui, width, style)
  if ui.typing then
    return render.parts.paint({ { "show only: ", "bold" }, { clean(ui.typing) .. "_" } }, width, style)
  end
  local filter = ui.filter and ("  / %s"):format(clean(ui.filter)) or "  / filter"
  local parts = { { "q quit  s sort" .. (ui.sort and (" (%s)"):format(clean(ui.sort)) or ""), "dim" },
    { filter, ui.filter and "yellow" or "dim" }, { "  p probe  space " .. (ui.held and "go on" or "hold") .. "  ? help",
      ui.held and "yellow" or "dim" } }
  if ui.problem then parts = { { clean(ui.problem), "red" } } end
  return render.parts.paint(parts, width, style)
end

local function cost(ui, width, style)
  local c = ui.cost
  if not c then return nil end
  local parts = {}
  if c.read_seconds then
    parts[#parts + 1] = ("a window's end: %s grace, %s to read"):format(format.duration(c.grace_seconds or 0),
      format.duration(c.read_seconds))
  end
  if ui.budget then
    parts[#parts + 1] = clean(ui.budget)
  end
  if #parts == 0 then return nil end
  return render.parts.paint({ render.parts.label("cost", style), { table.concat(parts, "; "), "dim" } }, width, style)
end

local function head(m, ui, width, style)
  local parts = render.parts
  local lines = { parts.header(m, width, style), parts.ladder(m, width, style) }
  if m.reason then lines[3] = parts.paint({ parts.label("why", style), { clean(m.reason) } }, width, style) end
  parts.rates(m, lines, width, style)
  lines[#lines + 1] = parts.trend(m, width, style)
  lines[#lines + 1] = parts.loss(m, width, style)
  lines[#lines + 1] = cost(ui, width, style)
  parts.sets(m, lines, width, style)
  lines[#lines + 1] = ""
  return lines
end

local function append(lines, more)
  for _, line in ipairs(more) do lines[#lines + 1] = line end
end

-- The newest of what has happened, as many lines as there is room for.
local function log_lines(ui, room, width, style)
  local lines = {}
  for i = math.max(1, #ui.log - room + 1), #ui.log do
    lines[#lines + 1] = render.parts.paint({ { clean(ui.log[i].text), ui.log[i].colour } }, width, style)
  end
  return lines
end

local function help_lines(width, style)
  local lines = {}
  for i, text in ipairs(HELP) do lines[i] = render.parts.paint({ { text } }, width, style) end
  return lines
end

--- height lines of at most width columns. style: { color = bool, utf8 = bool }.
function top_render.lines(m, ui, width, height, given)
  local style = render.parts.style(m, given or {})
  local lines = head(m, ui, width, style)
  while #lines > height - 2 and #lines > 0 do table.remove(lines) end
  local room = height - #lines - 1
  if ui.help then
    append(lines, help_lines(width, style))
  else
    local logged = math.min(#ui.log, math.max(0, math.min(math.ceil(room * LOG_SHARE), room - LEAST_ROWS)))
    append(lines, talkers(ui, room - logged - (logged > 0 and 1 or 0), width, style))
    while #lines < height - 1 - logged do lines[#lines + 1] = "" end
    append(lines, log_lines(ui, logged, width, style))
  end
  while #lines > height - 1 do table.remove(lines) end
  while #lines < height - 1 do lines[#lines + 1] = "" end
  lines[height] = bottom(ui, width, style)
  return lines
end

return top_render
