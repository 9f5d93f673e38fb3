-- SPDX-License-Identifier: Apache-2.0
-- What happened and when, as plain lines: as sink_text.lua, without the windows. How long a level lasted, and what it
-- saw, is said when it is left.
local format = require "perilune.base.format"
local output = require "perilune.base.output"
local sink_text = require "perilune.show.sink_text"

local sink = {}
sink.__index = sink

local count = format.count

local function nothing() return { windows = 0, seconds = 0, packets = 0 } end

-- opts: out (what output.new takes; standard output by default), utc.
function sink.new(opts)
  opts = opts or {}
  return setmetatable({ out = output.new(opts.out or 1), opts = { utc = opts.utc }, since = nothing() }, sink)
end

function sink:write(lines) return self.out:write(table.concat(lines, "\n") .. "\n") end

-- "    after 3.1 s at calm: 4 windows, 420 packets"
function sink:stretch(level, after)
  local since = after or self.since
  self.since = nothing()
  return ("    after %s at %s: %s window%s, %s packet%s"):format(format.duration(since.seconds), format.clean(level),
    count(since.windows), since.windows == 1 and "" or "s", count(since.packets), since.packets == 1 and "" or "s")
end

function sink:event(e)
  if e.event == "window" then
    local since = self.since
    since.windows, since.seconds = since.windows + 1, since.seconds + e.seconds
    since.packets = since.packets + e.packets
    return true
  end
  local lines = sink_text.lines(e, self.opts)
  if e.event == "start" then lines[1] = lines[1] .. "  " .. os.date(self.opts.utc and "!%F" or "%F", e.time / 1e6) end
  if e.event == "transition" then lines[#lines + 1] = self:stretch(e.from, e.after) end
  return self:write(lines)
end

function sink:status(text) return self:write { format.clean(text) } end

function sink:close() return self.out:close() end

return sink
