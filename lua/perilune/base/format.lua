-- SPDX-License-Identifier: Apache-2.0
-- Values as people read them: numbers, rates, sizes, ages, clock times, aligned tables, text fit for a
-- terminal.
--
-- Pure text in, text out. Widths are terminal columns; a code point is taken for one column.
local format = {}

local floor, huge = math.floor, math.huge

-- Names of the IP protocols worth a name in a table.
local PROTOCOLS = { [1] = "icmp", [2] = "igmp", [6] = "tcp", [17] = "udp", [41] = "ipv6", [47] = "gre",
  [50] = "esp", [51] = "ah", [58] = "icmp6", [89] = "ospf", [103] = "pim", [112] = "vrrp", [132] = "sctp" }

local EIGHTHS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }
local ASCII_EIGHTHS = { "_", ".", ":", "-", "=", "+", "*", "#" }

-- Length of the well-formed UTF-8 sequence at `i`, or nil.
local function sequence(text, i)
  local a, b, c, d = text:byte(i, i + 3)
  local function tail(byte)
    return byte and byte >= 0x80 and byte <= 0xBF
  end
  if a < 0x80 then
    return 1
  elseif a >= 0xC2 and a <= 0xDF then
    return tail(b) and 2 or nil
  elseif a >= 0xE0 and a <= 0xEF then
    if not (tail(b) and tail(c)) or (a == 0xE0 and b < 0xA0) or (a == 0xED and b > 0x9F) then
      return nil
    end
    return 3
  elseif a >= 0xF0 and a <= 0xF4 then
    if not (tail(b) and tail(c) and tail(d)) or (a == 0xF0 and b < 0x90) or (a == 0xF4 and b > 0x8F) then
      return nil
    end
    return 4
  end
  return nil
end

-- The text with every byte that is no part of well-formed UTF-8 replaced by U+FFFD.
function format.utf8(text)
  if not text:find("[\128-\255]") then
    return text
  end
  local out, i = {}, 1
  while i <= #text do
    local length = sequence(text, i)
    out[#out + 1] = length and text:sub(i, i + length - 1) or "\239\191\189"
    i = i + (length or 1)
  end
  return table.concat(out)
end

-- One line that cannot command a terminal: names and payload text come from the network.
function format.clean(text)
  text = format.utf8(tostring(text))
  text = text:gsub("%c", "?"):gsub("\194[\128-\159]", "?")
  return text
end

function format.width(text)
  local _, continuation = text:gsub("[\128-\191]", "")
  return #text - continuation
end

-- At most `width` columns; what is cut off is shown by `mark` (default "…").
function format.cut(text, width, mark)
  if format.width(text) <= width then
    return text
  end
  mark = mark or "…"
  local keep = width - format.width(mark)
  if keep < 0 then
    return format.cut(text, width, "")
  end
  local bytes, columns = 0, 0
  while columns < keep do
    bytes = bytes + 1
    while (text:byte(bytes + 1) or 0) >= 0x80 and text:byte(bytes + 1) <= 0xBF do
      bytes = bytes + 1
    end
    columns = columns + 1
  end
  return text:sub(1, bytes) .. mark
end

function format.left(text, width)
  return text .. (" "):rep(width - format.width(text))
end

function format.right(text, width)
  return (" "):rep(width - format.width(text)) .. text
end

local function odd(number)
  return number ~= number or number == huge or number == -huge
end

local function odd_text(number)
  return number ~= number and "nan" or number > 0 and "inf" or "-inf"
end

-- 9312 → "9,312": whole numbers exact, others rounded to where they still say something.
function format.count(number)
  if odd(number) then
    return odd_text(number)
  end
  local size = math.abs(number)
  local text
  if number == floor(number) or size >= 99.95 then
    text = ("%.0f"):format(number)
  else
    text = ("%.1f"):format(number)
    if size < 0.95 then
      text = ("%.2g"):format(number)
    end
    text = text:gsub("%.0$", "")
  end
  local sign, whole, rest = text:match("^(%-?)(%d+)(.*)$")
  whole = whole:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  text = sign .. whole .. rest
  return text == "-0" and "0" or text
end

-- Three digits and a prefix: { "", "k", "M", … } × 1000.
local function scaled(number, prefixes, unit)
  local at = 1
  while at < #prefixes and math.abs(number) >= 999.5 do
    number, at = number / 1000, at + 1
  end
  if at == 1 then
    return format.count(number) .. prefixes[1] .. unit
  end
  return (math.abs(number) < 99.95 and "%.1f%s%s" or "%.0f%s%s"):format(number, prefixes[at], unit)
end

-- 18778 → "18.8k", for narrow columns.
function format.short(number)
  return odd(number) and odd_text(number) or scaled(number, { "", "k", "M", "G", "T", "P" }, "")
end

function format.rate(per_second)
  return format.count(per_second) .. "/s"
end

-- Bytes a second → bits a second as text.
function format.bits(bytes_per_second)
  if odd(bytes_per_second) then
    return odd_text(bytes_per_second) .. " bit/s"
  end
  return scaled(bytes_per_second * 8, { " ", " k", " M", " G", " T", " P" }, "bit/s")
end

function format.bytes(bytes)
  return odd(bytes) and odd_text(bytes) .. " B" or scaled(bytes, { " ", " k", " M", " G", " T", " P" }, "B")
end

function format.share(part)
  if odd(part) then
    return odd_text(part)
  end
  local percent = part * 100
  if percent > 0 and percent < 0.5 then
    return "<1%"
  elseif percent < 100 and percent >= 99.5 then
    return ">99%"
  end
  return ("%.0f%%"):format(percent)
end

local function plain(number)
  return (("%.1f"):format(number):gsub("%.0$", ""))
end

-- Seconds → "83 ms", "1.2 s", "2m 05s", "1h 02m", "3d 04h".
function format.duration(seconds)
  if odd(seconds) then
    return odd_text(seconds) .. " s"
  elseif seconds < 0 then
    return "-" .. format.duration(-seconds)
  elseif seconds == 0 then
    return "0 s"
  elseif seconds < 0.0009995 then
    return plain(seconds * 1e6) .. " us"
  elseif seconds < 0.0995 then
    return plain(seconds * 1e3) .. " ms"
  elseif seconds < 0.9995 then
    return ("%.0f ms"):format(seconds * 1e3)
  elseif seconds < 59.95 then
    return plain(seconds) .. " s"
  end
  local whole = floor(seconds + 0.5)
  if whole < 3600 then
    return ("%dm %02ds"):format(floor(whole / 60), whole % 60)
  elseif whole < 86400 then
    return ("%dh %02dm"):format(floor(whole / 3600), floor(whole % 3600 / 60))
  end
  return ("%dd %02dh"):format(floor(whole / 86400), floor(whole % 86400 / 3600))
end

-- Like duration, in whole seconds that have passed: for what ticks on a screen.
function format.age(seconds)
  return format.duration(floor(seconds > 0 and seconds or 0))
end

-- Whole µs since the epoch → "21:06:05.123", local time, or UTC if asked.
function format.clock(microseconds, utc)
  local seconds = floor(microseconds / 1e6)
  local ms = floor((microseconds - seconds * 1e6) / 1e3)
  return os.date(utc and "!%H:%M:%S" or "%H:%M:%S", seconds) .. (".%03d"):format(ms)
end

-- Whole µs since the epoch → RFC 3339 in UTC with nine digits. nil when it is no time between 1970 and 9999.
function format.rfc3339(microseconds)
  if type(microseconds) ~= "number" or not (microseconds >= 0 and microseconds < 253402300800e6) then
    return nil
  end
  local seconds = floor(microseconds / 1e6)
  local us = floor(microseconds - seconds * 1e6)
  local days, rest = floor(seconds / 86400), seconds % 86400
  -- Days since 0000-03-01, in eras of 400 years; the year is taken to begin in March: leap days end it.
  local era_day = days + 719468
  local era = floor(era_day / 146097)
  local doe = era_day - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local shifted = floor((5 * doy + 2) / 153)
  local day = doy - floor((153 * shifted + 2) / 5) + 1
  local month = shifted < 10 and shifted + 3 or shifted - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return ("%04d-%02d-%02dT%02d:%02d:%02d.%06d000Z"):format(year, month, day, floor(rest / 3600),
    floor(rest % 3600 / 60), rest % 60, us)
end

-- The newest `width` values as bars between 0 and their peak. Returns the text and the peak.
function format.spark(values, width, ascii)
  local bars = ascii and ASCII_EIGHTHS or EIGHTHS
  local first = math.max(1, #values - width + 1)
  local peak = 0
  for i = first, #values do
    peak = math.max(peak, values[i])
  end
  local out = {}
  for i = first, #values do
    local step = peak > 0 and math.ceil(values[i] / peak * 8) or 0
    out[#out + 1] = bars[math.min(8, math.max(1, step))]
  end
  return table.concat(out), peak
end

-- Lines of an aligned table, at most `width` columns wide. columns = { {title=, right=bool}, … }, rows =
-- lists of text. Columns that do not fit are left out from the right (never the first); their titles are the
-- second result.
function format.table(columns, rows, width)
  local widths, used, shown, hidden = {}, 0, #columns, {}
  for i, column in ipairs(columns) do
    widths[i] = format.width(column.title)
    for _, row in ipairs(rows) do
      widths[i] = math.max(widths[i], format.width(row[i] or ""))
    end
  end
  for i = 1, #columns do
    used = used + widths[i] + (i > 1 and 2 or 0)
    if used > width and i > 1 then
      shown = i - 1
      break
    end
  end
  for i = shown + 1, #columns do
    hidden[#hidden + 1] = columns[i].title
  end
  local function line(cells)
    local out = {}
    for i = 1, shown do
      out[i] = (columns[i].right and format.right or format.left)(cells[i] or "", widths[i])
    end
    return format.cut((table.concat(out, "  "):gsub(" +$", "")), width)
  end
  local titles = {}
  for i, column in ipairs(columns) do
    titles[i] = column.title
  end
  local lines = { line(titles) }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = line(row)
  end
  return lines, hidden
end

-- The key of a row as text: "10.0.0.1", "10.0.0.1 → 10.0.0.2", "10.0.0.1:80 → [2001:db8::1]:443 tcp".
function format.key(row, key_fields, arrow)
  local has, parts = {}, {}
  for _, field in ipairs(key_fields) do
    has[field] = row[field] ~= nil
  end
  local function endpoint(address, port)
    local text = format.clean(row[address])
    if not has[port] then
      return text
    end
    if text:find(":", 1, true) then
      text = "[" .. text .. "]"
    end
    return text .. ":" .. format.clean(row[port])
  end
  for _, field in ipairs(key_fields) do
    if field == "src" and has.src then
      parts[#parts + 1] = endpoint("src", "sport")
    elseif field == "dst" and has.dst then
      parts[#parts + 1] = (has.src and (arrow or "→") .. " " or "") .. endpoint("dst", "dport")
    elseif field == "proto" and has.proto then
      parts[#parts + 1] = PROTOCOLS[row.proto] or format.clean(row.proto)
    elseif not (field == "sport" and has.src or field == "dport" and has.dst) and has[field] then
      parts[#parts + 1] = field .. " " .. format.clean(row[field])
    end
  end
  return #parts > 0 and table.concat(parts, " ") or "all"
end

return format
