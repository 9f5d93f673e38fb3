-- SPDX-License-Identifier: Apache-2.0
-- Templates: finding them and reading their manifests.
--
-- A template is a directory NAME with template.bpf.h and manifest.lua. Directories of templates are searched
-- in order, one's own (PERILUNE_PATH) before those that come with perilune, so a template of the same name
-- replaces it.
local common = require "perilune.probe.key_fields"
local words = require "perilune.base.words"

local template = {}

local Registry = {}
Registry.__index = Registry

--- A registry over `dirs`, a list of directories that hold templates. `list(dir)` gives a directory's names
--- or nil. share: the directory that holds bpf/, for whoever compiles.
function template.registry(dirs, list, share)
  return setmetatable({ dirs = dirs, list = list, share = share, loaded = {} }, Registry)
end

local function readable(path)
  local file = io.open(path, "r")
  if file then file:close() end
  return file ~= nil
end

--- The names of all templates, sorted.
function Registry:names()
  local seen, names = {}, {}
  for _, dir in ipairs(self.dirs) do
    for _, name in ipairs(self.list(dir) or {}) do
      if not seen[name] and readable(dir .. "/" .. name .. "/manifest.lua") then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

local required = { "name", "help", "fields", "features", "knobs", "hooks", "windows" }
local known = {
  "name", "help", "rows", "key", "key_fields", "fields", "features", "knobs", "hooks", "windows", "needs",
  "calls", "metrics",
}

local FOLDS = { "sum", "min", "max", "last" }

-- How the values of several CPUs become one: of each field, and of what a windowed map says otherwise.
local function check_folds(manifest, path)
  local function check(name, fold)
    if fold == nil then return nil end
    for _, known_fold in ipairs(FOLDS) do
      if fold == known_fold then return nil end
    end
    return ("%s: %s: unknown fold %s (%s)"):format(path, name, tostring(fold), words.list(FOLDS))
  end
  local message
  for _, field in ipairs(template.fields(manifest, nil, words.keys(manifest.features))) do
    message = message or check(field.name, field.fold)
  end
  for _, window in ipairs(manifest.windows) do
    for field, fold in pairs(window.fold or {}) do
      message = message or check(("%s, %s"):format(window.map, field), fold)
    end
  end
  return message
end

-- The classes of a list that is a histogram, which double from the end of the first on (histogram.lua).
local function check_classes(manifest, path)
  for _, field in ipairs(template.fields(manifest, nil, words.keys(manifest.features))) do
    local classes = field.classes
    if classes and not (field.list and type(classes.first) == "number" and type(classes.unit) == "string") then
      return ("%s: %s: classes are { first = END OF THE FIRST, unit = UNIT }, of a list"):format(path, field.name)
    end
  end
end

-- A key field that is only a name is one of those that all templates share.
local function name_key_fields(manifest, path)
  for i, field in ipairs(manifest.key_fields or {}) do
    if type(field) == "string" then
      if not common[field] then
        return ("%s: no key field %s is shared by templates (%s)"):format(path, field,
          words.suggest(field, words.keys(common)))
      end
      manifest.key_fields[i] = common[field]
    end
  end
end

local function check(manifest, name, path)
  if type(manifest) ~= "table" then return nil, path .. ": a manifest returns a table" end
  for key in pairs(manifest) do
    local found = false
    for _, k in ipairs(known) do found = found or k == key end
    if not found then
      return nil, ("%s: unknown key %s (%s)"):format(path, tostring(key), words.suggest(key, known))
    end
  end
  for _, key in ipairs(required) do
    if manifest[key] == nil then return nil, ("%s: `%s` is missing"):format(path, key) end
  end
  if manifest.name ~= name then
    return nil, ("%s: it calls itself %s (a template's name is its directory's)"):format(path, tostring(manifest.name))
  end
  local message = name_key_fields(manifest, path) or check_folds(manifest, path) or check_classes(manifest, path)
  if message then return nil, message end
  return manifest
end

--- The manifest of a template, with `dir` added: where it was found. nil, message when there is none or it is
--- wrong.
function Registry:get(name)
  if self.loaded[name] then return self.loaded[name] end
  for _, dir in ipairs(self.dirs) do
    local path = ("%s/%s/manifest.lua"):format(dir, name)
    if readable(path) then
      local chunk, message = loadfile(path)
      if not chunk then return nil, message end
      setfenv(chunk, {}) -- a manifest is data
      local ok, manifest = pcall(chunk)
      if not ok then return nil, manifest end
      manifest, message = check(manifest, name, path)
      if not manifest then return nil, message end
      manifest.dir = dir
      self.loaded[name] = manifest
      return manifest
    end
  end
  local names = self:names()
  return nil, ("there is no template %s (%s)"):format(tostring(name), words.suggest(name, names))
end

--- All fields a record of this probe has, in order: key, then counters, then those of its features, each
--- { name, unit, help, fold, feature }. `features` is a list of names; `key` a list of key fields. In a manifest
--- a feature's field may be a bare name; it takes unit and help from its feature. One that is in the key is left out.
function template.fields(manifest, key, features)
  local fields, in_key = {}, {}
  for _, name in ipairs(key or {}) do in_key[name] = true end
  for _, field in ipairs(manifest.key_fields or {}) do
    if in_key[field.name] then fields[#fields + 1] = field end
  end
  for _, field in ipairs(manifest.fields) do fields[#fields + 1] = field end
  for _, feature in ipairs(features or {}) do
    local declared = manifest.features[feature]
    for _, field in ipairs(declared.fields) do
      local own = type(field) == "table" and field or { name = field }
      if not in_key[own.name] then
        fields[#fields + 1] = {
          name = own.name, unit = own.unit or declared.unit, help = own.help or declared.help, fold = own.fold,
          feature = feature, needs = own.needs, list = own.list, classes = own.classes,
        }
      end
    end
  end
  return fields
end

--- The windowed maps that a probe with these features has.
function template.windows(manifest, features)
  local on, list = {}, {}
  for _, feature in ipairs(features or {}) do on[feature] = true end
  for _, window in ipairs(manifest.windows) do
    if (not window.feature or on[window.feature]) and not on[window.without] then list[#list + 1] = window end
  end
  return list
end

return template
