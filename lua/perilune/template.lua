-- SPDX-License-Identifier: Apache-2.0
-- Templates: finding them and reading their manifests.
--
-- A template is a directory NAME with template.bpf.h and manifest.lua. Directories of templates are searched
-- in order, one's own (PERILUNE_PATH) before those that come with perilune, so a template of the same name
-- replaces it.
local words = require "perilune.words"

local template = {}

local Registry = {}
Registry.__index = Registry

--- A registry over `dirs`, a list of directories that hold templates. `list(dir)` gives a directory's names
--- or nil.
function template.registry(dirs, list)
  return setmetatable({ dirs = dirs, list = list, loaded = {} }, Registry)
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
local known = { "name", "help", "rows", "key", "key_fields", "fields", "features", "knobs", "hooks", "windows" }

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

--- All fields a record of this probe has, in order: key, then counters, then those of its features.
--- `features` is a list of names; `key` a list of key fields.
function template.fields(manifest, key, features)
  local fields = {}
  for _, field in ipairs(manifest.key_fields or {}) do
    for _, name in ipairs(key or {}) do
      if name == field.name then fields[#fields + 1] = field end
    end
  end
  for _, field in ipairs(manifest.fields) do fields[#fields + 1] = field end
  for _, feature in ipairs(features or {}) do
    local declared = manifest.features[feature]
    for _, name in ipairs(declared.fields) do
      fields[#fields + 1] = { name = name, unit = declared.unit, help = declared.help, feature = feature }
    end
  end
  return fields
end

return template
