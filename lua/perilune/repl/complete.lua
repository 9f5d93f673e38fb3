-- SPDX-License-Identifier: Apache-2.0
--
-- What could follow in a line: names of the language, of variables and their methods, of features, keys, knobs, fields,
-- interfaces, topics and files, by what stands before the cursor.

local files = require "perilune.core.files"
local far = require "perilune.repl.far"
local help = require "perilune.repl.help"
local policy = require "perilune.repl.policy"
local probe = require "perilune.repl.probe"
local template = require "perilune.probe.template"
local words = require "perilune.base.words"
local form = require "perilune.base.form"

local complete = {}

local KEYWORDS = { "and", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not",
  "or", "repeat", "return", "then", "true", "until", "while" }
local ROW_VERBS = { "where", "group", "top", "sort", "sum", "mean", "min", "max", "distinct", "quantile", "rate",
  "count", "column", "copy", "join", "delta", "each", "rows", "json", "csv" }
local MOST_LISTED = 200

-- Candidates that begin with `prefix`, sorted, each once.
local function beginning(prefix, candidates)
  local seen, out = {}, {}
  for _, word in ipairs(candidates) do
    if word:sub(1, #prefix) == prefix and not seen[word] then
      seen[word] = true
      out[#out + 1] = word
    end
  end
  table.sort(out)
  return out
end

local function interfaces()
  local names = {}
  for _, name in ipairs(files.list "/sys/class/net" or {}) do names[#names + 1] = name end
  return names
end

local function paths(prefix)
  local dir = prefix:match "^(.*/)" or ""
  local out = {}
  for _, name in ipairs(files.list(dir == "" and "." or dir) or {}) do
    local path = dir .. name
    local kind = files.kind(path)
    if kind == "directory" then
      out[#out + 1] = path .. "/"
    elseif name:find "%.lua$" or name:find "%.pcap" then
      out[#out + 1] = path
    end
  end
  return out
end

-- The template whose braces are open at the end of a text: its manifest.
local function open_template(session, text)
  local depth = 0
  for at = #text, 1, -1 do
    local c = text:sub(at, at)
    if c == "}" then depth = depth + 1 end
    if c == "{" and depth > 0 then
      depth = depth - 1
    elseif c == "{" then
      local before = text:sub(1, at - 1)
      local name = before:match "([%w_]+)%s*%(?%s*$" or before:match "([%w_]+)%s*[\"'][%w_]*[\"']%s*$"
      local manifest = name and session.templates:get(name)
      if manifest then return manifest end
    end
  end
end

-- The value that a name of the session stands for.
local function variable(session, name)
  return session.variables[name]
end

local function features_of(manifest) return words.keys(manifest and manifest.features or {}) end

local function fields_of(p)
  local names = {}
  if form.kind_of(p) ~= "probe" then return names end
  for i, field in ipairs(template.fields(p.manifest, p.key, p.features)) do names[i] = field.name end
  return names
end

-- "probe.field" of all probes that the session knows.
local function measures(session)
  local names = {}
  for _, p in ipairs(session.probes) do
    for _, field in ipairs(fields_of(p)) do names[#names + 1] = p.name .. "." .. field end
  end
  return names
end

local MEASURES = { rate = true, sum = true, mean = true, min = true, max = true, distinct = true, quantile = true,
  per = true, share = true, entropy = true, count = true }

-- Within a text: what it is the value of.
local function in_text(session, before, prefix)
  local key = before:match "([%a_]+)%s*=%s*$" or before:match "([%a_]+)%s*=%s*{[^{}]*$"
  local verb = before:match "([%a_]+)%s*%(?%s*$"
  local owner, method = before:match "([%a_][%w_]*):([%a_]+)%s*%(?[^()]*$"
  if key == "iface" then return interfaces() end
  if key == "features" then return features_of(open_template(session, before)) end
  if key == "hook" then return { "tc", "tc.ingress", "tc.egress", "xdp" } end
  if key == "key" then
    local manifest = open_template(session, before)
    return manifest and manifest.key and words.keys(manifest.key.choices) or {}
  end
  if owner then
    local value = variable(session, owner)
    if method == "enable" or method == "disable" then
      return form.kind_of(value) == "probe" and features_of(value.manifest) or {}
    end
    if value ~= nil and policy.is(value) then return policy.names(value, method == "level" and "levels" or "probes") end
    return fields_of(value)
  end
  if verb == "help" then return help.topics(session) end
  if verb == "templates" then return session.templates:names() end
  if verb == "run" or verb == "save" or verb == "map" then return paths(prefix) end
  if MEASURES[verb] or MEASURES[key] then return measures(session) end
  return {}
end

local function methods_of(session, name)
  local value = variable(session, name)
  if form.kind_of(value) == "probe" then return probe.methods() end
  if value ~= nil and policy.is(value) then return policy.methods() end
  if value ~= nil and far.is(value) then return far.methods() end
  return ROW_VERBS
end

-- Within the braces of a template's body: its keys.
local function keys_of(manifest)
  local keys = { "features", "filter", "fold", "sample", "scope", "iface", "hook", "window", "netns" }
  if manifest.key then keys[#keys + 1] = "key" end
  for _, knob in ipairs(words.keys(manifest.knobs)) do keys[#keys + 1] = knob end
  for i, key in ipairs(keys) do keys[i] = key .. " = " end
  return keys
end

-- Where the text begins that the line ends in; nil outside of texts.
local function open_quote(line)
  local open, opened
  local at = 1
  while at <= #line do
    local c = line:sub(at, at)
    if open then
      if c == "\\" then at = at + 1 elseif c == open then open = nil end
    elseif c == '"' or c == "'" then
      open, opened = c, at
    end
    at = at + 1
  end
  return open and opened
end

--- `before`: earlier lines of the same input, `line`: this one up to the cursor → what has been typed of the last word,
--- and the words that begin so.
function complete.candidates(session, before, line)
  local all = before ~= "" and before .. "\n" .. line or line
  local quote = open_quote(line)
  if quote then
    local prefix = line:sub(quote + 1)
    return prefix, beginning(prefix, in_text(session, all:sub(1, #all - #prefix - 1), prefix))
  end
  local owner, part = line:match "([%a_][%w_]*):([%w_]*)$"
  if owner then return part, beginning(part, methods_of(session, owner)) end
  if line:find "[%)%]]:[%w_]*$" then
    part = line:match "([%w_]*)$"
    return part, beginning(part, ROW_VERBS)
  end
  part = line:match "([%w_]*)$"
  local manifest = open_template(session, all)
  local known = words.keys(session.known)
  for name in pairs(session.variables) do known[#known + 1] = name end
  for _, word in ipairs(KEYWORDS) do known[#known + 1] = word end
  if manifest and all:find "[{,]%s*[%w_]*$" then
    local own = beginning(part, keys_of(manifest))
    if #own > 0 then return part, own end
  end
  return part, beginning(part, known)
end

local function common_prefix(candidates)
  local prefix = candidates[1]
  for _, word in ipairs(candidates) do
    while word:sub(1, #prefix) ~= prefix do prefix = prefix:sub(1, -2) end
  end
  return prefix
end

--- The key was pressed: inserts what is certain, and lists what is not.
function complete.key(session, edit, before, line)
  local typed, candidates = complete.candidates(session, before, line)
  if #candidates == 0 then return end
  local certain = common_prefix(candidates):sub(#typed + 1)
  local quote = open_quote(line)
  if quote and #candidates == 1 and not candidates[1]:find "/$" then certain = certain .. line:sub(quote, quote) end
  if certain ~= "" then
    edit:insert(certain)
  elseif #candidates > 1 then
    local shown = {}
    for i = 1, math.min(#candidates, MOST_LISTED) do shown[i] = (candidates[i]:gsub(" = $", "")) end
    edit:above(table.concat(shown, "  ") .. (#candidates > MOST_LISTED and "  …" or "") .. "\n")
  end
end

return complete
