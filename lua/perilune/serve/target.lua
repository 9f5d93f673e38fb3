-- SPDX-License-Identifier: Apache-2.0
--
-- The target of a request, taken apart: "/v1/policies/a%20b?limit=3" → { "v1", "policies", "a b" }, { limit = "3" }.
--
-- Strict, because what is read in two ways can be used against one of them: a slash is a slash only when it is written
-- as one, there are no "." and ".." and no empty segments, and an escape is two hex digits of what can be seen.
local target = {}

local LONGEST = 4096

-- nil when it is wrongly escaped, or holds a control character.
local function decode(text, plus)
  if plus then text = text:gsub("+", " ") end
  if text:gsub("%%%x%x", ""):find("%", 1, true) then return nil end
  local plain = text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  if plain:find "%c" then return nil end
  return plain
end

local function segments_of(path)
  local segments = {}
  for raw in (path:sub(2) .. "/"):gmatch "([^/]*)/" do
    local segment = decode(raw)
    if not segment or segment:find("/", 1, true) or segment == "." or segment == ".." then
      return nil, "the path is wrongly escaped"
    end
    segments[#segments + 1] = segment
  end
  -- Slashes at the end are nothing, behind something.
  if #segments == 1 and segments[1] == "" then return {} end
  while #segments > 1 and segments[#segments] == "" do segments[#segments] = nil end
  for _, segment in ipairs(segments) do
    if segment == "" then return nil, "the path has an empty segment" end
  end
  return segments
end

local function query_of(text)
  local query = {}
  for part in text:gmatch "[^&]+" do
    local name, value = part:match "^([^=]*)=(.*)$"
    name, value = decode(name or part, true), decode(value or "", true)
    if not name or not value then return nil, "the query is wrongly escaped" end
    if query[name] then return nil, ("%s is in the query twice"):format(name) end
    query[name] = value
  end
  return query
end

--- segments, query | nil, message
function target.parse(text)
  if #text > LONGEST then return nil, "the target is too long" end
  if text:sub(1, 1) ~= "/" then return nil, "the target is no path" end
  local path, rest = text:match "^([^?#]*)(.*)$"
  if rest:find("#", 1, true) then return nil, "the target has a fragment" end
  local segments, message = segments_of(path)
  if not segments then return nil, message end
  local query
  query, message = query_of(rest:sub(2))
  if not query then return nil, message end
  return segments, query
end

return target
