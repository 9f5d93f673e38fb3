-- SPDX-License-Identifier: Apache-2.0
--
-- Conditions that packets test themselves, in the kernel: from a rule's plain condition (resolve.lua) to C over sums
-- of counters, for bpf/trigger.h. Or what cannot be, and why.
--
-- A trigger judges one slice of time. `rate` is a counter's sum in the slice over the slice's length, `sum` the sum
-- itself, `share` a quotient that is compared by multiplying both sides. Every comparison becomes
--
--   coefficient * counter + … > bound        in whole numbers
--
-- and is one of three kinds, by what it says before the slice has counted anything:
--   "amount"  false, and becomes true when enough is counted (a rate above a bound)
--   "ratio"   says nothing: a few packets can make it true or false (a share, one counter against another)
--   "whole"   true (anything below a bound)
-- A condition is tested at every packet that counts when it cannot hold before some amount was reached: amounts, ratios
-- beside an amount in `all`, and `any` of those. Others are tested when a slice is over.

local units = require "perilune.base.units"

local lower = {}

local MOST_FIELDS = 6 -- TRIGGER_FIELDS in bpf/trigger.h
local MOST_COEFFICIENT = 2 ^ 19 -- times a sum of 2^40, six times, fits 63 bits
local MOST_BOUND = 2 ^ 61

local function refuse(node, why, remedy) error({ part = node.text, why = why, remedy = remedy }, 0) end

-- A value is { form } or the quotient { form, over, zero }: form divided by over, and `zero` while over is 0.
-- A linear form: { c = constant, [i] = coefficient of counter i }.
local function linear(c) return { c = c or 0 } end

local function plus(a, b, factor)
  local out = {}
  for k, v in pairs(a) do out[k] = v end
  for k, v in pairs(b) do out[k] = (out[k] or 0) + v * factor end
  for k, v in pairs(out) do
    if k ~= "c" and v == 0 then out[k] = nil end
  end
  return out
end

local function times(a, factor) return plus(linear(), a, factor) end

local function is_constant(a)
  for k in pairs(a) do
    if k ~= "c" then return false end
  end
  return true
end

-- The number of a counter, which is a field of a probe's only row or of its rows by direction.
local function counter(node, context)
  if node.where then refuse(node, "the kernel does not choose among rows", "leave out the condition on rows") end
  local name = node.probe .. "." .. node.field
  if context.numbers[name] then return context.numbers[name] end
  local found, why, remedy = context.counter(node.probe, node.field)
  if not found then refuse(node, why, remedy) end
  if #context.counters == MOST_FIELDS then
    refuse(node, ("a trigger reads at most %d counters"):format(MOST_FIELDS), "compare fewer")
  end
  context.counters[#context.counters + 1] = found
  context.numbers[name] = #context.counters
  return #context.counters
end

local function constant_of(node, value)
  if value.over or not is_constant(value.form) then
    refuse(node, "it multiplies two measures", "multiply by numbers only")
  end
  return value.form.c
end

local measure
local MEASURES = {}

function MEASURES.number(node) return { form = linear(node.value) } end

function MEASURES.sum(node, context)
  local form = linear()
  form[counter(node, context)] = node.scale or 1
  return { form = form }
end

function MEASURES.rate(node, context)
  return { form = times(MEASURES.sum(node, context).form, 1 / context.slice) }
end

local function quotient(node, left, right)
  if left.over or right.over then refuse(node, "it divides by a quotient", "divide measures once") end
  if is_constant(right.form) then
    return { form = right.form.c == 0 and linear() or times(left.form, 1 / right.form.c) }
  end
  for _, coefficient in pairs(right.form) do
    if coefficient < 0 then
      refuse(node, "it divides by a difference, which may be negative", "divide by counters or their sum")
    end
  end
  return { form = left.form, over = right.form, zero = 0 }
end

function MEASURES.share(node, context)
  return quotient(node, measure(node.left, context), measure(node.right, context))
end

function MEASURES.op(node, context)
  local left, right = measure(node.left, context), measure(node.right, context)
  if node.op == "/" then return quotient(node, left, right) end
  if node.op == "*" then
    local constant_left = not left.over and is_constant(left.form)
    local by = constant_left and left.form.c or constant_of(node, right)
    local other = constant_left and right or left
    return { form = times(other.form, by), over = other.over, zero = other.over and other.zero * by }
  end
  local sign = node.op == "+" and 1 or -1
  if not left.over and not right.over then return { form = plus(left.form, right.form, sign) } end
  if left.over and not right.over and is_constant(right.form) then
    local add = sign * right.form.c
    return { form = plus(left.form, left.over, add), over = left.over, zero = left.zero + add }
  end
  if right.over and not left.over and is_constant(left.form) then
    return { form = plus(times(right.form, sign), right.over, left.form.c), over = right.over,
      zero = left.form.c + sign * right.zero }
  end
  refuse(node, "it adds to a quotient what is no number", "compare each by itself")
end

function measure(node, context)
  local make = MEASURES[node.kind]
  if not make then refuse(node, "the kernel does not know " .. node.kind, "use rate, sum or share") end
  return make(node, context)
end

local function scaled(form, factor)
  local out, exact = { c = form.c * factor }, true
  for k, v in pairs(form) do
    if k ~= "c" then
      out[k] = math.floor(v * factor + 0.5)
      exact = exact and math.abs(out[k] - v * factor) <= 1e-9 * math.abs(v * factor)
    end
  end
  return out, exact
end

-- The form scaled so that all coefficients are whole numbers: exactly, if a simple factor does it.
local function whole_numbers(node, form, slice)
  local largest, smallest = 0, math.huge
  for k, v in pairs(form) do
    if k ~= "c" then largest, smallest = math.max(largest, math.abs(v)), math.min(smallest, math.abs(v)) end
  end
  local best = nil
  for multiple = 1, 1000 do
    for _, unit in ipairs { slice, 1, 1 / smallest } do
      local out, exact = scaled(form, unit * multiple)
      if not best and exact and largest * unit * multiple <= MOST_COEFFICIENT then best = out end
    end
  end
  best = best or scaled(form, MOST_COEFFICIENT / largest)
  if math.abs(best.c) > MOST_BOUND then
    refuse(node, "its bound is too far from what a slice can count", "make it smaller")
  end
  return best
end

local function terms(form, count)
  local out = {}
  for i = 1, count do
    if form[i] then
      local term = ("(__s64)sums->by[%d]"):format(i - 1)
      if math.abs(form[i]) ~= 1 then term = ("%.0f * %s"):format(math.abs(form[i]), term) end
      out[#out + 1] = (#out > 0 and (form[i] < 0 and " - " or " + ") or (form[i] < 0 and "-" or "")) .. term
    end
  end
  return table.concat(out)
end

-- form > 0, as text and its kind.
local function positive(node, form, context)
  if is_constant(form) then refuse(node, "it compares nothing that can change", "compare a counter's rate or sum") end
  local whole = whole_numbers(node, form, context.slice)
  -- a + b*x > 0 with whole b and x: b*x > floor(-a), whatever of -a is no whole number. What is left of a calculation
  -- with shares like 0.6 is no reason to be off by one.
  local bound = -whole.c
  local nearest = math.floor(bound + 0.5)
  bound = math.abs(bound - nearest) < 1e-6 * math.max(1, math.abs(bound)) and nearest or math.floor(bound)
  local kind = form.c < 0 and "amount" or form.c == 0 and "ratio" or "whole"
  return ("%s > %.0f"):format(terms(whole, #context.counters), bound), kind
end

-- left > right. A quotient is compared by multiplying with its denominator; while that is 0 it is what it is then.
local function above(node, left, right, context)
  if not left.over and not right.over then return positive(node, plus(left.form, right.form, -1), context) end
  if left.over and right.over then refuse(node, "it compares two quotients", "compare each with a number") end
  local quotient_is_left = left.over ~= nil
  local value, bound = left, right
  if not quotient_is_left then value, bound = right, left end
  if not is_constant(bound.form) then
    refuse(node, "it compares a quotient with a measure", "compare it with a number")
  end
  local sign = quotient_is_left and 1 or -1
  local form = plus(times(value.form, sign), value.over, -sign * bound.form.c)
  local text, kind = positive(node, form, context)
  if value.over.c > 0 then return text, kind end -- never 0
  local divisor = terms(whole_numbers(node, value.over, context.slice), #context.counters)
  if sign * value.zero > sign * bound.form.c then return ("(%s == 0 || %s)"):format(divisor, text), "whole" end
  return ("(%s != 0 && %s)"):format(divisor, text), kind
end

local condition
local CONDITIONS = {}

function CONDITIONS.above(node, context)
  return above(node.measure, measure(node.measure, context), measure(node.threshold, context), context)
end

function CONDITIONS.below(node, context)
  return above(node.measure, measure(node.threshold, context), measure(node.measure, context), context)
end

local function several(node, context, sign)
  local texts, count = {}, { amount = 0, ratio = 0, whole = 0 }
  for i, child in ipairs(node) do
    local text, kind = condition(child, context)
    texts[i] = text
    count[kind] = count[kind] + 1
  end
  return "(" .. table.concat(texts, sign) .. ")", count
end

function CONDITIONS.all(node, context)
  local text, count = several(node, context, " && ")
  return text, count.whole > 0 and "whole" or count.amount > 0 and "amount" or "ratio"
end

function CONDITIONS.any(node, context)
  local text, count = several(node, context, " || ")
  return text, count.whole > 0 and "whole" or count.ratio > 0 and "ratio" or "amount"
end

function CONDITIONS.lasting(node)
  refuse({ text = "lasting " .. units.print(node.seconds, "duration") }, "a trigger judges a single slice",
    "leave lasting out")
end

CONDITIONS["function"] = function()
  refuse({ text = "a function" }, "only the engine can call it", "write the condition as data")
end

function condition(node, context) return CONDITIONS[node.kind](node, context) end

--- `when`: a plain condition; `slice`: seconds; counter(probe, field) → what is known of that counter (anything) | nil,
--- why it can be none, remedy. Returns { slice, counters = { what counter() gave, … }, text (C, of sums->by[i]), early
--- (tested at every packet that counts, else when a slice is over) } | nil, { part, why, remedy }.
function lower.condition(when, slice, counter_of)
  local context = { slice = slice, counter = counter_of, counters = {}, numbers = {} }
  local ok, text, kind = pcall(condition, when, context)
  if ok then return { slice = slice, counters = context.counters, text = text, early = kind == "amount" } end
  if type(text) ~= "table" then error(text, 0) end
  return nil, text
end

return lower
