-- SPDX-License-Identifier: Apache-2.0
-- The live view of a run on a terminal.
--
-- Three parts meet here: a model fed by events, a renderer that makes lines of a model and a size, and this
-- writer, which keeps those lines as a block below what has scrolled, redrawn in place. What is worth keeping
-- (attached, changes of level, errors, the end) scrolls above the block for good. The cursor is neither
-- hidden nor saved and the keyboard is left alone, so that nothing needs repair after a crash.
local event_model = require "perilune.show.screen_model"
local format = require "perilune.base.format"
local output = require "perilune.base.output"
local renderer = require "perilune.show.screen_render"
local sink_text = require "perilune.show.sink_text"

-- wants_top: the window events are to bring the first rows of their probes and the members of the sets.
local screen = { wants_top = true, render = renderer.lines, model = event_model.new,
  apply = event_model.apply }
screen.__index = screen

-- Seconds between two redraws; what is to be kept has a rhythm of its own, not to wait for the next window.
local REDRAW = 0.2
-- Most permanent lines between two redraws.
local BURST = 20

-- Events that scroll above the block for good, with their colours.
local KEPT = {
  attach = "dim", detach = "dim", transition = "bold", budget = "bold", emit = "dim", error = "red", summary = "bold",
}

-- The terminal's rows that `lines` take at this width: a terminal that has become narrower has wrapped them.
local function rows_of(widths, width)
  local rows = 0
  for _, w in ipairs(widths) do
    rows = rows + math.max(1, math.ceil(w / width))
  end
  return rows
end

local clean = format.clean

local function utf8_locale(env)
  local locale = env "LC_ALL"
  for _, name in ipairs { "LC_CTYPE", "LANG" } do
    locale = locale and locale ~= "" and locale or env(name)
  end
  return (locale or ""):upper():find("UTF%-?8") ~= nil
end

screen.utf8 = utf8_locale

-- opts, all optional: out (what output.new takes), size (function → columns, rows), now (function → seconds,
-- monotonic; without it the events' times stand in), env (function(name) → text), utc. On a dumb terminal
-- this is a sink_text.
function screen.new(opts)
  opts = opts or {}
  local env = opts.env or os.getenv
  local term = env "TERM"
  if not term or term == "" or term == "dumb" then
    return sink_text.new(opts)
  end
  local no_color = env "NO_COLOR"
  return setmetatable({
    out = output.new(opts.out or 1),
    size = opts.size or function()
      return require("perilune.core.term").size(1)
    end,
    now = opts.now,
    opts = { utc = opts.utc },
    style = { color = not no_color or no_color == "", utf8 = utf8_locale(env) },
    m = screen.model(),
    widths = {},   -- of the lines of the block that stands
    waiting = {},  -- permanent lines not yet written
    skipped = 0,
  }, screen)
end

function screen:paint_kept(line, colour)
  if not self.style.utf8 then
    line = renderer.ascii(line)
  end
  return self.style.color and colour and ("\27[%sm%s\27[0m"):format(renderer.SGR[colour], line) or line
end

-- What is said once (errors, the end) is never left out.
function screen:keep(lines, colour, always)
  for _, line in ipairs(lines) do
    if always or #self.waiting < BURST then
      self.waiting[#self.waiting + 1] = self:paint_kept(line, colour)
    else
      self.skipped = self.skipped + 1
    end
  end
end

-- Takes the block away, writes the permanent lines that wait, and draws the block again if it is wanted.
function screen:draw(time, block)
  local width, height = self.size()
  width, height = width or 80, height or 24
  local parts = {}
  local up = math.min(rows_of(self.widths, width), height - 1)
  if up > 0 then
    parts[1] = ("\27[%dA"):format(up)
  end
  parts[#parts + 1] = "\r\27[J"
  for _, line in ipairs(self.waiting) do
    parts[#parts + 1] = line .. "\r\n"
  end
  if self.skipped > 0 then
    local text = ("… %d lines more, too many to show"):format(self.skipped)
    parts[#parts + 1] = self:paint_kept(text, "red") .. "\r\n"
  end
  self.waiting, self.skipped, self.widths = {}, 0, {}
  if block then
    for i, line in ipairs(screen.render(self.m, width, height, self.style)) do
      parts[#parts + 1] = line .. "\r\n"
      self.widths[i] = format.width((line:gsub("\27%[[%d;]*m", "")))
    end
  end
  self.drawn = time
  return self.out:write(table.concat(parts))
end

-- The clock for redraws: any that moves forward. wall: µs since the epoch.
function screen:clock(wall)
  return self.now and self.now() or wall / 1e6
end

local function recently(last, time)
  return last and time >= last and time - last < REDRAW
end

function screen:event(e)
  screen.apply(self.m, e)
  local kept = KEPT[e.event] or e.event == "action" and e.act ~= "add" and "dim"
  if kept then
    self:keep(sink_text.lines(e, self.opts), kept, e.event == "summary" or e.event == "error")
  end
  self.opts.told = self.opts.told or e.event == "detach"
  if e.event == "summary" then
    self.ended = true
    return self:draw(self:clock(e.time), false)
  end
  local time = self:clock(e.time)
  if recently(kept and self.drawn_kept or not kept and self.drawn, time) then
    return self.out:write ""
  end
  self.drawn_kept = kept and time or self.drawn_kept
  return self:draw(time, self.m.started ~= nil and not self.ended)
end

-- Draws what has been held back, and lets the times go on between windows: for a timer, if the engine has one
-- to spare. wall: µs since the epoch.
function screen:tick(wall)
  if not self.m.started or self.ended then
    return true
  end
  self.m.now = math.max(self.m.now, wall)
  local time = self:clock(wall)
  if #self.waiting == 0 and self.skipped == 0 and recently(self.drawn, time) then
    return self.out:write ""
  end
  return self:draw(time, true)
end

-- Progress: a line that stays, at once.
function screen:status(text)
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do
    self:keep({ clean(line) }, "dim")
  end
  return self:draw(self.drawn or 0, self.m.started ~= nil and not self.ended)
end

-- The block goes, so that what follows stands below what has scrolled.
function screen:close()
  if #self.widths > 0 or #self.waiting > 0 or self.skipped > 0 then
    return self:draw(self.drawn or 0, false)
  end
  return self.out:write ""
end

return screen
