-- SPDX-License-Identifier: Apache-2.0
--
-- Conditions on a record, as text ("bytes > 1e6 and dport == 53") or as a table ({ dport = 53 }), turned
-- into Lua for the library's own loops.
--
-- Only the fields of the layout, literals and operators can occur, and what is generated names fields by
-- number, so nothing of the text itself becomes code. Numbers compare and calculate; addresses, bytes,
-- text and enums compare with == and ~= to a text in quotes, as raw bytes.

local record = require "perilune.record"
local words = require "perilune.words"

local expression = {}

local MOST_TEXT, MOST_DEPTH, MOST_LOCALS = 4096, 50, 120

local Parser = {}
Parser.__index = Parser

local function fail(message, ...) error({ message = message:format(...) }, 0) end

-- What a condition needs: the fields to load, and the constants that are given at the time of the call.
local function new_scope(class)
  return { class = class, fields = {}, constants = {}, locals = 0 }
end

local function use_locals(scope, n)
  scope.locals = scope.locals + n
  if scope.locals > MOST_LOCALS then fail("it is too long") end
end

local function field_of(scope, name)
  local field = scope.class.by_name[name]
  if not field then fail('there is no field "%s" (%s)', name, words.suggest(name, scope.class.names)) end
  if field.count > 1 then fail('"%s" is a list', name) end
  return field
end

local function load_field(scope, field)
  if not scope.fields[field] then
    use_locals(scope, 2)
    scope.fields[field] = true
    scope.fields[#scope.fields + 1] = field
  end
  return "v" .. field.index
end

-- A number or boolean that is known only at the call.
local function constant(scope, value)
  use_locals(scope, 1)
  scope.constants[#scope.constants + 1] = { value = value }
  return "c" .. #scope.constants
end

-- How many bytes decide whether a field equals this text: of char[n] all up to the NUL.
local function significant(field, text)
  return field.kind == "text" and math.min(#text + 1, field.size) or field.size
end

-- Byte-wise comparison with a text's raw form, four bytes at a time.
local function equals_text(scope, field, text)
  local at, length, parts = field.offset, significant(field, text), {}
  local stride = scope.class.stride
  for from = 0, length - 1, 4 do
    if length - from >= 4 then
      use_locals(scope, 1)
      scope.constants[#scope.constants + 1] = { field = field, text = text, from = from, bytes = 4 }
      parts[#parts + 1] = ("cast(words, q + (i * %d + %d))[0] == c%d")
        :format(stride, at + from, #scope.constants)
    else
      for byte = from, length - 1 do
        use_locals(scope, 1)
        scope.constants[#scope.constants + 1] = { field = field, text = text, from = byte, bytes = 1 }
        parts[#parts + 1] = ("q[i * %d + %d] == c%d"):format(stride, at + byte, #scope.constants)
      end
    end
  end
  return "(" .. table.concat(parts, " and ") .. ")"
end

local function equals_field(scope, a, b)
  if a.kind ~= b.kind or a.size ~= b.size then fail('"%s" and "%s" cannot be compared', a.name, b.name) end
  return ("(%s == %s)"):format(record.bytes(scope.class, a), record.bytes(scope.class, b))
end

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
    local field = field_of(self.scope, token.text)
    if field.textual then return { kind = "raw", field = field, shown = token.text } end
    local kind = field.kind == "bool" and "boolean" or "number"
    return { kind = kind, code = load_field(self.scope, field), shown = token.text }
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

local function compare(scope, left, operator, right)
  local code
  if right.kind == "raw" and left.kind ~= "raw" then left, right = right, left end
  if left.kind == "raw" then
    if operator ~= "==" and operator ~= "~=" then
      fail("%s can only be compared with == and ~=", left.shown)
    end
    if right.kind == "raw" then
      code = equals_field(scope, left.field, right.field)
    elseif right.kind == "text" then
      code = equals_text(scope, left.field, right.text)
    elseif right.kind == "number" and left.field.kind == "enum" then
      code = ("(%s == %s)"):format(load_field(scope, left.field), right.code)
    else
      fail("%s is %s and %s is not", left.shown, record.describe(left.field), right.shown)
    end
    return operator == "~=" and "(not " .. code .. ")" or code
  end
  if left.kind == "text" or right.kind == "text" or left.kind ~= right.kind then
    fail("%s and %s cannot be compared", left.shown, right.shown)
  end
  if left.kind == "boolean" and operator ~= "==" and operator ~= "~=" then
    fail("%s can only be compared with == and ~=", left.shown)
  end
  return ("(%s %s %s)"):format(left.code, operator, right.code)
end

function Parser:comparison()
  local left = self:sum()
  local operator = self:accept("==", "~=", "!=", "<=", ">=", "<", ">")
  if not operator then return left end
  if operator == "!=" then operator = "~=" end
  local right = self:sum()
  if self:peek("==", "~=", "!=", "<=", ">=", "<", ">") then fail("join comparisons with and") end
  local code = compare(self.scope, left, operator, right)
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
  local field = field_of(scope, name)
  if type(value) == "string" and field.textual then return equals_text(scope, field, value) end
  local wanted = field.kind == "bool" and "boolean" or "number"
  if type(value) ~= wanted or (field.textual and field.kind ~= "enum") then
    fail('"%s" is %s, not a %s', name, record.describe(field), type(value))
  end
  return ("(%s == %s)"):format(load_field(scope, field), constant(scope, value))
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

-- Compiles a condition for a class: { fields =, condition = Lua text, constants = } | nil, message.
function expression.compile(class, condition)
  local scope = new_scope(class)
  local ok, code = pcall(parse, scope, condition)
  if not ok then
    if type(code) ~= "table" then error(code, 0) end
    return nil, code.message
  end
  return { fields = scope.fields, condition = code, constants = scope.constants }
end

-- The values of the constants, as the generated code takes them | nil, message. raw(field, text) → bytes
-- or nil.
function expression.constants(compiled, raw)
  local values, known = {}, {}
  for i, c in ipairs(compiled.constants) do
    if c.field then
      local id = c.field.index .. " " .. c.text
      known[id] = known[id] or raw(c.field, c.text)
      local bytes = known[id]
      if not bytes then
        return nil, ('"%s" cannot be "%s" (it is %s)'):format(c.field.name, c.text, record.describe(c.field))
      end
      local value = 0
      for n = c.bytes, 1, -1 do
        local byte = bytes:byte(c.from + (expression.little and n or c.bytes + 1 - n))
        value = value * 256 + byte
      end
      values[i] = value
    else
      values[i] = c.value
    end
  end
  return values
end

expression.little = require("ffi").abi("le")

return expression
