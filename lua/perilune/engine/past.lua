-- SPDX-License-Identifier: Apache-2.0
--
-- The last windows' figures, for w:ago(n) of a policy's functions: how long each was, and of each probe that ran the
-- number of its rows and the sums of its amounts. Records themselves end with their window.
--
--   w:ago(1).seconds   w:ago(1):rate "to.syn"   w:ago(3):sum "to.bytes"   w:ago(1):count "to"
--
-- nil where there was no such window yet, or its probe did not run in it. Bounded: `history = 16` in the policy says
-- how many are kept.

local blame = require "perilune.base.blame"
local figures = require "perilune.engine.figures"
local words = require "perilune.base.words"

local past = {}
local Past = {}
Past.__index = Past

local FIELDS = { "seq", "start", "seconds", "level", "cut", "loss", "skew" }

function past.new(most)
  return setmetatable({ most = most, list = {}, n = 0 }, Past)
end

--- A window that is over: the engine's, and its views by probe.
function Past:add(closed, rows)
  if self.most == 0 then return end
  local one = { level = closed.level.name, start = closed.mono, sums = {}, rows = {} }
  for _, name in ipairs { "seq", "seconds", "cut", "loss", "skew" } do one[name] = closed[name] end
  for _, probe in ipairs(closed.level.probes) do
    if rows[probe] then
      one.rows[probe], one.sums[probe] = rows[probe]:count(), figures.sums(rows[probe])
    end
  end
  self.n = self.n + 1
  self.list[self.n % self.most] = one
end

--- Goes on with the windows that another declaration's has kept, of probes that mean the same (a set of names).
function Past:inherit(old, probes)
  for back = math.min(self.most, old.most, old.n), 1, -1 do
    local before, one = old.list[(old.n - back + 1) % old.most], {}
    for name, value in pairs(before) do one[name] = value end
    one.rows, one.sums = {}, {}
    for probe in pairs(before.rows) do
      if probes[probe] then one.rows[probe], one.sums[probe] = before.rows[probe], before.sums[probe] end
    end
    self.n = self.n + 1
    self.list[self.n % self.most] = one
  end
end

local function split(path)
  local probe, field = tostring(path):match "^([^.]+)%.(.+)$"
  if not probe then blame.fail('"%s" is not "probe.field"', tostring(path)) end
  return probe, field
end

local methods = {}

function methods.sum(one, path)
  local probe, field = split(path)
  local sums = one.sums[probe]
  if not sums then return nil end
  if sums[field] == nil then
    blame.fail('a window of the past has no sum of "%s" (%s)', path, words.suggest(field, words.keys(sums)))
  end
  return sums[field]
end

function methods.rate(one, path)
  local sum = methods.sum(one, path)
  return sum and (one.seconds > 0 and sum / one.seconds or 0)
end

function methods.count(one, probe) return one.rows[probe] end

--- The window `n` before the one that is being judged; 1 is the last one. nil when there is none (yet).
function Past:ago(n)
  if type(n) ~= "number" or n < 1 or n % 1 ~= 0 then
    blame.fail("ago: how many windows? %s is no count", tostring(n))
  end
  if n > self.most then
    blame.fail("ago(%d): %d windows are kept (write history = %d in the policy)", n, self.most, n)
  end
  local one = n <= self.n and self.list[(self.n - n + 1) % self.most]
  if not one then return nil end
  return setmetatable({}, {
    __index = function(_, name)
      if methods[name] then return function(_, ...) return methods[name](one, ...) end end
      for _, field in ipairs(FIELDS) do
        if field == name then return one[name] end
      end
      blame.fail("a window of the past has no %s (%s)", tostring(name),
        words.suggest(tostring(name), { "sum", "rate", "count", unpack(FIELDS) }))
    end,
    __newindex = function() blame.fail "a window cannot be changed" end,
    __metatable = false,
  })
end

return past
