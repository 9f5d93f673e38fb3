-- SPDX-License-Identifier: Apache-2.0
-- `w`, the closed window that a policy's own functions see: its figures, its records by probe, and measures
-- as methods.
--
--   w.seq w.start w.seconds w.level w.cut w.loss w.skew
--                                                    the window; start in seconds of the engine's clock, skew in
--                                                    seconds: how far apart its hooks ended it (0, but for code made
--                                                    for Dynmon)
--   w.to                                             the records of the probe `to` (perilune.view), while it is open
--   w:rate "to.syn", w:sum("to.syn", "dport == 53"), w:count "to", w:quantile("to.bytes", 0.99) …
--                                                    as in conditions; nil when it is not known
--   w:ago(1):rate "to.syn"                           figures of the last windows (past.lua)
--   w.state.alarms                                   what the policy's `state` declares; may be set (state.lua)
--   w.sets.victims                                   the members of a set, a list of texts
--
-- A field that does not exist is an error that names the nearest one. Functions usually run in a child that ends with
-- the window (calls.lua): w.sets are then as they were at the window's first call.
local blame = require "perilune.base.blame"
local formula = require "perilune.engine.formula"
local measurable = require "perilune.policy.measurable"
local quantile = require "perilune.records.quantile"
local words = require "perilune.base.words"

local window = {}

local KINDS = { "rate", "sum", "mean", "min", "max", "distinct", "entropy", "quantile", "count", "share" }

-- A probe that runs at no level is a mistake; one that does not run at this level was not observed.
local function observed(sample, probe)
  local runs = sample.observed[probe]
  if runs == nil then
    blame.fail("there is no probe %s (%s)", tostring(probe), words.suggest(probe, words.keys(sample.observed)))
  end
  return runs
end

local function split(path)
  local probe, field = tostring(path):match "^([^.]+)%.(.+)$"
  if not probe then blame.fail('"%s" is not "probe.field"', tostring(path)) end
  return probe, field
end

-- A measure as resolve.lua makes it of a condition's, but for what only conditions need.
local function node_of(context, kind, path, where, q)
  local probe, field = path, nil
  if kind ~= "count" then probe, field = split(path) end
  if not observed(context.sample, probe) then return nil end
  if where ~= nil and type(where) ~= "string" then blame.fail("%s: expected a condition as text", kind) end
  local declared = context.probes[probe]
  if measurable.needs_rows(declared, kind, field) and not declared.manifest.rows then
    blame.fail("%s has no rows, so there is no %s of them", probe, kind)
  end
  local unit, about, remedy = measurable.look(declared, kind, field)
  if not unit then blame.fail("%s (%s)", about, remedy) end
  local node = { kind = kind, probe = probe, field = field, where = where, q = q }
  for key, value in pairs(about) do node[key] = value end
  return node
end

local function value_of(context, node)
  local sample, slots = context.sample, formula.slots()
  local get = formula.compile(node, { slots = slots })
  if node.kind == "rate" and sample.seconds <= 0 then return 0 end
  local read = { observed = sample.observed, total = sample.total, rows = sample.rows, figure = sample.measure }
  local value = get(nil, { totals = slots:read(read), seconds = sample.seconds })
  if value == value then return value end
end

local function measured(context, kind, path, more, where)
  if kind == "share" then
    local left, right = node_of(context, "sum", path), node_of(context, "sum", more)
    return left and right and value_of(context, { kind = "share", left = left, right = right })
  end
  local q
  if kind == "quantile" then q = quantile.share(more) else where = more end
  local node = node_of(context, kind, path, where, q)
  return node and value_of(context, node)
end

local methods = {}
for _, kind in ipairs(KINDS) do
  methods[kind] = function(context, ...) return (measured(context, kind, ...)) end
end

local function members(decider)
  local out = {}
  for name, list in pairs(decider:sets()) do
    out[name] = {}
    for i, member in ipairs(list) do out[name][i] = member.member end
  end
  return out
end

local function by_name(probes)
  local map = {}
  for _, probe in ipairs(probes) do map[probe.name] = probe end
  return map
end

--- `closed`: the engine's window; `views`: by probe; `sample`: as decide gets it; `about`: decider (for its sets),
--- probes (as declared), state, past (or nil).
function window.new(closed, views, sample, about)
  local context = { sample = sample, probes = by_name(about.probes) }
  local plain = {
    seq = closed.seq, start = closed.mono, seconds = closed.seconds, level = closed.level.name, cut = closed.cut,
    loss = closed.loss, skew = closed.skew,
  }
  local known = { "seq", "start", "seconds", "level", "cut", "loss", "skew", "sets", "state", "ago", unpack(KINDS) }
  for name in pairs(views) do known[#known + 1] = name end
  return setmetatable({}, {
    __index = function(_, name)
      if plain[name] ~= nil then return plain[name] end
      if name == "state" and about.state then return about.state:proxy() end
      if name == "ago" and about.past then
        return function(_, n) return about.past:ago(n) end
      end
      if name == "sets" then return members(about.decider) end
      if methods[name] then
        return function(_, ...) return methods[name](context, ...) end
      end
      if views[name] then return views[name] end
      blame.fail("a window has no %s (%s)", tostring(name), words.suggest(name, known))
    end,
    __newindex = function() blame.fail "a window cannot be changed" end,
    __metatable = false,
  })
end

return window
