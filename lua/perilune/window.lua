-- SPDX-License-Identifier: Apache-2.0
-- `w`, the closed window that a policy's own functions see: its figures, its records by probe, and measures
-- as methods.
--
--   w.seq w.start w.seconds w.level w.cut w.loss     the window; start in seconds of the engine's clock
--   w.to                                             the records of the probe `to` (perilune.view), while it is open
--   w:rate "to.syn", w:sum "to.syn", w:count "to"    as in conditions
--   w.sets.victims                                   the members of a set, a list of texts
--
-- A field that does not exist is an error that names the nearest one. Functions usually run in a child that ends with
-- the window (calls.lua): w.sets are then as they were at the window's first call.
local blame = require "perilune.blame"
local words = require "perilune.words"

local window = {}

-- A probe that runs at no level is a mistake; one that does not run at this level was not observed.
local function observed(sample, probe)
  local runs = sample.observed[probe]
  if runs == nil then
    blame.fail("there is no probe %s (%s)", tostring(probe), words.suggest(probe, words.keys(sample.observed)))
  end
  return runs
end

local methods = {}

local function sum(sample, path)
  local probe, field = tostring(path):match "^([^.]+)%.(.+)$"
  if not probe then blame.fail('"%s" is not "probe.field"', tostring(path)) end
  return observed(sample, probe) and sample.total(probe, field) or nil
end

methods.sum = sum

function methods.rate(sample, path)
  local total = sum(sample, path)
  return total and (sample.seconds > 0 and total / sample.seconds or 0)
end

function methods.count(sample, probe)
  return observed(sample, probe) and sample.rows(probe) or nil
end

local function members(decider)
  local out = {}
  for name, list in pairs(decider:sets()) do
    out[name] = {}
    for i, member in ipairs(list) do out[name][i] = member.member end
  end
  return out
end

--- `closed`: the engine's window; `views`: by probe; `sample`: as decide gets it; `decider`: for its sets.
function window.new(closed, views, sample, decider)
  local plain = {
    seq = closed.seq, start = closed.mono, seconds = closed.seconds, level = closed.level.name, cut = closed.cut,
    loss = closed.loss,
  }
  local known = { "seq", "start", "seconds", "level", "cut", "loss", "sets", "rate", "sum", "count" }
  for name in pairs(views) do known[#known + 1] = name end
  return setmetatable({}, {
    __index = function(_, name)
      if plain[name] ~= nil then return plain[name] end
      if name == "sets" then return members(decider) end
      if methods[name] then
        return function(_, path) return methods[name](sample, path) end
      end
      if views[name] then return views[name] end
      blame.fail("a window has no %s (%s)", tostring(name), words.suggest(name, known))
    end,
    __newindex = function() blame.fail "a window cannot be changed" end,
    __metatable = false,
  })
end

return window
