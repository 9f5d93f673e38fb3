-- SPDX-License-Identifier: Apache-2.0
--
-- Templates as words of the language: flows "to" { key = "dst", features = { "tcp_flags" }, entries = 1024 }.
-- What each takes comes from its manifest.

local form = require "perilune.base.form"
local patterns = require "perilune.probe.patterns"
local sampling = require "perilune.probe.sampling"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local template = require "perilune.probe.template"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local probes = {}

local function has(list, word)
  for _, one in ipairs(list) do
    if one == word then return true end
  end
  return false
end

-- A choice by its name, or any list of fields; → { fields in the manifest's order, name = }.
local function key_of(manifest, value)
  local choices, known = manifest.key.choices, {}
  if type(value) == "string" and choices[value] then return { fields = choices[value], name = value } end
  for i, field in ipairs(manifest.key_fields) do known[i] = field.name end
  if type(value) ~= "table" then
    local names = words.keys(choices)
    return nil, ("unknown value %s"):format(units.quote(tostring(value))),
      (words.nearest(tostring(value), names) and words.suggest(tostring(value), names) .. " " or "")
        .. ("one of %s, or a list of fields like { %s }"):format(words.quoted(names), words.quoted(known, 2))
  end
  local wanted, fields = {}, {}
  for at, name in pairs(value) do
    if type(at) ~= "number" or not has(known, name) then
      return nil, ("no field %s for a key"):format(units.quote(tostring(name))), words.suggest(tostring(name), known)
    end
    wanted[name] = true
  end
  for _, name in ipairs(known) do
    if wanted[name] then fields[#fields + 1] = name end
  end
  if #fields == 0 then return nil, "a key without fields", ("like { %s }"):format(words.quoted(known, 2)) end
  return { fields = fields, name = table.concat(fields, ",") }
end

local function spec_of(manifest, more)
  local keys = {
    features = { type = "table" }, fold = { type = "any" },
    filter = { type = "text" }, scope = { type = "text" },
    sample = { type = sampling.parse },
  }
  if manifest.key then
    local function parse(value) return key_of(manifest, value) end
    keys.key = { type = parse, default = parse(manifest.key.default) }
  end
  for name, knob in pairs(manifest.knobs or {}) do
    if knob.type == "patterns" then
      keys[name] = { type = patterns.parse, default = patterns.parse(knob.default) }
    else
      keys[name] = { type = knob.type, default = knob.default, min = knob.min, max = knob.max }
    end
  end
  for name, rule in pairs(more or {}) do keys[name] = keys[name] or rule end
  return schema.new { what = manifest.name, keys = keys }
end

local function features_of(manifest, given, key, at, title)
  local known, wanted, list = words.keys(manifest.features or {}), {}, {}
  for at_index, name in pairs(given or {}) do
    if type(at_index) ~= "number" or type(name) ~= "string" then
      sandbox.fail(at, title .. ": features takes a list of names",
        'like features = { "' .. (known[1] or "name") .. '" }')
    end
    if not (manifest.features or {})[name] then
      sandbox.fail(at, ('%s: no feature "%s"'):format(title, name),
        words.suggest(name, known, "it has no features"))
    end
    wanted[name] = true
  end
  for _, name in ipairs(words.keys(wanted)) do
    local feature = manifest.features[name]
    for _, needed in ipairs(feature.requires or {}) do
      if not wanted[needed] then
        sandbox.fail(at, ('%s: the feature %s requires %s'):format(title, name, needed),
          ('features = { "%s", "%s" }'):format(needed, name))
      end
    end
    for _, field in ipairs(feature.key or {}) do
      if not has(key or {}, field) then
        sandbox.fail(at, ("%s: the feature %s needs %s in the key"):format(title, name, field),
          ("the key is %s"):format(words.list(key)))
      end
    end
    for _, other in ipairs(feature.conflicts or {}) do
      if wanted[other] then
        sandbox.fail(at, ("%s: the features %s and %s exclude each other"):format(title, name, other),
          "leave one out")
      end
    end
    list[#list + 1] = name
  end
  return list
end

local function all_fields(manifest)
  return template.fields(manifest, nil, words.keys(manifest.features or {}))
end

-- What a fold can be, by the unit of a field; "sum" is for amounts only.
local FOLDS = {
  name = { "last" }, address = { "last" }, port = { "last" }, flags = { "last" },
  number = { "min", "max", "last" }, time = { "min", "max", "last" },
}
local ANY_FOLD = { "sum", "min", "max", "last" }

-- fold = "max" for all fields, "none" to keep every CPU's values apart, or { field = "max" }.
local function fold_of(manifest, features, given, at, title)
  if given == nil then return nil end
  if type(given) == "string" then
    if given == "none" or has(ANY_FOLD, given) then return given end
    sandbox.fail(at, ('%s: unknown fold "%s"'):format(title, given), 'one of "sum", "min", "max", "last", "none"')
  end
  if type(given) ~= "table" then
    sandbox.fail(at, title .. ": fold takes a word or fields with words", 'like fold = { packets = "max" }')
  end
  local fields, names = {}, {}
  for _, field in ipairs(all_fields(manifest)) do
    if not field.feature or has(features, field.feature) then
      fields[field.name], names[#names + 1] = field, field.name
    end
  end
  for name, word in pairs(given) do
    local field = fields[name]
    if not field then
      sandbox.fail(at, ("%s: there is no field %s to fold"):format(title, tostring(name)), words.suggest(name, names))
    end
    local possible = FOLDS[field.unit] or ANY_FOLD
    if not has(possible, word) then
      sandbox.fail(at, ("%s: %s cannot be folded as %s"):format(title, name, tostring(word)),
        #possible == 1 and "only last" or "one of " .. table.concat(possible, ", "))
    end
  end
  return given
end

local function chosen(values, keys)
  local out = {}
  for name in pairs(keys) do out[name] = values[name] end
  return out
end

-- The form that a body says, by the schema of its manifest. `more`: further keys (rules of a schema) that the body may
-- have; the form's `more` holds their values, and `body` all as it was written.
local function make(manifest, spec, name, body, at, more)
  local title = name == manifest.name and name or ('%s "%s"'):format(manifest.name, name)
  local values = form.parse(spec, body, at, name ~= manifest.name and ('"%s"'):format(name) or nil)
  local knobs = {}
  for knob in pairs(manifest.knobs or {}) do knobs[knob] = values[knob] end
  local key = manifest.key and values.key.fields
  local features = features_of(manifest, values.features, key, at, title)
  return form.new {
    form = "probe", name = name, template = manifest.name, manifest = manifest, at = at,
    key_name = manifest.key and values.key.name, key = key,
    features = features, knobs = knobs, sample = values.sample, filter = values.filter, scope = values.scope,
    fold = fold_of(manifest, features, values.fold, at, title),
    more = more and chosen(values, more), body = more and body,
  }
end

--- The form of a probe whose manifest is its own (source.lua).
function probes.make(manifest, name, body, at, more)
  return make(manifest, spec_of(manifest, more), name, body, at, more)
end

--- The word for one template.
function probes.word(manifest, more)
  local spec = spec_of(manifest, more)
  return form.word(manifest.name, function(name, body, at)
    return make(manifest, spec, name, body, at, more)
  end, { default_name = manifest.name, identifier = true, form = "probe" })
end

-- Fields that describe a row instead of counting something: adding them up means nothing.
local NO_SUM = { name = true, number = true, flags = true, address = true, port = true, time = true }

-- The unit ("count", "size") of a field that a probe counts; or nil, message, remedy.
function probes.field(probe, name)
  local known, on, found = {}, {}, nil
  for _, feature in ipairs(probe.features) do on[feature] = true end
  for _, field in ipairs(all_fields(probe.manifest)) do
    if field.name == name then found = field end
    if (not field.feature or on[field.feature])
      and not NO_SUM[field.unit] and not field.list then known[#known + 1] = field.name end
  end
  local own = probe.name .. "." .. name
  if found and found.feature and not on[found.feature] then
    return nil, ("%s needs the feature %s of probe %s"):format(own, found.feature, probe.name),
      ('features = { "%s" }'):format(found.feature)
  end
  if found and probe.fold == "none" then
    return nil, own .. " has a value for every CPU, not one", 'fold = "sum", or a function that reads them'
  end
  if found and found.list then
    return nil, own .. " is a list of numbers, not an amount", "known: " .. words.list(known)
  end
  if found and NO_SUM[found.unit] then
    local what = found.unit == "flags" and "flags" or "a " .. found.unit
    return nil, ("%s cannot be measured: it is %s, not an amount"):format(own, what),
      "known: " .. words.list(known)
  end
  if found then return found.unit and found.unit:find("^bytes") and "size" or "count" end
  for _, key in ipairs(probe.key or {}) do
    if key == name then
      return nil, ("%s is part of the key, not an amount"):format(own), "known: " .. words.list(known)
    end
  end
  return nil, ('probe "%s" has no field "%s"'):format(probe.name, name), words.suggest(name, known)
end

-- A sentence for messages: `flows "to"`.
function probes.title(probe)
  return probe.template .. " " .. units.quote(probe.name)
end

return probes
