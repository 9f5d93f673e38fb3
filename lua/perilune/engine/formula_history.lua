-- SPDX-License-Identifier: Apache-2.0
--
-- Measures that look back, as closures (formula.lua), over the series of history.lua.
--
--   m:over "1m"        of the windows of the last minute together: sums are added up, a rate is their sum by all their
--                      seconds; mean and share are quotients of such sums; min and max are those of all windows;
--                      distinct counts every value once; count counts the records of all windows, and a quantile is
--                      theirs, or that of the histograms added up; entropy is that of weights added up: of a key's
--                      field by its values, of an amount by the record's key (sliding_parts.lua)
--   m:ewma "30s"       exponentially weighted; mean and share are quotients of weighted sums, others are weighted as
--                      they are; a sum is what a window as long as this one would have
--   m:baseline "7d"    the mean that was learnt; m:spread "7d": its standard deviation; m:deviation "7d": by how many
--                      spreads the figure is above the mean
--
-- All of + - * / are taken of what looks back: (a / b):over "1m" is a:over "1m" / b:over "1m".

local entropy = require "perilune.records.entropy"
local histogram = require "perilune.records.histogram"
local quantile = require "perilune.records.quantile"

local NAN = 0 / 0
local FARTHEST = 1e6 -- spreads from the mean; a number, so that every log can hold it

local function divide(a, b)
  return b == 0 and 0 or a / b
end

-- tools: compile(node, context), reader(probe, column, context), column_of(node, kind).
return function(measures, tools)
  local compile, column_of = tools.compile, tools.column_of

  local function probes_of(node, into)
    into = into or {}
    if node.probe then into[node.probe] = true end
    for _, part in ipairs { "left", "right", "of" } do
      if node[part] then probes_of(node[part], into) end
    end
    return into
  end

  -- What history.lua is to know of a series over `node`.
  local function spec_of(node, what, context, get)
    local list, per = {}, context.per
    local used = probes_of(node)
    for probe in pairs(used) do list[#list + 1] = probe end
    return {
      rule = context.rule, what = what, node = node, probes = list, get = get, by = per and per.field,
      keyed = per ~= nil and used[per.probe] or false,
    }
  end

  local function value_of(series, spec)
    if not spec.keyed then return function() return series:value("") end end
    return function(_, env) return series:value(env.raw) end
  end

  -- Applies `leaf` to the measures that an expression is made of.
  local function distribute(node, context, leaf)
    if node.kind == "number" then return compile(node, context) end
    if node.kind ~= "op" and node.kind ~= "share" then return leaf(node) end
    local left, right = distribute(node.left, context, leaf), distribute(node.right, context, leaf)
    local op = node.kind == "share" and "/" or node.op
    if op == "+" then return function(row, env) return left(row, env) + right(row, env) end end
    if op == "-" then return function(row, env) return left(row, env) - right(row, env) end end
    if op == "*" then return function(row, env) return left(row, env) * right(row, env) end end
    return function(row, env) return divide(left(row, env), right(row, env)) end
  end

  local function sum_reader(node, context, kind)
    return tools.reader(node.probe, column_of(node, kind), context)
  end

  -- The sliding sum of a column, and its series.
  local function sliding_sum(node, context, kind, span)
    local read = sum_reader(node, context, kind)
    local spec = spec_of(node, ("%s of %s over %g"):format(kind, node.text, span), context, read)
    local series = context.history:over(spec, "sum", span)
    return value_of(series, spec), series
  end

  local OVER = {}

  function OVER.rate(node, context, span)
    local sum, series = sliding_sum(node, context, "sum", span)
    local scale = node.scale or 1
    return function(row, env) return divide(sum(row, env) * scale, series.seconds) end
  end

  function OVER.sum(node, context, span)
    local sum, scale = sliding_sum(node, context, "sum", span), node.scale or 1
    return function(row, env) return sum(row, env) * scale end
  end

  function OVER.count(node, context, span) return (sliding_sum(node, context, "count", span)) end

  function OVER.mean(node, context, span)
    local sum, rows = sliding_sum(node, context, "sum", span), sliding_sum(node, context, "count", span)
    local scale = node.scale or 1
    return function(row, env) return divide(sum(row, env) * scale, rows(row, env)) end
  end

  local function extreme(node, context, span)
    local spec = spec_of(node, ("%s over %g"):format(node.text, span), context, compile(node, context))
    return value_of(context.history:over(spec, node.kind, span), spec)
  end

  OVER.min, OVER.max = extreme, extreme

  function OVER.distinct(node, context, span)
    local spec = spec_of(node, ("%s over %g"):format(node.text, span), context)
    spec.column = { probe = node.probe, field = node.field, where = node.where, kind = "distinct", name = spec.what }
    return value_of(context.history:over(spec, "union", span), spec)
  end

  -- figure(weights of the parts) of all windows; what lacked room is not known.
  local function of_parts(node, context, span, figure)
    local spec, column = spec_of(node, ("%s over %g"):format(node.text, span), context), column_of(node)
    column.probe = node.probe
    spec.column = column
    local series, keyed = context.history:parts(spec, span), spec.keyed
    return function(_, env)
      local weights = series:of(keyed and env.raw or "")
      if not weights then return NAN end
      return figure(weights)
    end
  end

  function OVER.quantile(node, context, span)
    local scale, classes, q = node.scale or 1, node.classes, node.q
    return of_parts(node, context, span, function(weights)
      local value = classes and histogram.of_weights(weights, classes.first, q) or quantile.weighted(weights, q)
      return value == value and value * scale or 0
    end)
  end

  function OVER.entropy(node, context, span) return of_parts(node, context, span, entropy.values) end

  function measures.over(node, context)
    return distribute(node.of, context, function(leaf) return OVER[leaf.kind](leaf, context, node.seconds) end)
  end

  -- The weighted mean of a column's density: its amount per second.
  local function density(node, context, kind, constant)
    local spec = spec_of(node, ("%s of %s ewma %g"):format(kind, node.text, constant), context,
      sum_reader(node, context, kind))
    return value_of(context.history:ewma(spec, constant, true), spec)
  end

  local EWMA = {}

  function EWMA.rate(node, context, constant)
    local mean, scale = density(node, context, "sum", constant), node.scale or 1
    return function(row, env) return mean(row, env) * scale end
  end

  function EWMA.sum(node, context, constant)
    local mean, scale = density(node, context, "sum", constant), node.scale or 1
    return function(row, env) return mean(row, env) * scale * env.seconds end
  end

  function EWMA.mean(node, context, constant)
    local sum, rows = density(node, context, "sum", constant), density(node, context, "count", constant)
    local scale = node.scale or 1
    return function(row, env) return divide(sum(row, env) * scale, rows(row, env)) end
  end

  local function weighted(node, context, constant)
    local spec = spec_of(node, ("%s ewma %g"):format(node.text, constant), context, compile(node, context))
    return value_of(context.history:ewma(spec, constant, false), spec)
  end

  function measures.ewma(node, context)
    if node.of.kind == "over" then return weighted(node.of, context, node.seconds) end
    return distribute(node.of, context, function(leaf)
      return (EWMA[leaf.kind] or weighted)(leaf, context, node.seconds)
    end)
  end

  -- A sum depends on how long a window is: what is learnt of it is its rate.
  local function learnt(node, context)
    local of, per_window = node.of, false
    if of.kind == "sum" then
      of, per_window = setmetatable({ kind = "rate" }, { __index = node.of }), true
    end
    local get = compile(of, context)
    local what = ("%s baseline %g%s"):format(of.text, node.seconds, node.hours and " by hour" or "")
    local spec = spec_of(of, what, context, get)
    local series = context.history:baseline(spec, { period = node.seconds, warmup = node.warmup, hours = node.hours })
    local keyed = spec.keyed
    return get, function(env)
      local mean, spread = series:value(keyed and env.raw or "", env.wall)
      if per_window then return mean * env.seconds, spread * env.seconds end
      return mean, spread
    end, per_window
  end

  function measures.baseline(node, context)
    local _, known = learnt(node, context)
    return function(_, env) return (known(env)) end
  end

  function measures.spread(node, context)
    local _, known = learnt(node, context)
    return function(_, env) return (select(2, known(env))) end
  end

  function measures.deviation(node, context)
    local get, known, per_window = learnt(node, context)
    return function(row, env)
      local mean, spread = known(env)
      local above = get(row, env) * (per_window and env.seconds or 1) - mean
      if above == 0 then return 0 end
      return math.max(-FARTHEST, math.min(FARTHEST, above / spread)) -- of what never changed, anything is far
    end
  end
end
