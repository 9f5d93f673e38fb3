-- SPDX-License-Identifier: Apache-2.0
--
-- Conditions on rows in a policy's measures, rate("to.syn", "dport == 53"), looked at before there are any rows:
-- whether they can be read, and name fields that the probe has. How a field's values are kept is known only once the
-- probe is loaded, so whether a text is an address, say, shows then.

local expression = require "perilune.records.expression"
local template = require "perilune.probe.template"

local predicate = {}

local TEXTUAL = { name = true, address = true, mac = true }
local NAMED = { proto = "protocol", ifindex = "ifindex" } -- numbers that may be compared with a name

local function field_of(declared, index, textual)
  local kind = NAMED[declared.name] or (textual and "text") or declared.unit == "time" and "time" or "uint"
  return {
    name = declared.name, index = index, kind = kind, count = declared.list and 2 or 1, list = declared.list or false,
    textual = kind == "text", mixed = kind == "text", numeric = kind ~= "text",
  }
end

-- A class as records have it. Bytes in a key are numbers or identifiers, which a manifest does not tell apart:
-- `bytes_are_text` says which is tried.
local function class_of(probe, bytes_are_text)
  local class, in_key = { plain = true, names = {}, by_name = {} }, {}
  for _, name in ipairs(probe.key or {}) do in_key[name] = true end
  for i, declared in ipairs(template.fields(probe.manifest, probe.key, probe.features)) do
    local name, unit = declared.name, declared.unit
    class.names[i] = name
    class.by_name[name] = field_of(declared, i, TEXTUAL[unit] or (bytes_are_text and in_key[name] and unit == "bytes"))
  end
  return class
end

--- true | nil, what is wrong.
function predicate.check(probe, text)
  local compiled, message = expression.compile(class_of(probe, false), text)
  if not compiled then compiled = expression.compile(class_of(probe, true), text) end
  if compiled then return true end
  return nil, message
end

return predicate
