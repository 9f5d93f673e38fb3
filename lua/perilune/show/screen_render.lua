-- SPDX-License-Identifier: Apache-2.0
-- The live view as lines of text: a pure function of the model (perilune.screen_model) and the terminal's
-- size.
local event = require "perilune.event"
local format = require "perilune.base.format"
local model = require "perilune.show.screen_model"
local sink_text = require "perilune.show.sink_text"

local render = {}

local clean, count = format.clean, format.count

-- Lines of the terminal left to what has scrolled, and most rows of the table.
local HISTORY_ROWS = 5
local TALKERS = 12

render.SGR = { bold = "1", dim = "2", red = "1;31", green = "1;32", yellow = "1;33", cyan = "36" }

-- For a terminal that knows no UTF-8.
function render.ascii(text)
  return (text:gsub("→", "->"):gsub("…", "..."):gsub("≥", ">="):gsub("[\128-\255]+", "?"))
end

-- A line is a list of { text, colour }; paint() cuts it to the width and adds the colours.
local function paint(parts, width, style)
  local total, left = 0, width
  for _, part in ipairs(parts) do
    part[1] = style.utf8 and part[1] or render.ascii(part[1])
    total = total + format.width(part[1])
  end
  local cut = total > width
  if cut then
    left = width - format.width(style.more)
  end
  local out = {}
  for _, part in ipairs(parts) do
    local text = format.cut(part[1], math.max(0, left), "")
    left = left - format.width(text)
    local code = style.color and part[2] and text ~= "" and render.SGR[part[2]]
    out[#out + 1] = code and ("\27[%sm%s\27[0m"):format(code, text) or text
  end
  local line = table.concat(out)
  return cut and line .. format.cut(style.more, width, "") or (line:gsub(" +$", ""))
end

local function label(text, style)
  return { format.left(text, style.label) .. "  ", "dim" }
end

-- `left`, and `right` at the end of the line if there is room for both. fill: one column, a space by default.
local function spread(left, right, width, fill)
  local used = format.width(right[1])
  for _, part in ipairs(left) do
    used = used + format.width(part[1])
  end
  if used + 2 <= width then
    left[#left + 1] = { " " .. (fill or " "):rep(width - used - 2) .. " ", "dim" }
    left[#left + 1] = right
  end
  return left
end

-- Most interfaces that are named.
local NAMED = 3

local function places(m)
  local order, by = {}, {}
  for _, a in ipairs(m.attached) do
    local key = a.iface .. "\0" .. a.mode
    if not by[key] then
      by[key] = { iface = clean(a.iface), mode = clean(a.mode), hooks = {} }
      order[#order + 1] = by[key]
    end
    table.insert(by[key].hooks, clean(a.hook))
  end
  local out = {}
  for i, p in ipairs(order) do
    if i > NAMED then
      out[i] = ("%s more"):format(count(#order - NAMED))
      break
    end
    out[i] = ("%s %s (%s)"):format(p.iface, table.concat(p.hooks, " + "), p.mode)
  end
  return table.concat(out, ", ")
end

local function header(m, width, style)
  local right = ("up %s, Ctrl-C ends"):format(format.age((m.now - (m.started or m.now)) / 1e6))
  local left = { { style.rule .. style.rule .. " ", "dim" }, { clean(m.policy or ""), "bold" } }
  if #m.attached > 0 then
    left[3] = { "  " .. places(m) }
  end
  return paint(spread(left, { right, "dim" }, width, style.rule), width, style)
end

local LIT = { "green", "yellow", "red" }

-- Base green, deepest red, between them yellow.
local function heat(i, levels)
  return LIT[i == 1 and 1 or i == levels and 3 or 2]
end

local function ladder(m, width, style)
  local parts = { label("level", style) }
  for i, name in ipairs(m.levels) do
    local lit = name == m.level
    local shape = lit and "[%s]" or " %s "
    parts[#parts + 1] = { shape:format(clean(name)), lit and heat(i, #m.levels) or "dim" }
    if i < #m.levels then
      parts[#parts + 1] = { style.up, "dim" }
    end
  end
  local held = format.age((m.now - (m.since or m.started or m.now)) / 1e6)
  local window = m.seq and (", window %s of %s"):format(count(m.seq), format.duration(m.seconds)) or ""
  return paint(spread(parts, { ("for %s%s"):format(held, window), "dim" }, width), width, style)
end

local function add_counts(sum, counts)
  for _, name in ipairs { "packets", "skbs", "bytes" } do
    sum[name] = (sum[name] or 0) + (counts and counts[name] or 0)
  end
  return sum
end

local function recent(m)
  local sum, seconds = { ingress = {}, egress = {} }, 0
  for _, w in ipairs(m.recent) do
    add_counts(sum, w)
    seconds = seconds + w.seconds
    local d = w.directions or {}
    sum.both = sum.both or d.ingress and d.egress and true
    add_counts(sum.ingress, d.ingress)
    add_counts(sum.egress, d.egress)
  end
  return sum, seconds
end

local function rates(m, lines, width, style)
  local sum, seconds = recent(m)
  if #m.recent == 0 then
    local text = "waiting for the first window " .. style.more
    lines[#lines + 1] = paint({ label("rate", style), { text, "dim" } }, width, style)
    return
  end
  lines[#lines + 1] = paint({ label("rate", style), { sink_text.speed(sum, seconds), "bold" } }, width, style)
  if sum.both then
    for _, way in ipairs { { "  in", sum.ingress }, { "  out", sum.egress } } do
      local text = sink_text.speed(way[2], seconds)
      lines[#lines + 1] = paint({ label(way[1], style), { text } }, width, style)
    end
  end
end

local function trend(m, width, style)
  local values = {}
  for i, value in ipairs(m.trend) do
    values[i] = value
  end
  if m.open and (m.open.seconds >= model.span / 2 or #values == 0) and m.open.seconds > 0 then
    values[#values + 1] = m.open.packets / m.open.seconds
  end
  local room = math.max(8, math.min(60, width - style.label - 2 - 26))
  local bars, peak = format.spark(values, room, not style.utf8)
  local says = #values > 0 and "  peak " .. format.short(peak) .. " packets/s" or ""
  return paint({ label("trend", style), { bars, "cyan" }, { says, "dim" } }, width, style)
end

local function loss(m, width, style)
  local total, not_ip, reasons = event.loss(m)
  local parts = { label("loss", style), { count(total), total > 0 and "red" or "dim" } }
  for i, reason in ipairs(reasons) do
    parts[#parts + 1] = { ("%s%s %s"):format(i == 1 and "  " or ", ", reason[1], count(reason[2])), "red" }
  end
  if total > 0 and m.lost_at then
    parts[#parts + 1] = { ("  last %s ago"):format(format.age((m.now - m.lost_at) / 1e6)), "red" }
  end
  if not_ip > 0 then
    parts[#parts + 1] = { "  not IP " .. count(not_ip), "dim" }
  end
  return paint(parts, width, style)
end

-- "3: 10.0.0.1 10.0.0.2 and 1 more", as many as fit.
local function members(set, width, style)
  local text = count(set.count) .. (set.count > 0 and ": " or "")
  for i, member in ipairs(set.members) do
    local left = set.count - i
    local more = left > 0 and (" %s %s more"):format(style.more, count(left)) or ""
    local longer = text .. (i > 1 and " " or "") .. clean(member)
    if format.width(longer .. more) > width then
      return i == 1 and count(set.count) or ("%s %s %s more"):format(text, style.more, count(left + 1))
    end
    text = longer
  end
  local left = set.count - #set.members
  return left > 0 and #set.members > 0 and ("%s %s %s more"):format(text, style.more, count(left)) or text
end

local function sets(m, lines, width, style)
  local names = {}
  for name in pairs(m.sets) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local set = m.sets[name]
    lines[#lines + 1] = paint({ label(clean(name), style),
      { members(set, width - style.label - 2, style), set.count == 0 and "dim" or nil } }, width, style)
  end
end

-- The deepest probe's rows of the last model.span, one per key. `partial`: missing in a window that listed
-- only its top.
local function talkers(kept)
  local by, list, seconds, packets, more, cut = {}, {}, 0, 0, 0, 0
  for _, w in ipairs(kept.windows) do
    cut = cut + (w.more > 0 and 1 or 0)
    seconds, packets, more = seconds + w.seconds, packets + w.packets, math.max(more, w.more)
    for _, row in ipairs(w.rows) do
      local key = {}
      for i, field in ipairs(kept.key_fields) do
        key[i] = tostring(row[field])
      end
      key = table.concat(key, "\0")
      local sum = by[key]
      if not sum then
        sum = { row = row, key = key, cut = 0 }
        by[key] = sum
        list[#list + 1] = sum
      end
      sum.cut = sum.cut + (w.more > 0 and 1 or 0)
      for _, name in ipairs { "packets", "bytes", unpack(sink_text.FLAGS) } do
        sum[name] = (sum[name] or 0) + (row[name] or 0)
      end
    end
  end
  for _, sum in ipairs(list) do
    sum.partial = sum.cut < cut
  end
  table.sort(list, function(a, b)
    for _, field in ipairs { kept.by, "packets" } do
      if a[field] ~= b[field] and a[field] and b[field] then
        return a[field] > b[field]
      end
    end
    return a.key < b.key
  end)
  return list, seconds, packets, more
end

local function deepest(m)
  local best
  for _, kept in pairs(m.tops) do
    if not best or kept.depth > best.depth or kept.depth == best.depth and kept.probe < best.probe then
      best = kept
    end
  end
  return best
end

local function top_table(m, kept, room, width, style)
  local list, seconds, packets, more = talkers(kept)
  local titles = { { title = clean(kept.probe) }, { title = "packets/s", right = true },
    { title = "share", right = true }, { title = "bits/s", right = true } }
  for _, flag in ipairs(sink_text.FLAGS) do
    if m.flags[kept.probe][flag] then
      titles[#titles + 1] = { title = flag .. "/s", right = true, flag = flag }
    end
  end
  local hidden_rows = #list > room and #list - (room - 1) or 0
  local rows = {}
  for i = 1, #list - hidden_rows do
    local sum = list[i]
    local per = seconds > 0 and 1 / seconds or 1
    rows[i] = { format.key(sum.row, kept.key_fields, style.arrow),
      (sum.partial and style.least or "") .. count(sum.packets * per),
      packets > 0 and format.share(sum.packets / packets) or "", format.bits(sum.bytes * per) }
    for c = 5, #titles do
      rows[i][c] = format.short(sum[titles[c].flag] * per)
    end
  end
  local lines, hidden = format.table(titles, rows, width)
  lines[1] = paint({ { lines[1], "dim" } }, width, style)
  local notes = {}
  if #list == 0 then
    notes[1] = "no rows"
  elseif hidden_rows + more > 0 then
    notes[1] = ("%s %s more"):format(style.more, count(hidden_rows + more))
  end
  if kept.by ~= "packets" then
    notes[#notes + 1] = "by " .. clean(kept.by)
  end
  if #hidden > 0 then
    notes[#notes + 1] = ("too narrow for %s"):format(table.concat(hidden, " "))
  end
  if #notes > 0 then
    lines[#lines + 1] = paint({ { table.concat(notes, "; "), "dim" } }, width, style)
  end
  return lines
end

local UTF8 = { more = "…", arrow = "→", up = "›", least = "≥", rule = "─" }
local ASCII = { more = "...", arrow = "->", up = ">", least = ">=", rule = "-" }

local function full_style(m, given)
  local glyphs = given.utf8 and UTF8 or ASCII
  local style = setmetatable({ color = given.color, utf8 = given.utf8, label = 5 }, { __index = glyphs })
  for name in pairs(m.sets) do
    style.label = math.max(style.label, math.min(16, format.width(name)))
  end
  return style
end

-- The parts of the view, for a screen that has more of them (top_render.lua).
render.parts = {
  style = full_style, header = header, ladder = ladder, rates = rates, trend = trend, loss = loss, sets = sets,
  label = label, paint = paint,
}

-- The block for a terminal of this size, at most height - 1 lines. style: { color = bool, utf8 = bool }.
function render.lines(m, width, height, style)
  style = full_style(m, style or {})
  local lines = { header(m, width, style), ladder(m, width, style) }
  if m.reason then
    lines[3] = paint({ label("why", style), { clean(m.reason) } }, width, style)
  end
  rates(m, lines, width, style)
  lines[#lines + 1] = trend(m, width, style)
  lines[#lines + 1] = loss(m, width, style)
  sets(m, lines, width, style)
  local kept = deepest(m)
  if kept then
    local room = math.max(3, math.min(TALKERS, height - #lines - 4 - HISTORY_ROWS))
    lines[#lines + 1] = ""
    for _, line in ipairs(top_table(m, kept, room, width, style)) do
      lines[#lines + 1] = line
    end
  end
  local most = math.max(1, height - 1)
  if #lines > most then
    local hidden = #lines - most + 1
    for i = #lines, most, -1 do
      lines[i] = nil
    end
    local text = ("%s %d lines more on a taller terminal"):format(style.more, hidden)
    lines[most] = paint({ { text, "dim" } }, width, style)
  end
  return lines
end

return render
