-- SPDX-License-Identifier: Apache-2.0
--
-- A session as the text of a policy: the probes that run, and the levels, sets, rules … that were declared, as they
-- were typed. Pure: forms and texts in, text out.

local words = require "perilune.base.words"

local save = {}

-- Where forms go in a policy, in this order.
local PLACES = { { "level", "levels" }, { "set", "sets" }, { "schedule", "schedules" }, { "receiver", "receivers" },
  { "rule", "rules" } }

local function is_name(text) return text:find "^[%a_][%w_]*$" ~= nil end

--- A plain value as Lua.
function save.value(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value):gsub("\n", "n") or tostring(value)
  end
  if rawget(value, "kind") and rawget(value, "text") then return ("%q"):format(value.text) end -- an option's
  local parts = {}
  for _, element in ipairs(value) do parts[#parts + 1] = save.value(element) end
  for _, key in ipairs(words.keys(value)) do
    if type(key) == "string" then
      parts[#parts + 1] = ("%s = %s"):format(is_name(key) and key or ("[%q]"):format(key), save.value(value[key]))
    end
  end
  return #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "{}"
end

--- A probe's form as it would be written; `without`: keys that are said elsewhere.
function save.probe(p, without)
  local body = {}
  for key, value in pairs(p.body) do
    local empty = type(value) == "table" and next(value) == nil
    if not without[key] and not empty then body[key] = value end
  end
  return ("%s %q %s"):format(p.template, p.name, save.value(body))
end

-- Where the form that begins at `from` ends: behind the bracket that closes its body. Strings and comments are passed
-- over.
local function end_of(text, from)
  local depth, i = 0, from
  while i <= #text do
    local c = text:sub(i, i)
    local level = text:match("^%[(=*)%[", i)
    if text:find("^%-%-", i) then
      local long = text:match("^%-%-%[(=*)%[", i)
      local _, stop = text:find(long and "]" .. long .. "]" or "\n", i, true)
      i = stop or #text
    elseif level then
      local _, stop = text:find("]" .. level .. "]", i, true)
      i = stop or #text
    elseif c == '"' or c == "'" then
      local at = i + 1
      while at <= #text and text:sub(at, at) ~= c do at = at + (text:sub(at, at) == "\\" and 2 or 1) end
      i = at
    elseif c == "{" then
      depth = depth + 1
    elseif c == "}" then
      depth = depth - 1
      if depth == 0 then return i end
    end
    i = i + 1
  end
end

--- The text of `kind "name" { … }` within a text; nil when it is not written so.
function save.source(text, kind, name)
  local from = 1
  while true do
    local at, after = text:find("%f[%w_]" .. kind .. "%s*%(?%s*[\"']", from)
    if not at then return nil end
    if text:sub(after + 1, after + #name) == name and text:find("^[\"']", after + #name + 1) then
      local stop = end_of(text, after + #name + 2)
      return stop and text:sub(at, stop)
    end
    from = after + 1
  end
end

local function indented(list)
  local lines = {}
  for i, text in ipairs(list) do lines[i] = "    " .. text .. "," end
  return table.concat(lines, "\n")
end

--- s: { name, attach (table), window (text), probes (forms), declared = { kind → name → form }, chunks = { input →
--- text } } → text | nil, message
function save.policy(s)
  local out = { ("-- Saved by perilune repl.\nreturn policy %q {"):format(s.name),
    ("  attach = %s,\n  window = %q,"):format(save.value(s.attach), s.window) }
  local in_levels = {}
  local sections = {}
  for _, place in ipairs(PLACES) do
    local kind, texts = place[1], {}
    for _, name in ipairs(words.keys(s.declared[kind] or {})) do
      local made = s.declared[kind][name]
      local text = save.source(s.chunks[made.at.file] or "", kind, name)
      if not text then return nil, ('%s "%s" cannot be found in what was typed'):format(kind, name) end
      texts[#texts + 1] = text
      for _, probe in ipairs(kind == "level" and made.items or {}) do in_levels[probe.name] = true end
    end
    if #texts > 0 then sections[#sections + 1] = ("  %s = {\n%s\n  },"):format(place[2], indented(texts)) end
  end
  local always = {}
  for _, p in ipairs(s.probes) do
    if not in_levels[p.name] then
      always[#always + 1] = save.probe(p, { iface = true, netns = true, hook = true, mode = true, wait = true,
        window = true })
    end
  end
  if #always > 0 then out[#out + 1] = ("  always = {\n%s\n  },"):format(indented(always)) end
  for _, section in ipairs(sections) do out[#out + 1] = section end
  out[#out + 1] = "}\n"
  return table.concat(out, "\n")
end

return save
