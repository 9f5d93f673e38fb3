-- SPDX-License-Identifier: Apache-2.0
--
-- From Dynmon's dialect to C: declarations of maps, their methods, logs and the names of headers. Only tokens that are
-- one of these change; each line stays where it was, so that the compiler's words are about the lines that somebody
-- wrote.
--
--   BPF_ARRAY(PKT, u64, 1);   →  DYNMON_MAP(PKT, BPF_MAP_TYPE_ARRAY, int, u64, 1, 0);
--   PKT.lookup(&key)          →  DYNMON_LOOKUP(PKT, &key)
--   #include <uapi/linux/ip.h>   →  #include <linux/ip.h>
--
-- bpf/dynmon.h says what the macros are.
local dialect = require "perilune.dynmon.dialect"
local lexer = require "perilune.dynmon.lexer"
local logs = require "perilune.dynmon.logs"
local walk = require "perilune.dynmon.walk"
local words = require "perilune.base.words"

local translate = {}

local ENTRY = "handle_rx"
local RESERVED = "^[dD][yY][nN][mM][oO][nN]_" -- of bpf/dynmon.h

local fail, is_blank, next_at = walk.fail, walk.is_blank, walk.next_at
local arguments_at, text_of, single = walk.arguments_at, walk.text_of, walk.single

-- ---------------------------------------------------------------------------------------------- declarations

-- What a declaration says, by the names of its arguments.
local function read_declaration(word, form, tokens, ranges, token)
  local names = form[1]
  local map = { kind = form.kind, key = form.key, scope = form.scope or "own", line = token.line, word = word }
  if #ranges > #names then fail(token, "%s takes at most %d arguments", word, #names) end
  for i, name in ipairs(names) do
    local default
    if type(name) == "table" then name, default = name[1], name[2] end
    local text = ranges[i] and text_of(tokens, ranges[i])
    if not text or text == "" then text = default end
    if not text then fail(token, "%s: its %s is missing", word, name == "value" and "type of values" or name) end
    map[name] = text
  end
  return map
end

local function check_declaration(map, tokens, form, ranges, token, maps)
  for i, name in ipairs(form[1]) do
    if name == "kind" then
      local kind = single(tokens, ranges[i])
      if not kind or kind.kind ~= "text" then fail(token, "%s: the kind of map is a text in quotes", map.word) end
      map.kind = kind.text:sub(2, -2)
    elseif name == "name" then
      local one = single(tokens, ranges[i])
      if not one or one.kind ~= "name" then fail(token, "%s: the map needs a name", map.word) end
      map.name = one.text -- without a comment beside it
    end
  end
  if map.name:find(RESERVED) then fail(token, "%s: names like this are perilune's own", map.name) end
  if maps[map.name] then
    fail(token, "the map %s is declared twice, first in line %d", map.name, maps[map.name].line)
  end
  if map.kind == "extern" then
    map.kind, map.scope = nil, "extern"
  elseif not dialect.KINDS[map.kind] then
    fail(token, '%s: there are no maps of the kind "%s" here (%s)', map.name, map.kind,
      words.suggest(map.kind, words.keys(dialect.KINDS)))
  end
end

-- The declaration at `i`, if there is one: the map, and where its ")" stands.
local function declaration_at(tokens, i, maps)
  local token = tokens[i]
  local form, why = dialect.DECLARATIONS[token.text], dialect.REFUSED[token.text]
  if token.kind ~= "name" or token.directive or not (form or why) then return nil end
  local open, at = next_at(tokens, i + 1)
  if not open or open.text ~= "(" then return nil end
  if why then fail(token, "%s: %s", token.text, why) end
  local ranges, close = arguments_at(tokens, at)
  local map = read_declaration(token.text, form, tokens, ranges, token)
  check_declaration(map, tokens, form, ranges, token, maps)
  return map, close
end

local function declared(map, kinds)
  local kind = dialect.KINDS[map.kind or kinds[map.name]]
  if kind.list then
    return ("DYNMON_LIST(%s, %s, %s, %s, %s)"):format(map.name, kind.type, map.value, map.size, map.flags or "0")
  end
  local flags = map.flags or (map.kind == "lpm_trie" and "BPF_F_NO_PREALLOC" or "0")
  return ("DYNMON_MAP(%s, %s, %s, %s, %s, %s)"):format(map.name, kind.type, map.key, map.value, map.size, flags)
end

-- ---------------------------------------------------------------------------------------------- the rest

-- Parameters of the macro that a #define at `i` (its "#") makes: a set.
local function parameters_at(tokens, i)
  local set = {}
  local word, at = next_at(tokens, i + 1)
  if not word or word.text ~= "define" then return set end
  at = select(2, next_at(tokens, at + 1)) + 1 -- behind its name, where a "(" must stand at once
  if not tokens[at] or tokens[at].text ~= "(" then return set end
  while tokens[at] and tokens[at].text ~= ")" do
    if tokens[at].kind == "name" then set[tokens[at].text] = true end
    at = at + 1
  end
  return set
end

-- NAME.method( at `i`: the method, and where the "(" stands.
local function method_at(tokens, i)
  local dot, at = next_at(tokens, i + 1)
  if not dot or dot.text ~= "." then return nil end
  local method, open
  method, at = next_at(tokens, at + 1)
  if not method or method.kind ~= "name" then return nil end
  open, at = next_at(tokens, at + 1)
  if open and open.text == "(" then return method, at end
end

local function check_method(map, method, kind)
  local known = dialect.METHODS[method.text]
  local wanted = kind.list and "list" or "keyed"
  if known and known[2] == wanted then return known[1] end
  local names = {}
  for _, name in ipairs(words.keys(dialect.METHODS)) do
    if dialect.METHODS[name][2] == wanted then names[#names + 1] = name end
  end
  fail(method, "%s, a map of the kind %s, has no %s (%s)", map.name, map.kind or "of the other path", method.text,
    words.suggest(method.text, names))
end

--- Said of a map that is to be the other path's, where there is none.
function translate.no_owner(map)
  return ('the map %s is "extern", and the other path declares none of this name as shared'):format(map.name)
end

local Writer = {}
Writer.__index = Writer

-- Puts `text` in the place of the tokens from `from` to `to`, with as many line ends as they had.
function Writer:put(text, from, to)
  local breaks = -select(2, text:gsub("\n", ""))
  for i = from, to do breaks = breaks + select(2, self.tokens[i].text:gsub("\n", "")) end
  local goes_on = self.tokens[from].directive and "\\\n" or "\n"
  self.out[#self.out + 1] = text .. goes_on:rep(math.max(breaks, 0))
  self.at = to + 1
end

function Writer:declaration(i)
  local map = self.declarations[i]
  if not map then return false end
  if map.scope == "extern" and not self.kinds[map.name] then
    fail(self.tokens[i], "%s", translate.no_owner(map))
  end
  self:put(declared(map, self.kinds), i, map.close)
  return true
end

function Writer:method(i)
  local token, before = self.tokens[i], self.before
  if before == "." or before == "->" then return false end
  local map = self.maps[token.text]
  if not map and not (token.directive and self.parameters[token.text]) then return false end
  local method, open = method_at(self.tokens, i)
  if not method then return false end
  local macro
  if map then
    macro = check_method(map, method, dialect.KINDS[map.kind or self.kinds[map.name]])
  elseif dialect.METHODS[method.text] then
    macro = dialect.METHODS[method.text][1]
  else
    return false
  end
  self:put(("%s(%s, "):format(macro, token.text), i, open)
  return true
end

-- The text of a log stays here; the program hands over its number, and the arguments.
function Writer:log(i)
  local tokens = self.tokens
  if tokens[i].text ~= "pcn_log" then return false end
  local open, at = next_at(tokens, i + 1)
  if not open or open.text ~= "(" then return false end
  local ranges = arguments_at(tokens, at)
  if not ranges[3] then fail(tokens[i], "pcn_log takes a context, a level and a text") end
  local parts = {}
  for k = ranges[3][1], ranges[3][2] do
    if tokens[k].kind == "text" then
      parts[#parts + 1] = tokens[k].text
    elseif not is_blank(tokens[k]) then
      fail(tokens[k], "the text of pcn_log is written in quotes, at its place")
    end
  end
  if #parts == 0 then fail(tokens[i], "the text of pcn_log is missing") end
  local format, why = logs.parse(parts, #ranges - 3)
  if not format then fail(tokens[i], "pcn_log: %s", why) end
  self.logs[#self.logs + 1] = format
  -- The context and the level are rewritten like all else; only the text goes.
  self.replaced[ranges[3][1]] = { text = (" %d"):format(#self.logs), to = ranges[3][2] }
  self:put("DYNMON_LOG", i, i)
  return true
end

function Writer:header(i)
  local token = self.tokens[i]
  local name = token.text:match "^<uapi/(.*)>$"
  if not name then return false end
  self:put("<" .. name .. ">", i, i)
  return true
end

function Writer:step()
  local i = self.at
  local token, replaced = self.tokens[i], self.replaced[i]
  if replaced then return self:put(replaced.text, i, replaced.to) end
  if token.directive and token.text == "#" and self.before_line then self.parameters = parameters_at(self.tokens, i) end
  local done = (token.kind == "header" and self:header(i)) or (token.kind == "name" and
    (self:declaration(i) or self:log(i) or self:method(i)))
  if not done then self:put(token.text, i, i) end
  if token.kind == "newline" then self.before_line, self.parameters = true, {} elseif not is_blank(token) then
    self.before_line = false
  end
  if not is_blank(token) then self.before = token.text end
end

-- Every declaration, by the token it begins with; also by name.
local function declarations_of(tokens)
  local by_token, by_name = {}, {}
  local i = 1
  while i <= #tokens do
    local map, close = declaration_at(tokens, i, by_name)
    if map then
      map.close = close
      by_token[i], by_name[map.name] = map, map
      i = close
    end
    i = i + 1
  end
  return by_token, by_name
end

local function has_name(tokens, name)
  for _, token in ipairs(tokens) do
    if token.kind == "name" and token.text == name then return true end
  end
  return false
end

-- Runs `fn` → what it returns | nil, message with the name of the source and the line, code.
local function guard(name, fn)
  local ok, value = pcall(fn)
  if ok then return value end
  if type(value) ~= "table" then error(value, 0) end
  return nil, ("%s:%d: %s"):format(name, value.line, value.what), "EINVAL"
end

--- The maps that a path's code declares, by name: { name, kind (nil: the other path says), key, value, size, scope =
--- "own" "shared" or "extern", line } | nil, message.
function translate.maps(code, name)
  return guard(name, function()
    local tokens, what, line = lexer.tokens(code)
    if not tokens then error({ what = what, line = line }, 0) end
    return select(2, declarations_of(tokens))
  end)
end

--- options: name (of the source, in messages), program (its function in the object), xdp, level (a number: logs below
--- are left out), kinds (kinds of maps that the other path shares, by name).
--- → { source, maps, logs = list of formats (logs.lua), clock = whether it asks for the time } | nil, message
function translate.code(code, options)
  return guard(options.name, function()
    local tokens, what, line = lexer.tokens(code)
    if not tokens then error({ what = what, line = line }, 0) end
    if not has_name(tokens, ENTRY) then
      local missing = "there is no function %s(struct CTXTYPE *ctx, struct pkt_metadata *md)"
      error({ line = 1, what = missing:format(ENTRY) }, 0)
    end
    local declarations, maps = declarations_of(tokens)
    local writer = setmetatable({
      tokens = tokens, declarations = declarations, maps = maps, kinds = options.kinds or {}, out = {}, at = 1,
      before_line = true, parameters = {}, logs = {}, replaced = {},
    }, Writer)
    while tokens[writer.at] do writer:step() end
    local clock = has_name(tokens, "pcn_get_time_epoch")
    local level = options.level or dialect.LEVELS.off
    local head = {
      ("#define CTXTYPE %s"):format(options.xdp and "xdp_md" or "__sk_buff"),
      ("#define LOG_LEVEL %d"):format(level),
      options.xdp and "#define DYNMON_XDP" or nil,
    }
    if clock then head[#head + 1] = "#define DYNMON_CLOCK" end
    local logging = #writer.logs > 0 and level < dialect.LEVELS.off
    if logging then head[#head + 1] = "#define DYNMON_LOGS" end
    local source = ('%s\n#include <dynmon.h>\n#line 1 "%s"\n%s\n#line 1 "<dynmon>"\nDYNMON_ENTRY(%s)\n'):format(
      table.concat(head, "\n"), options.name:gsub('[\\"]', "_"), table.concat(writer.out), options.program)
    return { source = source, maps = maps, logs = logging and writer.logs or {}, clock = clock }
  end)
end

return translate
