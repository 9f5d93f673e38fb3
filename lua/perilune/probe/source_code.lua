-- SPDX-License-Identifier: Apache-2.0
--
-- Where own code comes from: a file beside the policy, or a text in it; and under which file and line its errors are
-- told. Files are read by the rules of require: what the code includes in quotes lies beside it too.

local sandbox = require "perilune.base.sandbox"
local words = require "perilune.base.words"

local source_code = {}

local MOST_INCLUDES = 64

local function directory(path) return path:match "^(.*/)" or "" end

-- { path → text } of all that a text includes in quotes, directly or not; or nil, line, message, remedy of the text's
-- own line that is wrong. Conditions are not looked at: what may be included counts.
local function includes_of(box, text, path, found)
  local number = 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    local what = line:match "^%s*#%s*include%s*(.-)%s*$"
    local own = what and what:match '^"(.-)"'
    local system = what and what:match "^<(.-)>"
    if what and not own and not system then
      return nil, number, "what is included has to be named", 'like #include "mine.h"'
    elseif system and (system:find "^/" or system:find("..", 1, true)) and not box.trusted then
      return nil, number, ("<%s> leads out of the directories of headers"):format(system), 'like #include <linux/tcp.h>'
    end
    if not box.trusted and (line:find "%.incbin" or line:find "^%s*#%s*embed") then
      return nil, number, "files are not put into a program", "what it needs to know it gets as knobs"
    end
    if own then
      local inner, where, remedy = box:beside(own, directory(path))
      if not inner then return nil, number, where, remedy end
      if not found[where] then
        found[where], found.count = inner, found.count + 1
        if found.count > MOST_INCLUDES then return nil, number, "more than 64 files are included", "use fewer" end
        local ok, _, message, hint = includes_of(box, inner, where, found)
        if not ok then return nil, number, ("%s: %s"):format(where, message), hint end
      end
    end
  end
  return found
end

-- The line of the policy at which a text that is written in it begins; nil when it does not stand there so.
local function line_of(policy, text, from)
  local position = 1
  for _ = 2, from do position = (policy:find("\n", position, true) or #policy) + 1 end
  local at = #text > 0 and policy:find(text, position, true)
  if not at then return nil end
  return select(2, policy:sub(1, at - 1):gsub("\n", "")) + 1
end

local function from_file(box, name, at, title)
  local text, path, remedy = box:beside(name)
  if not text then sandbox.fail(at, ("%s: file: %s"):format(title, path), remedy) end
  return { text = text, file = path, line = 1, beside = directory(path) }
end

local function from_text(box, text, at, title)
  local policy = box.texts[at.file]
  local line = policy and line_of(policy, text, at.line)
  return { text = text, file = line and at.file or ("<%s>"):format((title:gsub('"', ""))), line = line or 1,
    beside = directory(box.file) }
end

-- A number that tells texts apart, for those who compare what own code was earlier.
local function mark_of(code)
  local a, b = 1, 0 -- Adler-32, of the code and what it includes
  local function add(text)
    for i = 1, #text do
      a = (a + text:byte(i)) % 65521
      b = (b + a) % 65521
    end
  end
  add(code.text)
  for _, path in ipairs(words.keys(code.includes or {})) do add(code.includes[path]) end
  return ("%08x"):format(b * 65536 + a)
end

--- The code that `values` names by file or gives as code: { text, file, line, beside = the directory of its includes,
--- includes = { path → text }, mark }. Fails at `at` when there is none.
function source_code.read(values, at, title)
  local box = sandbox.calling()
  if (values.file == nil) == (values.code == nil) then
    sandbox.fail(at, title .. (values.file and ": either file or code, not both" or ": there is no code"),
      'file = "own.bpf.c", or code = [[ … ]]')
  end
  local code = (values.file and from_file or from_text)(box, values.file or values.code, at, title)
  if code.text:find("\0", 1, true) then
    sandbox.fail(at, ("%s: %s: this is a binary file"):format(title, code.file), "own code is C, as text")
  end
  local found, line, message, remedy = includes_of(box, code.text, code.beside .. "x", { count = 0 })
  if not found then sandbox.fail({ file = code.file, line = code.line + line - 1 }, message, remedy) end
  found.count = nil
  code.includes = next(found) and found or nil
  code.mark = mark_of(code)
  return code
end

return source_code
