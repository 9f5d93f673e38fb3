-- SPDX-License-Identifier: Apache-2.0
--
-- Measures and conditions as a policy writes them: words that build data, so that the same text can be
-- checked, explained, replayed and lowered. Nothing is evaluated here; evaluate.lua does that, from the plain
-- copies that resolve.lua makes.
--
--   rate "to.syn"   sum "to.bytes"   mean "to.bytes"   count "to"   share("to.syn", "to.packets")
--   min "to.bytes"   max "to.bytes"   distinct "to.dport"   quantile("to.bytes", 0.99)   entropy "to.packets"
--   rate("to.syn", "dport == 53 and bytes > 1e3"): of the rows that meet a condition; so with all but share
--   + - * / between measures, options, numbers and texts with a unit; :named "openings" names an expression
--   sum "bytes"   count()   distinct "dport"   quantile("bytes", 0.99): what group() makes of records
--   m:above(x)   m:below(x)   condition:lasting "10s"   all { … }   any { … }   function(w, key) … end

local quantile = require "perilune.records.quantile"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local measure = {}

local Value, Condition, Aggregate = {}, {}, {}
local value_methods, condition_methods = {}, {}

local fail = sandbox.fail

local function kind_of(thing)
  local meta = getmetatable(thing)
  return meta == Value and "value" or meta == Condition and "condition" or meta == Aggregate and "aggregate" or nil
end

local function node(fields)
  fields.at = sandbox.here() or false -- false: made outside of any policy
  return setmetatable(fields, Value)
end

local function condition(fields)
  fields.at = sandbox.here() or false -- false: made outside of any policy
  return setmetatable(fields, Condition)
end

-- A number with a unit. `option` is the name of the option it comes from, if any.
function measure.number(value, unit, option)
  return node { kind = "number", value = value, unit = unit, option = option,
    text = units.print(value, unit) }
end

-- The value of an option that is not a number (text, bool, iface); nil when it has none.
function measure.constant(value, option)
  return node { kind = "value", value = value, option = option, text = tostring(value) }
end

function measure.is_value(thing) return kind_of(thing) == "value" end

local function described(thing)
  if kind_of(thing) == "condition" then return "a condition" end
  if kind_of(thing) == "value" then
    return rawget(thing, "option") and ('the option "%s"'):format(thing.option) or thing.text
  end
  return type(thing) == "string" and ('"%s"'):format(thing) or "a " .. type(thing)
end

-- What is wrong with an aggregate where a measure is wanted, and the remedy.
local function no_measure(thing)
  local kind, field = rawget(thing, "kind"), rawget(thing, "field")
  if kind == "count" then return "count takes the name of a probe, got nothing", 'like count "to": its rows' end
  return ('%s takes the text "probe.field", got %s'):format(kind, described(field)),
    ('like %s "totals.packets"'):format(kind)
end

-- Anything that can stand in an expression or as a threshold, as a node.
local function operand(thing, where)
  if kind_of(thing) == "aggregate" then fail(nil, no_measure(thing)) end
  if kind_of(thing) == "value" then
    if thing.kind == "value" then
      fail(nil, ("%s: %s is not a number"):format(where, described(thing)),
        "use an option with a number or a unit")
    end
    return thing
  end
  if type(thing) ~= "number" and type(thing) ~= "string" then
    fail(nil, ("%s: expected a number, an option or a measure, got %s"):format(where, described(thing)),
      'like "2k/s" or rate "to.packets"')
  end
  local value, unit, remedy = units.parse(thing)
  if not value then fail(nil, ("%s: %s"):format(where, unit), remedy) end
  return measure.number(value, unit)
end

-- Splits "probe.field".
local function field_of(word, path)
  local probe, field
  if type(path) == "string" then probe, field = path:match("^([%w_]+)%.([%w_.]+)$") end
  if not probe then
    fail(nil, ("%s takes the text \"probe.field\", got %s"):format(word, described(path)),
      ('like %s "totals.packets"'):format(word))
  end
  return probe, field
end

-- What group() makes of a field of records. Whether one is meant or a measure without its probe shows where it is used.
local function aggregate(kind, field, q)
  return setmetatable({ kind = kind, field = field, q = q }, Aggregate)
end

-- Which rows: text of a condition, whose fields check.lua looks up.
local function rows_where(word, where)
  if where == nil then return nil, "" end
  if type(where) ~= "string" then
    fail(nil, ("%s: which rows? expected a condition as text, got %s"):format(word, described(where)),
      ('like %s("to.bytes", "dport == 53")'):format(word))
  end
  return where, " where " .. where
end

local function of_field(kind)
  return function(path, where)
    if type(path) == "string" and path:find "^[%w_]+$" and where == nil then return aggregate(kind, path) end
    local probe, field = field_of(kind, path)
    local rows, suffix = rows_where(kind, where)
    return node { kind = kind, probe = probe, field = field, where = rows, text = kind .. " " .. path .. suffix }
  end
end

-- The words of the language that make measures and conditions.
local vocabulary = {}
measure.vocabulary = vocabulary
for _, kind in ipairs { "rate", "sum", "mean", "min", "max", "distinct", "entropy" } do
  vocabulary[kind] = of_field(kind)
end

-- q as said, 0.99 or "99%", as a number, and as it stands in texts.
local function share_of(q)
  if kind_of(q) == "value" then q = rawget(q, "value") end
  local ok, share = pcall(quantile.share, q)
  if not ok then
    fail(nil, ("quantile: which one? %s is no share of the rows"):format(q == nil and "nothing" or described(q)),
      'like quantile("to.bytes", 0.99)')
  end
  return share, ("%.15g"):format(share)
end

function vocabulary.quantile(path, q, where)
  if type(path) == "string" and path:find "^[%w_]+$" and where == nil then return aggregate("quantile", path, q) end
  local share, shown = share_of(q)
  local probe, field = field_of("quantile", path)
  local rows, suffix = rows_where("quantile", where)
  return node { kind = "quantile", probe = probe, field = field, q = share, where = rows,
    text = ("quantile %s %s%s"):format(path, shown, suffix) }
end

function vocabulary.count(probe, where)
  if probe == nil then return aggregate "count" end
  if type(probe) ~= "string" or not probe:find("^[%w_]+$") then
    fail(nil, ("count takes the name of a probe, got %s"):format(described(probe)),
      'like count "to": its rows')
  end
  local rows, suffix = rows_where("count", where)
  return node { kind = "count", probe = probe, where = rows, text = "count " .. probe .. suffix }
end

function vocabulary.share(part, whole, more)
  if more ~= nil then
    fail(nil, "share takes two fields and no condition",
      'divide: sum("to.bytes", "dport == 53") / sum "to.bytes"')
  end
  local left, right = { field_of("share", part) }, { field_of("share", whole) }
  return node {
    kind = "share", text = "share " .. part .. "/" .. whole,
    left = node { kind = "sum", probe = left[1], field = left[2], text = "sum " .. part },
    right = node { kind = "sum", probe = right[1], field = right[2], text = "sum " .. whole },
  }
end

-- Which unit a calculation gives, or nil when it makes no sense. Counts, shares and ratios scale anything.
local SCALAR = { count = true, share = true, ratio = true }
local PRODUCTS = {
  rate = { duration = "count" }, byterate = { duration = "size" },
  duration = { rate = "count", byterate = "size" },
}
local QUOTIENTS = { count = { duration = "rate" }, size = { duration = "byterate", byterate = "duration" } }

function measure.combine(op, left, right)
  if op == "+" or op == "-" then
    if left == right then return left end
    return SCALAR[left] and SCALAR[right] and "ratio" or nil
  end
  if op == "*" then
    if left == right and left == "share" then return "share" end
    if SCALAR[right] then return left end
    if SCALAR[left] then return right end
    return PRODUCTS[left] and PRODUCTS[left][right]
  end
  if left == right then return "ratio" end
  if SCALAR[right] then return left end
  return QUOTIENTS[left] and QUOTIENTS[left][right]
end

function measure.calculate(op, a, b)
  if op == "+" then return a + b end
  if op == "-" then return a - b end
  if op == "*" then return a * b end
  return b == 0 and 0 or a / b
end

local function bracketed(value)
  return value.kind == "op" and not rawget(value, "label") and "(" .. value.text .. ")" or value.text
end

local function arithmetic(op)
  return function(a, b)
    local where = 'calculation with "' .. op .. '"'
    local left, right = operand(a, where), operand(b, where)
    local text = bracketed(left) .. " " .. op .. " " .. bracketed(right)
    if left.kind ~= "number" or right.kind ~= "number" then
      return node { kind = "op", op = op, left = left, right = right, text = text }
    end
    local unit = measure.combine(op, left.unit, right.unit)
    if not unit then
      fail(nil, ("%s: %s and %s do not go together"):format(text, units.noun(left.unit),
        units.noun(right.unit)),
        "give both the same unit, or scale with a bare number")
    end
    return measure.number(measure.calculate(op, left.value, right.value), unit)
  end
end

Value.__add, Value.__sub = arithmetic "+", arithmetic "-"
Value.__mul, Value.__div = arithmetic "*", arithmetic "/"
function Value.__unm(value) return arithmetic "*"(-1, value) end
function Value.__tostring(value) return value.text end
function Value.__concat(a, b) return tostring(a) .. tostring(b) end

local function comparison(kind)
  return function(left, right)
    if left.kind == "number" or left.kind == "value" then
      fail(nil, ("%s is no measure, so nothing about it can change"):format(described(left)),
        'compare a measure, like rate "to.packets"')
    end
    if right == nil then
      fail(nil, ("%s: %s lacks a threshold"):format(left.text, kind), 'like :' .. kind .. ' "2k/s"')
    end
    return condition { kind = kind, measure = left, threshold = operand(right, left.text .. " " .. kind) }
  end
end

value_methods.above, value_methods.below = comparison "above", comparison "below"

local function duration_of(word, given)
  local seconds, message, remedy = schema.value(given, { type = "duration", min = 0.01 })
  if seconds then return seconds end
  fail(nil, ("%s: %s"):format(word, message or "expected a duration"), remedy or ('like :%s "1m"'):format(word))
end

-- A measure that looks back (formula_history.lua).
local function looking_back(kind)
  return function(of, given)
    if of.kind == "number" or of.kind == "value" then
      fail(nil, ("%s is no measure, so nothing about it can change"):format(described(of)),
        'like rate("to.packets"):' .. kind .. ' "1m"')
    end
    local seconds = duration_of(kind, given)
    return node { kind = kind, of = of, seconds = seconds,
      text = ("%s %s %s"):format(bracketed(of), kind, units.print(seconds, "duration")) }
  end
end

value_methods.over, value_methods.ewma = looking_back "over", looking_back "ewma"

-- What is learnt may have { warmup = "1d", by = "hour" } as well.
local LEARNT = schema.new { what = "baseline", keys = {
  warmup = { type = "duration", min = 0.01 }, by = { type = "text", one_of = { "hour" } },
} }

for _, kind in ipairs { "baseline", "spread", "deviation" } do
  local make = looking_back(kind)
  value_methods[kind] = function(of, period, options)
    local made = make(of, period)
    local values, message, remedy = LEARNT:parse(options or {})
    if not values then fail(nil, message, remedy) end
    made.warmup, made.hours = values.warmup, values.by == "hour" or nil
    if values.by then made.text = made.text .. " by hour" end
    return made
  end
end

-- A name for an expression, used in reasons and values instead of its formula.
function value_methods.named(value, name)
  if type(name) ~= "string" or name == "" then fail(nil, "named takes a text", 'like :named "openings"') end
  local copied = {}
  for key, field in pairs(value) do copied[key] = field end
  copied.text, copied.label = name, true
  return node(copied)
end

function condition_methods.lasting(inner, duration)
  local seconds, message, remedy = schema.value(duration, { type = "duration" })
  if not seconds then
    fail(nil, "lasting: " .. (message or "expected a duration"), remedy or 'like :lasting "10s"')
  end
  return condition { kind = "lasting", cond = inner, seconds = seconds }
end

-- A condition, or a function that stands for one.
function measure.condition(thing)
  if kind_of(thing) == "condition" then return thing end
  if type(thing) == "function" then
    local at = sandbox.origin(thing) or sandbox.here() or false
    return setmetatable({ kind = "function", fn = thing, at = at }, Condition)
  end
  if kind_of(thing) == "aggregate" then return nil, no_measure(thing) end
  if kind_of(thing) == "value" then
    return nil, ("%s is a measure, not a condition"):format(thing.text), 'compare it, like :above "2k/s"'
  end
  return nil, ("expected a condition, got %s"):format(described(thing)), 'like rate("to.syn"):above "2k/s"'
end

local function several(kind)
  return function(list)
    if type(list) ~= "table" or kind_of(list) or #list == 0 then
      fail(nil, kind .. " takes a list of conditions", "write " .. kind .. " { a, b }")
    end
    local made = { kind = kind }
    for key in pairs(list) do
      if type(key) ~= "number" then
        fail(nil, ("%s takes no key %s"):format(kind, units.quote(key)),
          "list conditions only")
      end
    end
    for i, thing in ipairs(list) do
      local inner, message, remedy = measure.condition(thing)
      if not inner then fail(nil, ("%s: entry %d: %s"):format(kind, i, message), remedy) end
      made[i] = inner
    end
    return condition(made)
  end
end

vocabulary.all, vocabulary.any = several "all", several "any"

-- A method that does not exist: say which there are. Other fields are absent quietly only where rawget asks.
local function methods_of(known, noun)
  return function(_, name)
    local method = known[name]
    if method or name == "value" then return method end
    fail(nil, ("%s has no %s"):format(noun, tostring(name)), words.suggest(name, words.keys(known)))
  end
end

for _, operator in ipairs { "__add", "__sub", "__mul", "__div", "__unm" } do Aggregate[operator] = Value[operator] end
function Aggregate.__tostring(a) return a.kind .. " " .. tostring(a.field or "") end
function Aggregate.__index(a, name)
  if type(name) == "string" then fail(nil, no_measure(a)) end
end

Value.__index = methods_of(value_methods, "a measure")
Condition.__index = methods_of(condition_methods, "a condition")

return measure
