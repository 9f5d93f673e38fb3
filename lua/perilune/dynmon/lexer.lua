-- SPDX-License-Identifier: Apache-2.0
--
-- C source as tokens. Their texts, one after the other, are the source again: whoever rewrites some of them leaves all
-- else as it was, comments and texts in quotes included.
--
--   { kind =, text =, line =, directive = true where it belongs to one }
--
-- kinds: name, number, text ("…"), char ('…'), header (<…> of an #include), punct, space (blanks, comments, a line that
-- goes on behind a backslash), newline (one that ends a line).
local lexer = {}

-- Longest first, where one is the beginning of another.
local PUNCTUATION = { "...", "<<=", ">>=", "->", "++", "--", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "+=", "-=",
  "*=", "/=", "%=", "&=", "|=", "^=", "##" }

local function fail(line, what) error({ line = line, what = what }, 0) end

-- Where the quoted text ends that begins at `i`.
local function quoted_end(source, i, quote, line)
  local at = i + 1
  while true do
    local char = source:sub(at, at)
    if char == quote then return at end
    if char == "\\" then
      at = at + (source:find("^\r\n", at + 1) and 3 or 2)
    elseif char == "" or char == "\n" then
      fail(line, ("a text that begins with %s does not end"):format(quote))
    else
      at = at + 1
    end
  end
end

-- Where a comment behind // ends: with its line, or the next one's behind a backslash.
local function comment_end(source, i)
  local from = i
  while true do
    local stop = source:find("\n", from, true)
    if not stop then return #source end
    if not source:sub(i, stop - 1):find "\\\r?$" then return stop - 1 end
    from = stop + 1
  end
end

-- kind and end of the token at `i`. `header`: a <…> is the name of a file here.
local function token_at(source, i, line, header)
  local from, to = source:find("^[%a_][%w_]*", i)
  if from then return "name", to end
  from, to = source:find("^[ \t\r\f\v]+", i)
  if from then return "space", to end
  from, to = source:find("^\\\r?\n", i)
  if from then return "space", to end
  if source:find("^\n", i) then return "newline", i end
  if source:find("^//", i) then return "space", comment_end(source, i) end
  if source:find("^/%*", i) then
    to = select(2, source:find("*/", i + 2, true))
    if not to then fail(line, "a comment does not end") end
    return "space", to
  end
  if source:find('^"', i) then return "text", quoted_end(source, i, '"', line) end
  if source:find("^'", i) then return "char", quoted_end(source, i, "'", line) end
  if header then
    from, to = source:find("^<[^>\n]*>", i)
    if from then return "header", to end
  end
  if source:find("^%.?%d", i) then -- C's preprocessing numbers: 0x1F, 1e+9, 10ULL
    to = i
    while source:find("^[eEpP][+-]", to + 1) or source:find("^[%w_.]", to + 1) do
      to = to + (source:find("^[eEpP][+-]", to + 1) and 2 or 1)
    end
    return "number", to
  end
  for _, punctuation in ipairs(PUNCTUATION) do
    if source:sub(i, i + #punctuation - 1) == punctuation then return "punct", i + #punctuation - 1 end
  end
  return "punct", i
end

--- list | nil, message, line
function lexer.tokens(source)
  local tokens, i, line = {}, 1, 1
  local fresh, directive, including = true, false, false -- a line has just begun; within a directive; of #include
  local ok, failure = pcall(function()
    while i <= #source do
      local kind, to = token_at(source, i, line, including)
      local text = source:sub(i, to)
      if kind == "newline" then
        fresh, directive, including = true, false, false
      elseif kind ~= "space" then
        if fresh and text == "#" then
          directive = true
        elseif directive and (text == "include" or text == "include_next") then
          including = true
        end
        fresh = false
      end
      tokens[#tokens + 1] = { kind = kind, text = text, line = line, directive = directive or nil }
      line = line + select(2, text:gsub("\n", ""))
      i = to + 1
    end
  end)
  if ok then return tokens end
  if type(failure) ~= "table" then error(failure, 0) end
  return nil, failure.what, failure.line
end

return lexer
