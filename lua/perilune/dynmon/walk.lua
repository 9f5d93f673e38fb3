-- SPDX-License-Identifier: Apache-2.0
--
-- Ways through a list of tokens (lexer.lua): over blanks, and through the arguments between brackets.
local walk = {}

local OPENING = { ["("] = ")", ["["] = "]", ["{"] = "}" }

--- Ends the reading: what is wrong at this token. (string.format)
function walk.fail(token, ...) error({ line = token.line, what = (...):format(select(2, ...)) }, 0) end

function walk.is_blank(token) return token.kind == "space" or token.kind == "newline" end

--- The next token that is no blank, from `i` on, and where it is.
function walk.next_at(tokens, i)
  while tokens[i] and walk.is_blank(tokens[i]) do i = i + 1 end
  return tokens[i], i
end

--- `open` is where a "(" stands: the arguments as { from, to } of tokens, and where the ")" stands.
function walk.arguments_at(tokens, open)
  local list, closing, from = {}, { ")" }, open + 1
  local i = open + 1
  while closing[1] do
    local token = tokens[i]
    if not token then walk.fail(tokens[open], "a bracket is not closed") end
    if token.kind == "punct" then
      if OPENING[token.text] then
        closing[#closing + 1] = OPENING[token.text]
      elseif token.text == closing[#closing] then
        closing[#closing] = nil
      elseif token.text == ")" or token.text == "]" or token.text == "}" then
        walk.fail(token, "%s, where %s is due", token.text, closing[#closing])
      elseif token.text == "," and #closing == 1 then
        list[#list + 1], from = { from, i - 1 }, i + 1
      end
    end
    i = i + 1
  end
  list[#list + 1] = { from, i - 2 }
  return list, i - 1
end

function walk.text_of(tokens, range)
  local out = {}
  for i = range[1], range[2] do out[#out + 1] = tokens[i].text end
  return (table.concat(out):gsub("^%s+", ""):gsub("%s+$", ""))
end

--- The only token of an argument that is no blank, or nil.
function walk.single(tokens, range)
  local token, at = walk.next_at(tokens, range[1])
  if not token or at > range[2] then return nil end
  local _, after = walk.next_at(tokens, at + 1)
  return after > range[2] and token or nil
end

return walk
