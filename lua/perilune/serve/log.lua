-- SPDX-License-Identifier: Apache-2.0
--
-- The daemon's log: what happened, when and how bad, one line each, to standard error.
--
--   log:info("policy started", { policy = "syn-flood", seconds = 0.21 })
--
-- Text on a terminal, JSON elsewhere; for the journal, text with the level in front as it takes it from standard error
-- (sd-daemon(3)). Levels: debug info warn error. A writer that cannot be written to loses lines, and nothing else.
--
-- What policies, programs and clients say comes from anywhere: none of it ends a line, begins another or commands a
-- terminal.
local format = require "perilune.base.format"
local json = require "perilune.base.json"
local words = require "perilune.base.words"

local log = {}
local Log = {}
Log.__index = Log

log.LEVELS = { "debug", "info", "warn", "error" }
log.FORMATS = { "auto", "text", "json", "journal" }

local RANK = { debug = 1, info = 2, warn = 3, error = 4 }
local PRIORITY = { debug = 7, info = 6, warn = 4, error = 3 }

local function bare(value)
  local text = tostring(value)
  if text:find '[%s"=%c]' or text == "" then text = json.quote(text) end
  return format.clean(text)
end

local function flat(message) return format.clean((message:gsub("%s*\n%s*", " "))) end

local function pairs_of(fields)
  local out = {}
  for i, name in ipairs(words.keys(fields)) do out[i] = ("%s=%s"):format(name, bare(fields[name])) end
  return #out > 0 and "  " .. table.concat(out, " ") or ""
end

local writers = {}

function writers.text(self, level, message, fields)
  return ("%s  %-5s  %s%s\n"):format(self.clock():match "T(%d+:%d+:%d+%.%d%d%d)" or "", level, flat(message),
    pairs_of(fields))
end

function writers.journal(_, level, message, fields)
  return ("<%d>%s%s\n"):format(PRIORITY[level], flat(message), pairs_of(fields))
end

function writers.json(self, level, message, fields)
  local object = { { "time", self.clock() }, { "level", level }, { "message", message } }
  for _, name in ipairs(words.keys(fields)) do
    local value = fields[name]
    if type(value) == "table" then value = tostring(value) end
    object[#object + 1] = { name, value }
  end
  return json.encode(json.object(object)) .. "\n"
end

--- options: level (the least that is written), format (one of FORMATS), write(text), clock() → RFC 3339,
--- terminal, journal: whether standard error is one, for "auto"; fields: what every line has.
function log.new(options)
  local form = options.format or "auto"
  if form == "auto" then form = options.terminal and "text" or options.journal and "journal" or "json" end
  return setmetatable({
    least = RANK[options.level or "info"], writer = writers[form], write = options.write, clock = options.clock,
    fields = options.fields or {}, counts = { debug = 0, info = 0, warn = 0, error = 0 },
  }, Log)
end

function Log:add(level, message, fields)
  self.counts[level] = self.counts[level] + 1
  if RANK[level] < self.least then return end
  local all = {}
  for name, value in pairs(self.fields) do all[name] = value end
  for name, value in pairs(fields or {}) do all[name] = value end
  self.write(self:writer(level, message, all))
end

for _, level in ipairs(log.LEVELS) do
  Log[level] = function(self, message, fields) self:add(level, message, fields) end
end

return log
