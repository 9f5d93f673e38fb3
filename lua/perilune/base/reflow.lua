-- SPDX-License-Identifier: Apache-2.0
--
-- Help that was laid out for a wide terminal, for a narrow one. Pure.
--
--   reflow.text(text, columns)   lines that fit stay as they are; where one does not, its paragraph, or its entry of a
--                                list ("  --set NAME=VALUE  what it does"), is filled anew under its own beginning
--   reflow.usage(text, columns)  a usage line, broken between its words in brackets

local reflow = {}

local LEAST = 20 -- columns that words get, however narrow it is

-- What is seen of a text: a column for each character of UTF-8.
local function width(text) return select(2, text:gsub("[^\128-\191]", "")) end

-- Words in lines of `columns`, those after the first below column `hang`.
local function fill(words, columns, hang, out)
  local line = ""
  for _, word in ipairs(words) do
    if line == "" then
      line = word
    elseif width(line) + 1 + width(word) > columns then
      out[#out + 1] = line
      line = (" "):rep(hang) .. word
    else
      line = line .. " " .. word
    end
  end
  out[#out + 1] = line
end

-- The column under which what belongs to a line goes on: of an entry, that of its second part.
local function hang_of(line)
  local entry = line:match "^(%s+%S.-%s%s+)%S"
  return width(entry or line:match "^%s*")
end

local function paragraphs(text)
  local list, hang = {}, nil
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local indent = width(line:match "^%s*")
    local last = list[#list]
    if last and hang and line:find "%S" and indent == hang and last[1]:find "%S" then
      last[#last + 1] = line
    else
      list[#list + 1] = { line }
      hang = hang_of(line)
    end
  end
  return list
end

local function too_wide(lines, columns)
  for _, line in ipairs(lines) do
    if width(line) > columns then return true end
  end
  return false
end

function reflow.text(text, columns)
  local out = {}
  for _, lines in ipairs(paragraphs(text)) do
    if too_wide(lines, columns) then
      local hang = math.min(hang_of(lines[1]), math.max(columns - LEAST, 0))
      local head, rest = lines[1]:match "^(%s+%S.-%s%s+)(%S.*)$"
      if not head then head, rest = lines[1]:match "^(%s*)(.*)$" end
      local words = {}
      for word in (rest .. " " .. table.concat(lines, " ", 2)):gmatch "%S+" do words[#words + 1] = word end
      words[1] = head .. (words[1] or "")
      fill(words, columns, hang, out)
    else
      for _, line in ipairs(lines) do out[#out + 1] = line end
    end
  end
  return table.concat(out, "\n")
end

-- "perilune run [--set A=B]… (X | Y)" → its words, with what is in brackets whole.
local function usage_words(text)
  local words, open = {}, 0
  for word in text:gmatch "%S+" do
    if open > 0 then
      words[#words] = words[#words] .. " " .. word
    else
      words[#words + 1] = word
    end
    open = open + select(2, word:gsub("[%[(]", "")) - select(2, word:gsub("[%])]", ""))
  end
  return words
end

function reflow.usage(text, columns)
  local indent, rest = text:match "^(%s*)(.*)$"
  local words, out = usage_words(rest), {}
  words[1] = indent .. (words[1] or "")
  fill(words, columns, math.min(#indent + 10, math.max(columns - LEAST, 0)), out)
  return table.concat(out, "\n")
end

return reflow
