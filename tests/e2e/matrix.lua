-- SPDX-License-Identifier: Apache-2.0
--
-- Prints a line for each template: its name, hooks, key choices and fields, and its features with what they need in the key,
-- as JSON for test_matrix.py.
local cjson = require "cjson"
local template = require "perilune.probe.template"
local words = require "perilune.base.words"

local dir = arg[1]
local templates = template.registry({ dir }, function()
  local names = {}
  for name in assert(io.popen("ls '" .. dir .. "'")):lines() do names[#names + 1] = name end
  return names
end)

for _, name in ipairs(templates:names()) do
  local manifest = assert(templates:get(name))
  local features, keys, fields = {}, {}, {}
  for _, feature in ipairs(words.keys(manifest.features)) do
    local declared = manifest.features[feature]
    local adds = {}
    for _, field in ipairs(declared.fields) do adds[#adds + 1] = type(field) == "table" and field.name or field end
    features[#features + 1] = { name = feature, key = declared.key, requires = declared.requires,
      conflicts = declared.conflicts, fields = adds }
  end
  for _, choice in ipairs(manifest.key and words.keys(manifest.key.choices) or {}) do keys[#keys + 1] = choice end
  for _, field in ipairs(manifest.key_fields or {}) do fields[#fields + 1] = field.name end
  print(cjson.encode { name = name, hooks = manifest.hooks, features = features, keys = keys, key_fields = fields })
end
