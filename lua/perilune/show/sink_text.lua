-- SPDX-License-Identifier: Apache-2.0
-- Events as plain lines for people, logs and grep: one flushed line each, no escapes, nothing from the
-- network unescaped.
local event = require "perilune.event"
local format = require "perilune.base.format"
local output = require "perilune.base.output"
local words = require "perilune.base.words"

-- wants_top: the window events are to bring the first rows of their probes.
local sink = { wants_top = true }
sink.__index = sink

-- In the order in which they say most about a flow.
sink.FLAGS = { "syn", "syn_ack", "rst", "fin", "ack", "psh", "urg", "ece", "cwr" }

local clean, count, rate = format.clean, format.count, format.rate

-- "9,312 packets/s  8,000 skbs/s  4.4 Mbit/s"; plain counts for a window without length.
function sink.speed(totals, seconds)
  local per = seconds > 0 and 1 / seconds or 1
  local suffix = seconds > 0 and "/s" or ""
  local parts = { count(totals.packets * per) .. " packets" .. suffix }
  if totals.skbs ~= totals.packets then
    parts[2] = count(totals.skbs * per) .. " skbs" .. suffix
  end
  parts[#parts + 1] = seconds > 0 and format.bits(totals.bytes * per) or format.bytes(totals.bytes)
  return table.concat(parts, "  ")
end

-- "loss 0", "loss 34 (map_full 12, late 22)  not IP 3"
function sink.loss(e)
  local total, not_ip, parts = event.loss(e)
  local text, names = "loss " .. count(total), {}
  for i, part in ipairs(parts) do
    names[i] = part[1] .. " " .. count(part[2])
  end
  if total > 0 then
    text = ("%s (%s)"):format(text, table.concat(names, ", "))
  end
  return text .. (not_ip > 0 and "  not IP " .. count(not_ip) or "")
end

local function directions(e, seconds)
  local d = e.directions
  if not (d and d.ingress and d.egress) then
    return nil
  end
  return ("in %s  out %s"):format(sink.speed(d.ingress, seconds), sink.speed(d.egress, seconds))
end

local function place(attachment)
  local where = attachment.netns and clean(attachment.netns) .. " " or ""
  return ("%s%s %s (%s)"):format(where, clean(attachment.iface), clean(attachment.hook), clean(attachment.mode))
end

-- Text of several lines: the first, then the others indented.
local function paragraphs(lines, text)
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do
    line = line:gsub("\t", "  ")
    lines[#lines + 1] = (#lines > 0 and "    " or "") .. clean(line)
  end
  return lines
end

-- event name → function(e, opts) → the line without its time, more lines …
local say = {}

function say.start(e)
  local levels = {}
  for i, name in ipairs(e.levels) do
    levels[i] = clean(name)
  end
  local file = e.file and clean(e.file) .. "  " or ""
  return { ("start %s  %slevels %s  window %s%s"):format(clean(e.policy), file, table.concat(levels, " "),
    format.duration(e.window), e.adopted and "  goes on where another process left off" or "") }
end

function say.attach(e)
  return { "attach " .. place(e) }
end

function say.detach(e)
  return { "detach " .. place(e) .. (e.why and "  " .. clean(e.why) or "") }
end

local function top_rows(lines, top, seconds, limit)
  local shown = 0
  for _, row in ipairs(top.rows) do
    if shown == limit then
      break
    end
    shown = shown + 1
    local parts = { ("  %s %s"):format(clean(top.probe), format.key(row, top.key_fields or {})) }
    parts[2] = row.packets and count(row.packets) .. " packets"
    if row.packets and seconds > 0 then
      parts[#parts + 1] = rate(row.packets / seconds)
    end
    parts[#parts + 1] = row.bytes and seconds > 0 and format.bits(row.bytes / seconds) or nil
    for _, flag in ipairs(sink.FLAGS) do
      if (row[flag] or 0) > 0 then
        parts[#parts + 1] = flag .. " " .. count(row[flag])
      end
    end
    lines[#lines + 1] = table.concat(parts, "  ")
  end
  local more = (top.more or 0) + #top.rows - shown
  if more > 0 then
    lines[#lines + 1] = ("  %s … %s more"):format(clean(top.probe), count(more))
  end
end

function say.window(e, opts)
  local parts = { ("window %s"):format(count(e.seq)), clean(e.level), sink.speed(e, e.seconds) }
  parts[#parts + 1] = directions(e, e.seconds)
  parts[#parts + 1] = sink.loss(e)
  if e.cut ~= "clock" then
    parts[#parts + 1] = ("cut by %s after %s"):format(clean(e.cut), format.duration(e.seconds))
  end
  local lines = { table.concat(parts, "  ") }
  local deep = opts.base and e.level ~= opts.base or opts.always_top
  for _, top in ipairs(deep and e.top or {}) do
    top_rows(lines, top, e.seconds, opts.top or 5)
  end
  return lines
end

function say.records(e)
  local rows = ""
  if type(e.rows) == "table" then
    rows = count(#e.rows) .. " rows  "
  end
  return { ("records %s  %s  %s%s omitted  %s"):format(clean(e.probe), clean(e.level), rows, count(e.omitted),
    sink.loss(e)) }
end

function say.rule(e)
  local who = clean(e.rule) .. (e.key and " " .. clean(e.key) or "")
  local why = e.why and (" (%s)"):format(clean(e.why)) or ""
  return { ("rule %s  %s  %s%s"):format(clean(e.state), who, clean(e.reason), why) }
end

function say.transition(e)
  return { ("%s → %s  %s"):format(clean(e.from), clean(e.to), clean(e.reason)) }
end

function say.action(e)
  local by = e.rule and ("  (rule %s)"):format(clean(e.rule)) or ""
  if e.dry_run then by = by .. "  (not done)" end
  if e.act == "log" then
    return { ("log %s%s"):format(clean(e.text or ""), by) }
  elseif e.act == "add" then
    local verb = e.undo and "remove %s from %s%s" or "add %s to %s%s"
    return { verb:format(clean(e.member or "?"), clean(e.set or "?"), by) }
  end
  if e.act == "export" then
    return { ("%s %s at %s%s"):format(e.undo and "no longer export" or "export", clean(e.set), clean(e.text), by) }
  end
  local what = (e.text and " " .. clean(e.text) or "") .. (e.key and "  " .. clean(e.key) or "")
  return { ("%s%s%s%s"):format(e.undo and "undo " or "", clean(e.act), what, by) }
end

function say.budget(e)
  return { ("budget %s  %s"):format(clean(e.what), clean(e.reason)) }
end

function say.emit(e)
  local parts = { ("emit %s  %s"):format(clean(e.name), clean(e.reason)) }
  for _, name in ipairs(words.keys(e.fields)) do
    parts[#parts + 1] = ("%s=%s"):format(clean(name), clean(tostring(e.fields[name])))
  end
  return { table.concat(parts, "  ") }
end

function say.capture(e)
  local lost = e.lost > 0 and (", %s lost"):format(count(e.lost)) or ""
  return { ("captured %s packets%s  %s  (rule %s%s, ended by %s)"):format(count(e.packets), lost, clean(e.file),
    clean(e.rule), e.key and " " .. clean(e.key) or "", clean(e.why)) }
end

function say.delivery(e)
  local parts = { e.firing > 0 and count(e.firing) .. " firing" or nil }
  if e.resolved > 0 then parts[#parts + 1] = count(e.resolved) .. " resolved" end
  local tries = e.attempts > 1 and (", %s attempts"):format(count(e.attempts)) or ""
  local waiting = e.waiting > 0 and (", %s waiting"):format(count(e.waiting)) or ""
  return { ("told %s  %s%s%s"):format(clean(e.receiver), table.concat(parts, ", "), tries, waiting) }
end

function say.reload(e)
  local function list(names)
    local out = {}
    for i, name in ipairs(names) do out[i] = clean(name) end
    return table.concat(out, ", ")
  end
  local kept = #e.kept > 0 and "  kept " .. list(e.kept) or ""
  return { ("reload %s%s%s"):format(clean(e.file or e.policy), kept, #e.lost > 0 and "  lost " .. list(e.lost) or "") }
end

function say.error(e)
  local at = ""
  if e.file then
    at = clean(e.file) .. ":" .. (e.line and ("%d:"):format(e.line) or "") .. " "
  end
  if e.rule then at = at .. ("rule %s: "):format(clean(e.rule)) end
  return paragraphs({}, ("error %s%s%s"):format(at, e.message, e.hint and (" (%s)"):format(e.hint) or ""))
end

-- What each level saw, as a table; of one level the line above says it all.
local COLUMNS = { { title = "level" }, { title = "entered", right = true }, { title = "windows", right = true },
  { title = "time", right = true }, { title = "packets", right = true }, { title = "packets/s", right = true } }

local function levels_table(lines, levels)
  if not levels or #levels < 2 then return end
  local rows = {}
  for i, one in ipairs(levels) do
    rows[i] = { clean(one.level), count(one.entered), count(one.windows), format.duration(one.seconds),
      count(one.packets), one.seconds > 0 and count(one.packets / one.seconds) or "-" }
  end
  for _, line in ipairs((format.table(COLUMNS, rows, 100))) do lines[#lines + 1] = "  " .. line end
end

local function plural(number, word)
  return ("%s %s%s"):format(count(number), word, number == 1 and "" or "s")
end

function say.summary(e, opts)
  local parts = { "end", plural(e.packets, "packet") }
  if e.skbs ~= e.packets then
    parts[#parts + 1] = plural(e.skbs, "skb")
  end
  parts[#parts + 1] = ("%s in %s"):format(format.bytes(e.bytes), format.duration(e.seconds))
  parts[#parts + 1] = plural(e.windows, "window")
  parts[#parts + 1] = plural(e.transitions, "transition")
  parts[#parts + 1] = sink.loss(e)
  local lines = { table.concat(parts, "  ") }
  local d = e.directions
  if d and d.ingress and d.egress then
    lines[#lines + 1] = ("  in %s, %s  out %s, %s"):format(plural(d.ingress.packets, "packet"),
      format.bytes(d.ingress.bytes), plural(d.egress.packets, "packet"), format.bytes(d.egress.bytes))
  end
  levels_table(lines, e.levels)
  for _, attachment in ipairs(not opts.told and e.detached or {}) do
    lines[#lines + 1] = "  detached " .. place(attachment)
  end
  return lines
end

-- The event as lines; the first begins with its time. opts: base (name of the first level), top (rows),
-- always_top, told (what was detached has been said already), utc.
function sink.lines(e, opts)
  local lines = say[e.event] and say[e.event](e, opts) or { clean(e.event) }
  lines[1] = format.clock(e.time, opts.utc) .. "  " .. lines[1]
  return lines
end

-- opts: out (what output.new takes; standard output by default), soon (for it), top, always_top, utc.
function sink.new(opts)
  opts = opts or {}
  return setmetatable({
    out = output.new(opts.out or 1, { soon = opts.soon }),
    opts = { top = opts.top, always_top = opts.always_top, utc = opts.utc },
  }, sink)
end

function sink:event(e)
  if e.event == "start" then
    self.opts.base = e.levels[1]
  end
  self.opts.told = self.opts.told or e.event == "detach"
  return self.out:write(table.concat(sink.lines(e, self.opts), "\n") .. "\n")
end

function sink:status(text)
  return self.out:write(table.concat(paragraphs({}, text), "\n") .. "\n")
end

function sink:close()
  return self.out:close()
end

return sink
