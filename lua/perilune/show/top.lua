-- SPDX-License-Identifier: Apache-2.0
--
-- The full-screen view of a run: a sink that keeps a model of the events, looks into each window's records as a person
-- has chosen (probe, sort, filter), and draws the screen once a second, and at once after a key.
--
-- The alternate screen is used, so what was on the terminal before is there again afterwards; when it has ended, the
-- last lines (what was detached, the totals) are written as plain lines.
local event_model = require "perilune.show.screen_model"
local output = require "perilune.base.output"
local renderer = require "perilune.show.top_render"
local sink_text = require "perilune.show.sink_text"
local template = require "perilune.probe.template"

local top = {}
top.__index = top

local MOST_ROWS, MOST_LOG, PAGE = 500, 200, 10
local ENTER, LEAVE = "\27[?1049h\27[?25l\27[?7l", "\27[?7h\27[?25h\27[?1049l"

local LOGGED = { transition = "bold", error = "red", action = "dim", attach = "dim", detach = "dim", budget = "yellow",
  reload = "dim" }

--- options: decl, size = function → columns, rows; style = { color, utf8 }; quit = function(): a key asked for the end;
--- out (what output.new takes).
function top.new(options)
  local self = setmetatable({
    decl = options.decl, size = options.size, style = options.style, quit = options.quit, out = output.new(options.out),
    m = event_model.new(), ui = { log = {}, offset = 0 }, ended = {},
  }, top)
  self.out:write(ENTER)
  return self
end

-- What of a probe's record is a column, without its key.
local function columns_of(probe)
  local in_key, columns = {}, {}
  for _, name in ipairs(probe.key or {}) do in_key[name] = true end
  for _, field in ipairs(template.fields(probe.manifest, probe.key, probe.features)) do
    if not in_key[field.name] and field.name ~= "ip_version" then columns[#columns + 1] = field end
  end
  return columns
end

local function sortable(probe)
  local names = {}
  for _, field in ipairs(columns_of(probe)) do
    if not field.list and field.unit ~= "name" and field.unit ~= "address" then names[#names + 1] = field.name end
  end
  return names
end

-- Probes whose records are rows, the deepest last; the one that is shown.
function top:probes()
  local list = {}
  for _, probe in ipairs(self.decl.probes) do
    if self.kept and self.kept[probe.name] and probe.manifest.rows then list[#list + 1] = probe end
  end
  return list
end

function top:chosen()
  local list = self:probes()
  for _, probe in ipairs(list) do
    if probe.name == self.ui.probe then return probe end
  end
  return list[#list]
end

-- How many rows to take of a window: what can be seen of them, or all when it is held still and may be scrolled in.
function top:reach()
  if self.ui.held then return MOST_ROWS end
  local _, height = self.size()
  return math.min(MOST_ROWS, self.ui.offset + (height or 24))
end

-- The rows to be shown of the window whose views are open.
function top:look()
  local ui, probe = self.ui, self:chosen()
  if not probe then
    ui.rows = nil
    return
  end
  local fields = sortable(probe)
  local known = false
  for _, name in ipairs(fields) do known = known or name == ui.sort end
  if not known then ui.sort = fields[1] end
  local rows = self.kept[probe.name]
  local total = rows:count()
  if ui.filter then
    local ok, matching = pcall(rows.where, rows, ui.filter)
    if ok then
      rows, ui.problem = matching, nil
    else
      ui.problem = tostring(matching):gsub("^.-:%d+: ", "")
    end
  end
  local matching = rows:count()
  if ui.sort then
    rows = ui.ascending and rows:sort(ui.sort, "ascending") or rows:top(self:reach(), ui.sort)
  end
  ui.rows = { probe = probe.name, key = probe.key or {}, fields = columns_of(probe), rows = rows:copy(self:reach()),
    matching = matching, total = total, seconds = self.seconds }
end

--- The engine leaves a window's views to us, until the next one.
function top:keep(closed, views, close)
  if self.release then self.release() end
  self.kept, self.seconds = views.rows, closed.seconds
  self.release = function()
    self.kept = nil
    close(views)
  end
  if not self.ui.held then self:look() end
end

function top:event(e)
  event_model.apply(self.m, e)
  if e.event == "window" then self.ui.cost = e.cost or self.ui.cost end
  if e.event == "budget" then self.ui.budget = sink_text.lines(e, {})[1]:gsub("^%S+%s+", "") end
  if LOGGED[e.event] then
    for _, line in ipairs(sink_text.lines(e, {})) do
      self.ui.log[#self.ui.log + 1] = { text = line, colour = LOGGED[e.event] }
      if #self.ui.log > MOST_LOG then table.remove(self.ui.log, 1) end
    end
  end
  if e.event == "detach" or e.event == "summary" or e.event == "error" then
    for _, line in ipairs(sink_text.lines(e, { told = true })) do self.ended[#self.ended + 1] = line end
    if #self.ended > MOST_LOG then table.remove(self.ended, 1) end
  end
  return self.out:write ""
end

function top:status(text)
  self.ui.log[#self.ui.log + 1] = { text = text, colour = "dim" }
  return self:draw()
end

--- Draws the screen anew. wall: µs since the epoch, for what ages by itself.
function top:draw(wall)
  if self.closed then return true end
  local width, height = self.size()
  width, height = width or 80, height or 24
  if wall then self.m.now = math.max(self.m.now or 0, wall) end
  self.m.now = self.m.now or 0
  local lines = renderer.lines(self.m, self.ui, width, height, self.style)
  for i, line in ipairs(lines) do lines[i] = "\27[2K" .. line end
  return self.out:write("\27[H" .. table.concat(lines, "\r\n") .. "\27[J")
end

local function step(list, current, by)
  for i, name in ipairs(list) do
    if name == current then return list[(i - 1 + by) % #list + 1] end
  end
  return list[1]
end

local keys = {}

function keys.q(self) self.quit() end
keys["\4"] = keys.q
function keys.r(self) self.ui.ascending = not self.ui.ascending end
function keys.p(self)
  local names = {}
  for i, probe in ipairs(self:probes()) do names[i] = probe.name end
  local chosen = self:chosen()
  self.ui.probe, self.ui.offset, self.ui.sort = step(names, chosen and chosen.name, 1), 0, nil
end
function keys.s(self)
  local probe = self:chosen()
  if probe then self.ui.sort = step(sortable(probe), self.ui.sort, 1) end
end
function keys.S(self)
  local probe = self:chosen()
  if probe then self.ui.sort = step(sortable(probe), self.ui.sort, -1) end
end
keys[" "] = function(self)
  self.ui.held = not self.ui.held
  if self.ui.held and self.kept then self:look() end
end
keys["?"] = function(self) self.ui.help = not self.ui.help end
keys["/"] = function(self) self.ui.typing = self.ui.filter or "" end
keys["\27"] = function(self) self.ui.filter, self.ui.problem, self.ui.help = nil, nil, nil end

local function scroll(by)
  return function(self)
    local most = self.ui.rows and math.min(MOST_ROWS, self.ui.rows.matching) - 1 or 0
    self.ui.offset = math.max(0, math.min(most, self.ui.offset + by))
  end
end
keys["\27[A"], keys["\27OA"], keys.k = scroll(-1), scroll(-1), scroll(-1)
keys["\27[B"], keys["\27OB"], keys.j = scroll(1), scroll(1), scroll(1)
keys["\27[5~"], keys["\27[6~"] = scroll(-PAGE), scroll(PAGE)

-- A key while the filter is typed.
function top:type(key)
  local ui = self.ui
  if key == "\r" or key == "\n" then
    ui.filter, ui.problem, ui.offset = ui.typing:find "%S" and ui.typing or nil, nil, 0
    ui.typing = nil
  elseif key == "\27" then
    ui.typing = nil
  elseif key == "\127" or key == "\b" then
    ui.typing = ui.typing:gsub("[%z\1-\127\194-\244][\128-\191]*$", "")
  elseif key == "\21" then
    ui.typing = ""
  elseif not key:find "%c" and #ui.typing < 200 then
    ui.typing = ui.typing .. key
  end
end

-- The keys in what was read: escape sequences, else characters.
local function split(bytes)
  local list, at = {}, 1
  while at <= #bytes do
    local key = bytes:match("^\27[%[O][%d;]*[@-~]", at) or bytes:match("^[%z\1-\127\194-\244][\128-\191]*", at)
      or bytes:sub(at, at)
    list[#list + 1], at = key, at + #key
  end
  return list
end

--- What was typed; nil: the terminal is gone.
function top:keys(bytes)
  if not bytes then return self.quit() end
  for _, key in ipairs(split(bytes)) do
    if self.ui.typing then
      self:type(key)
    elseif keys[key] then
      keys[key](self)
    end
  end
  if self.kept and not self.ui.held then self:look() end
  self:draw()
end

--- The screen as it was before, then what the end was.
function top:close()
  if self.closed then return self.out:write "" end
  self.closed = true
  if self.release then self.release() end
  self.release = nil
  local tail = #self.ended > 0 and table.concat(self.ended, "\n") .. "\n" or ""
  return self.out:write(LEAVE .. tail)
end

return top
