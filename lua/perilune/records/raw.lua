-- SPDX-License-Identifier: Apache-2.0
--
-- Records by the raw bytes of a field, for the engine: keys of rules are kept as they lie in the records, and become
-- text only where somebody reads them.

local blame = require "perilune.base.blame"
local keyed = require "perilune.records.loops_keyed"
local record = require "perilune.records.record"
local value = require "perilune.records.value"
local view = require "perilune.records.view"

local raw = {}

-- The field of this name, whose raw bytes say whether two are equal.
function raw.comparable(class, name)
  return keyed.comparable(record.field(class, name))
end

-- Rows grouped by the raw bytes of `name`, or of several fields (a list) one after the other:
-- { [raw] = { n = rows, <field> = sum, … } }, and how many groups.
function raw.groups(v, name, fields)
  local inner = view.inner(v)
  local class, names = inner.class, type(name) == "table" and name or { name }
  local keys, summed, seen = {}, {}, {}
  for i, key in ipairs(names) do keys[i] = raw.comparable(class, key) end
  for _, wanted in ipairs(fields or {}) do
    if wanted == "n" then blame.fail '"n" is the number of rows in a group' end
    if not seen[wanted] then summed[#summed + 1] = record.number(class, wanted) end
    seen[wanted] = true
  end
  local what = ("groups %s by %s"):format(table.concat(fields or {}, ","), table.concat(names, ","))
  local run = view.generate(inner, what, function() return keyed.groups(class, keys, summed, inner.ids) end)
  local groups, count = run(inner.q, inner.ids, inner.count)
  return groups, count
end

-- Raw bytes of a field as text, and the other way (nil when the text is no such value). Raw text has no NULs at its
-- end here.
function raw.text(v, name, bytes)
  local inner = view.inner(v)
  local field = record.field(inner.class, name)
  if field.kind == "text" then bytes = bytes .. ("\0"):rep(field.size * field.count - #bytes) end
  return (inner.batch:text(field.index, bytes))
end

-- The texts of several fields, none of them text, from their raw bytes one after the other.
function raw.texts(v, names, bytes)
  local class, texts, from = view.inner(v).class, {}, 1
  for i, name in ipairs(names) do
    local field = record.field(class, name)
    local size = field.size * field.count
    texts[i] = raw.text(v, name, bytes:sub(from, from + size - 1))
    from = from + size
  end
  return texts
end

function raw.raw(v, name, text)
  local inner = view.inner(v)
  local field = record.field(inner.class, name)
  local bytes = value.raw(inner, field, text)
  if bytes and field.kind == "text" then bytes = bytes:match "^%Z*" end
  return bytes
end

return raw
