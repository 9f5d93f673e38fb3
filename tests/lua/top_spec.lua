-- SPDX-License-Identifier: Apache-2.0
-- The full-screen view: what stands where for a size, what keys do, and that an hour of windows holds its memory.
local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local fake = dofile(HERE .. "/fake_batch.lua")
local format = require "perilune.base.format"
local policy = require "perilune.policy"
require "perilune.records.shape"
local templates = dofile(HERE .. "/fake_templates.lua")
local top = require "perilune.show.top"
local view = require "perilune.records.view"

local START = 1795467965000000

local FIELDS = { { "src", "address", key = true }, { "packets", "uint", 8 }, { "skbs", "uint", 8 }, { "bytes", "uint", 8 } }

local function declaration()
  return assert(policy.load { name = "top", templates = templates, source = [[
    return policy "watch" { attach = { iface = "lo" }, always = { flows "by_src" { key = "src" } } }]] })
end

local function loss() return { map_full = 0, evicted = 0, ring_full = 0, not_parsed = 0, late = 0, limited = 0 } end

-- A view of a terminal of this size, and a clock; `written`: what it wrote last.
local function screen(columns, rows)
  local written, quit = "", 0
  local self = { time = START, seq = 0, size = { columns, rows } }
  self.view = top.new {
    decl = declaration(), size = function() return self.size[1], self.size[2] end, style = { utf8 = true },
    quit = function() quit = quit + 1 end,
    out = function(text)
      written = text
      return true
    end,
  }
  function self.event(name, e)
    e.event, e.time, e.policy = name, self.time, "watch"
    self.view:event(e)
  end
  function self.window(list)
    self.time, self.seq = self.time + 1e6, self.seq + 1
    local packets = 0
    for _, row in ipairs(list) do packets = packets + row.packets end
    self.event("window", { seq = self.seq, level = "base", start = self.time - 1e6, finish = self.time, seconds = 1,
      cut = "clock", packets = packets, skbs = packets, bytes = packets * 100, loss = loss() })
    local records = view.new(fake.new(FIELDS, list), { window = self.seq, seconds = 1 })
    self.view:keep({ seconds = 1 }, { rows = { by_src = records } }, function() records:close() end)
  end
  -- The lines that stand there now.
  function self.lines()
    self.view:draw(self.time)
    local lines = {}
    local text = written:gsub("^\27%[H", ""):gsub("\27%[J$", "")
    for line in (text .. "\r\n"):gmatch "(.-)\r\n" do lines[#lines + 1] = (line:gsub("\27%[[%d;?]*[A-Za-z]", "")) end
    return lines
  end
  function self.quits() return quit end
  self.event("start", { levels = { "base" }, window = 1 })
  self.event("attach", { iface = "lo", hook = "tc.ingress", mode = "tcx" })
  return self
end

local function talkers(n)
  local list = {}
  for i = 1, n do
    list[i] = { src = ("10.0.%d.%d"):format(math.floor(i / 250), i % 250), packets = i, skbs = i, bytes = 1e6 / i }
  end
  return list
end

local function find(lines, text)
  for i, line in ipairs(lines) do
    if line:find(text, 1, true) then return i, line end
  end
end

describe("the full screen", function()
  it("fills exactly the terminal, whatever its size", function()
    for _, size in ipairs { { 80, 24 }, { 200, 60 }, { 40, 12 }, { 20, 6 }, { 10, 3 } } do
      local s = screen(size[1], size[2])
      s.window(talkers(300))
      local lines = s.lines()
      assert.equal(size[2], #lines)
      for _, line in ipairs(lines) do assert.is_true(format.width(line) <= size[1], line) end
    end
  end)

  it("shows the largest first, by the field that s chooses, and the other way round", function()
    local s = screen(80, 24)
    s.window(talkers(50))
    assert.truthy(find(s.lines(), "packets/s*"))
    local at = find(s.lines(), "10.0.0.50 ")
    assert.equal(find(s.lines(), "packets/s*") + 1, at)
    s.view:keys "ss"
    assert.truthy(find(s.lines(), "bytes bit/s*"))
    assert.equal(find(s.lines(), "bytes bit/s*") + 1, find(s.lines(), "10.0.0.1 "))
    s.view:keys "r"
    assert.truthy(find(s.lines(), "bytes bit/s^"))
    assert.equal(find(s.lines(), "bytes bit/s^") + 1, find(s.lines(), "10.0.0.50 "))
  end)

  it("filters as it is typed, says what is no condition, and lets go of it", function()
    local s = screen(80, 24)
    s.window(talkers(50))
    s.view:keys "/packets > 48"
    assert.truthy(find(s.lines(), "show only: packets > 48_"))
    s.view:keys "\r"
    local lines = s.lines()
    assert.truthy(find(lines, "10.0.0.49 "))
    assert.is_nil(find(lines, "10.0.0.48 "))
    assert.truthy(find(lines, "48 do not match"))
    s.view:keys "/nonsense ==\r"
    assert.is_nil(find(s.lines(), "q quit"))
    s.view:keys "\27"
    assert.truthy(find(s.lines(), "q quit"))
    assert.truthy(find(s.lines(), "10.0.0.48 "))
  end)

  it("scrolls, holds still, and quits", function()
    local s = screen(80, 24)
    s.window(talkers(50))
    s.view:keys "\27[B\27[B"
    assert.is_nil(find(s.lines(), "10.0.0.50 "))
    assert.truthy(find(s.lines(), "10.0.0.48 "))
    s.view:keys "\27[5~ "
    s.window { { src = "192.0.2.1", packets = 9, skbs = 9, bytes = 9 } }
    assert.is_nil(find(s.lines(), "192.0.2.1"))
    s.view:keys " "
    assert.truthy(find(s.lines(), "192.0.2.1"))
    assert.equal(0, s.quits())
    s.view:keys "q"
    s.view:keys(nil)
    assert.equal(2, s.quits())
  end)

  it("says what happened, and escapes what comes from the network", function()
    local s = screen(100, 24)
    s.window(talkers(3))
    s.event("error", { message = "a name\27[31m with escapes" })
    local lines = s.lines()
    assert.truthy(find(lines, "error a name?[31m with escapes"))
    for _, line in ipairs(lines) do assert.is_nil(line:find "\27") end
  end)

  it("holds its memory through an hour of windows", function()
    local s = screen(80, 24)
    local function hour(seconds)
      for i = 1, seconds do
        s.window(talkers(20))
        if i % 10 == 0 then s.event("error", { message = "something " .. i }) end
        s.lines()
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    local early = hour(600) -- the log and the trend are full by then
    local late = hour(3000)
    assert.is_true(late < early * 1.1 + 200, ("%.0f KB after ten minutes, %.0f KB after an hour"):format(early, late))
  end)
end)
