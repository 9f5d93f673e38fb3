-- SPDX-License-Identifier: Apache-2.0
--
-- What own code declares: its object, compiled while the policy is being loaded, and opened without being loaded into
-- the kernel. Objects come from the compiler's cache, so that only new code takes time.
require "perilune.core.batch" -- layouts are given as batches give them
local core_probe = require "perilune.core.probe"
local objects = require "perilune.probe.objects"
local words = require "perilune.base.words"

local describe = {}

local MOST = 32 -- descriptions that are kept
local known, count = {}, 0

local function key_of(request, code)
  local parts = { request.name, request.source, table.concat(request.args, "\n") }
  for _, path in ipairs(words.keys(code.includes or {})) do parts[#parts + 1] = code.includes[path] end
  return table.concat(parts, "\0")
end

--- request: { name, source, args } of plan_probe.alone; code: what source_code.read gave; bundle: of the policy, if it
--- came in one. → { maps, programs, layout(map, index) } | nil, message, code
function describe.object(request, code, bundle)
  local key = key_of(request, code)
  if known[key] then return known[key] end
  local object, message, why = objects.now(request, bundle)
  if not object then return nil, message, why end
  local probe
  probe, message, why = core_probe.open(object, request.name)
  if not probe then return nil, message, why end
  if count == MOST then known, count = {}, 0 end
  known[key], count = {
    maps = probe:maps(), programs = probe:programs(),
    layout = function(map, index) return probe:layout(map, index) end,
  }, count + 1
  return known[key]
end

return describe
