-- SPDX-License-Identifier: Apache-2.0
--
-- Conditions as data, made ready to be asked thousands of times a window: each node becomes one closure,
-- built once.
--
-- A compiled condition has two faces:
--   test(row, env, instance)  → NO, SOON (true but not yet for long enough) or YES
--   say(row, env, how)        → why it holds ("yes"), does not ("no"), or does but not for long enough yet
--     ("soon"), in words
-- `row` holds the sums of the rule's own key, `env` what is the same for all keys of this window:
--   env.seconds, env.start, env.finish, env.totals[slot] (see formula.slots), env.call(fn, node) → truth of a
--     policy's function.
-- `instance.since[i]` remembers since when the inner condition of the i-th `lasting` holds.
--
-- What a test reads (both sides of comparisons, truths of functions), in the order in which they are written, are its
-- inputs. A condition can be made of recorded inputs too (audit/condition.lua):
-- env.recorded[rule's name][raw key][slot].

local formula = require "perilune.engine.formula"
local units = require "perilune.base.units"

local evaluate = {}

local NO, SOON, YES = 0, 1, 2
evaluate.NO, evaluate.SOON, evaluate.YES = NO, SOON, YES

-- Window times are sums of doubles: ten windows of 100 ms last a second, whatever the last digit says.
local EPSILON = 1e-6

local compile

-- The measures whose values are worth reporting: those that read a probe, and what is compared.
local function note_values(node, context, get)
  if node.kind == "number" then return end
  context.values[#context.values + 1] = { text = node.text, get = get or formula.compile(node, context) }
  if node.kind == "op" then
    note_values(node.left, context)
    note_values(node.right, context)
  end
end

local CONDITIONS = {}

-- What a record holds for this rule and key.
local function recorded(slot)
  return function(_, env)
    local of_rule = env.recorded[env.rule.name]
    local inputs = of_rule and of_rule[env.raw]
    return inputs and inputs[slot]
  end
end

local NOTHING = 0 / 0 -- neither above nor below anything

-- One side of a comparison.
local function side(node, context)
  local get
  if node.kind == "recorded" then
    local read = recorded(node.slot)
    get = function(row, env) return read(row, env) or NOTHING end
  else
    get = formula.compile(node, context)
  end
  if node.kind ~= "number" then context.inputs[#context.inputs + 1] = get end
  return get
end

function CONDITIONS.recorded(node)
  local truth, says = recorded(node.slot), node.text
  return {
    test = function(row, env) return truth(row, env) and YES or NO end,
    say = function(_, _, how) return says .. (how == "no" and " does not hold" or " holds") end,
  }
end

local function comparison(node, context)
  local left, right = side(node.measure, context), side(node.threshold, context)
  local measured, bound, kind = node.measure, node.threshold, node.kind
  note_values(measured, context, left)
  note_values(bound, context, right)
  local function say(row, env, how)
    local against = units.print(right(row, env), bound.unit)
    if bound.kind ~= "number" then against = bound.text .. " " .. against end
    return ("%s %s %s%s %s"):format(measured.text, units.print(left(row, env), measured.unit),
      how == "no" and "not " or "", kind, against)
  end
  if kind == "above" then
    return { test = function(row, env) return left(row, env) > right(row, env) and YES or NO end, say = say }
  end
  return { test = function(row, env) return left(row, env) < right(row, env) and YES or NO end, say = say }
end

CONDITIONS.above, CONDITIONS.below = comparison, comparison

function CONDITIONS.lasting(node, context)
  local inner, seconds = compile(node.cond, context), node.seconds
  context.timers = context.timers + 1
  local index, test = context.timers, inner.test
  local function long_enough(since, env)
    return env.finish - since + EPSILON >= seconds and YES or SOON
  end
  return {
    timed = true,
    test = function(row, env, instance)
      local now, since = test(row, env, instance), instance.since
      if now ~= YES then
        if since[index] then since[index], instance.moved = nil, true end
        return now
      end
      if not since[index] then since[index], instance.moved = env.start, true end
      return long_enough(since[index], env)
    end,
    say = function(row, env, how)
      local length = how == "no" and "" or (how == "soon" and ", not yet for " or " for ")
        .. units.print(seconds, "duration")
      return inner.say(row, env, how) .. length
    end,
  }
end

CONDITIONS["function"] = function(node, context)
  local fn = node.fn
  context.inputs[#context.inputs + 1] = function(_, _, instance)
    return instance.truths and instance.truths[node] or false
  end
  context.calls = true
  local where = node.line and ("function of line %d"):format(node.line) or "function"
  return {
    test = function(_, env, instance)
      local truth = env.call(fn, node) and true or false
      if env.notice then
        instance.truths = instance.truths or {}
        instance.truths[node] = truth
      end
      return truth and YES or NO
    end,
    say = function(_, _, how) return where .. (how == "no" and " does not hold" or " holds") end,
  }
end

-- A `lasting` inside has to see every window, so such lists are asked to the end; others stop at the first
-- answer.
local function several(node, context, decisive, pick)
  local list, tests, timed = {}, {}, false
  for i, child in ipairs(node) do
    list[i] = compile(child, context)
    tests[i] = list[i].test
    timed = timed or list[i].timed
  end
  local count, start = #tests, decisive == NO and YES or NO
  local function test(row, env, instance)
    local result = start
    for i = 1, count do
      result = pick(result, tests[i](row, env, instance))
      if result == decisive and not timed then return result end
    end
    return result
  end
  -- all: why it holds is every part, why not is those that fail; any: the other way round.
  local function say(row, env, how)
    local parts, no = {}, how == "no"
    local everything = (decisive == NO) ~= no
    for i = 1, count do
      if everything or (tests[i](row, env, { since = {} }) ~= NO) ~= no then
        parts[#parts + 1] = list[i].say(row, env, how)
      end
    end
    return table.concat(parts, " and ")
  end
  return { test = test, say = say, timed = timed }
end

function CONDITIONS.all(node, context) return several(node, context, NO, math.min) end
function CONDITIONS.any(node, context) return several(node, context, YES, math.max) end

function compile(node, context)
  return CONDITIONS[node.kind](node, context)
end

-- Compiles one condition of a rule. `context`, shared by a rule's conditions: per ({ probe, field } or nil),
-- slots, columns (receives those of the per-probe that are read, by name), timers (number so far). Returns {
-- test, say, values, inputs }: values is a list of { text, get(row, env) }, inputs of get(row, env, instance);
-- context.calls is set when a policy's function takes part.
function evaluate.compile(node, context)
  context.values, context.inputs = {}, {}
  local compiled = compile(node, context)
  return { test = compiled.test, say = compiled.say, values = context.values, inputs = context.inputs }
end

return evaluate
