-- SPDX-License-Identifier: Apache-2.0
--
-- Conditions on a record, as text ("bytes > 1e6 and dport == 53") or as a table ({ dport = 53 }), turned
-- into Lua for the library's own loops.
--
-- Only the fields of the layout, literals and operators can occur, and what is generated names fields by
-- number, so nothing of the text itself becomes code. Numbers compare and calculate; addresses, bytes,
-- text and enums compare with == and ~= to a text in quotes, as raw bytes. Protocols and interfaces are numbers
-- that may be compared with their names too.

local blame = require "perilune.base.blame"
local comparison = require "perilune.records.comparison"
local record = require "perilune.records.record"

local expression = {}

local MOST_TEXT, MOST_DEPTH = 4096, 50

local fail = comparison.fail

local Parser = {}
Parser.__index = Parser

local TOKENS = {
  { "^%d+%.?%d*[eE][+-]?%d+", "number" }, { "^0[xX]%x+", "number" }, { "^%d+%.?%d*", "number" },
  { "^%.%d+", "number" }, { '^"([^"]*)"', "text" }, { "^'([^']*)'", "text" }, { "^[%a_][%w_.]*", "name" },
  { "^[=~!<>]=", "operator" }, { "^[-+*/%%<>()]", "operator" },
}
local WORD = { ["and"] = true, ["or"] = true, ["not"] = true, ["true"] = true, ["false"] = true }

local function tokens_of(text)
  local tokens, at = {}, 1
  while true do
    at = text:find("%S", at)
    if not at then break end
    local found
    for _, token in ipairs(TOKENS) do
      local from, to, inside = text:find(token[1], at)
      if from then
        local word = text:sub(from, to)
        found = { kind = WORD[word] and "operator" or token[2], text = inside or word, shown = word }
        at = to + 1
        break
      end
    end
    if not found then
      local char = text:sub(at, at)
      fail("unexpected %s (%s)", char, char == "=" and "to compare, write =="
        or 'write fields, numbers, "text" and operators')
    end
    tokens[#tokens + 1] = found
  end
  return tokens
end

function Parser:peek(...)
  local token = self.tokens[self.at]
  if not token or token.kind ~= "operator" then return nil end
  for i = 1, select("#", ...) do
    if token.text == select(i, ...) then return token.text end
  end
end

function Parser:accept(...)
  local operator = self:peek(...)
  if operator then self.at = self.at + 1 end
  return operator
end

local function need(value, kind, operator)
  if value.kind ~= kind then
    fail("%s takes %ss, %s is %s", operator, kind, value.shown,
      value.kind == "raw" and "text" or "a " .. value.kind)
  end
end

function Parser:primary()
  local token = self.tokens[self.at]
  if not token then fail("it ends too early") end
  self.at = self.at + 1
  if token.kind == "number" then
    local value = tonumber(token.text)
    if value == math.huge then fail("%s is too large", token.text) end
    return { kind = "number", code = ("%.17g"):format(value), shown = token.text }
  end
  if token.kind == "text" then return { kind = "text", text = token.text, shown = token.shown } end
  if token.kind == "name" then
    local field = comparison.field_of(self.scope, token.text)
    if field.textual then return { kind = "raw", field = field, shown = token.text } end
    local kind = field.kind == "bool" and "boolean" or "number"
    return { kind = kind, code = comparison.load_field(self.scope, field), field = field, shown = token.text }
  end
  if token.text == "true" or token.text == "false" then
    return { kind = "boolean", code = token.text, shown = token.text }
  end
  if token.text == "(" then
    local value = self:either()
    if not self:accept(")") then fail("a bracket is not closed") end
    return value
  end
  fail("unexpected %s", token.shown)
end

function Parser:unary()
  self.depth = self.depth + 1
  if self.depth > MOST_DEPTH then fail("it is nested too deeply") end
  local value
  local operator = self:accept("-", "not")
  if operator then
    value = self:unary()
    need(value, operator == "-" and "number" or "boolean", operator)
    local code = ("(%s %s)"):format(operator, value.code)
    value = { kind = value.kind, code = code, shown = operator .. value.shown }
  else
    value = self:primary()
  end
  self.depth = self.depth - 1
  return value
end

-- Left-associative operators on numbers.
local function arithmetic(name, ...)
  local operators = { ... }
  return function(self)
    local left = self[name](self)
    while true do
      local operator = self:accept(unpack(operators))
      if not operator then return left end
      local right = self[name](self)
      need(left, "number", operator)
      need(right, "number", operator)
      local code = ("(%s %s %s)"):format(left.code, operator, right.code)
      left = { kind = "number", code = code, shown = left.shown }
    end
  end
end

Parser.product = arithmetic("unary", "*", "/", "%")
Parser.sum = arithmetic("product", "+", "-")

function Parser:comparison()
  local left = self:sum()
  local operator = self:accept("==", "~=", "!=", "<=", ">=", "<", ">")
  if not operator then return left end
  if operator == "!=" then operator = "~=" end
  local right = self:sum()
  if self:peek("==", "~=", "!=", "<=", ">=", "<", ">") then fail("join comparisons with and") end
  local code = comparison.compare(self.scope, left, operator, right)
  return { kind = "boolean", code = code, shown = left.shown .. operator .. right.shown }
end

local function joined(name, word)
  return function(self)
    local left = self[name](self)
    while self:accept(word) do
      local right = self[name](self)
      need(left, "boolean", word)
      need(right, "boolean", word)
      local code = ("(%s %s %s)"):format(left.code, word, right.code)
      left = { kind = "boolean", code = code, shown = left.shown }
    end
    return left
  end
end

Parser.both = joined("comparison", "and")
Parser.either = joined("both", "or")

local function parse_text(scope, text)
  if #text > MOST_TEXT then fail("it is too long") end
  local parser = setmetatable({ scope = scope, tokens = tokens_of(text), at = 1, depth = 0 }, Parser)
  local value = parser:either()
  if parser.at <= #parser.tokens then fail("unexpected %s", parser.tokens[parser.at].shown) end
  if value.kind ~= "boolean" then fail("it is no condition (compare %s with something)", value.shown) end
  return value.code
end

-- One entry of a table: field = value.
local function parse_equality(scope, name, value)
  local field = comparison.field_of(scope, name)
  if type(value) == "string" and (field.textual or comparison.is_named(field)) then
    return comparison.equals_text(scope, field, value)
  end
  local wanted = field.kind == "bool" and "boolean" or "number"
  if type(value) ~= wanted or (field.textual and field.kind ~= "enum" and not field.mixed) then
    fail('"%s" is %s, not a %s', name, record.describe(field), type(value))
  end
  return ("(%s == %s)"):format(comparison.load_field(scope, field), comparison.constant(scope, value))
end

local function parse(scope, condition)
  if type(condition) == "string" then return parse_text(scope, condition) end
  local parts = {}
  for _, text in ipairs(condition) do
    if type(text) ~= "string" then
      fail("expected field = value or a condition as text, got a %s", type(text))
    end
    parts[#parts + 1] = parse_text(scope, text)
  end
  local names = {}
  for name in pairs(condition) do
    if type(name) == "string" then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do parts[#parts + 1] = parse_equality(scope, name, condition[name]) end
  return #parts == 0 and "true" or table.concat(parts, " and ")
end

-- Compiles a condition for a class: { fields =, raws =, condition = Lua text, constants = } | nil, message.
function expression.compile(class, condition)
  local scope = comparison.new_scope(class)
  local ok, code = pcall(parse, scope, condition)
  if not ok then
    if type(code) ~= "table" then error(code, 0) end
    return nil, code.message
  end
  return { fields = scope.fields, raws = scope.raws, condition = code, constants = scope.constants }
end

-- Both for the verb where: compiled, constants; an error for a condition that is none.
function expression.prepare(class, condition, raw)
  if type(condition) ~= "string" and type(condition) ~= "table" then
    blame.fail("where: expected { field = value }, a condition as text or a function, got a %s", type(condition))
  end
  local compiled, message = expression.compile(class, condition)
  local constants
  if compiled then constants, message = comparison.constants(compiled, raw) end
  if constants then return compiled, constants end
  blame.fail("%s", ("where%s: %s"):format(type(condition) == "string" and (" %q"):format(condition) or "", message))
end

return expression
