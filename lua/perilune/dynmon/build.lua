-- SPDX-License-Identifier: Apache-2.0
--
-- From the paths of a monitor to programs that are loaded and verified, attached to nothing: translate → compile →
-- open → load → second instance, where a metric is to be swapped.
--
-- Each path is a twin of its own. A map that both paths use is the ingress path's; where it is swapped, the egress
-- path's instances take turns with the ingress path's (`coupled`).
local compile = require "perilune.core.compile"
local configuration = require "perilune.dynmon.configuration"
local dialect = require "perilune.dynmon.dialect"
local steps = require "perilune.dynmon.steps"
local translate = require "perilune.dynmon.translate"
local twins = require "perilune.core.twin"
local words = require "perilune.base.words"

local build = {}

--- Other people's code: what perilune itself may not do are warnings here, and a call of what is not declared an error.
build.ARGUMENTS = { "-Wno-error", "-Wno-error=int-conversion", "-Wno-error=incompatible-pointer-types",
  "-Wno-unused-parameter", "-Wno-unused-variable", "-Wno-unused-function", "-Werror=implicit-function-declaration" }

--- The hook, the mode and the context of a path's program.
function build.hook(kind, side)
  if side == "egress" or kind == "TC" then return "tc." .. side, "auto", false end
  return "xdp", kind == "XDP_DRV" and "native" or "generic", true
end

-- Maps that each path declares, by side | nil, message, code.
local function maps_of(paths)
  local maps = {}
  for _, side in ipairs(configuration.PATHS) do
    local path = paths[side]
    local found, message, code = {}, nil, nil
    if path then found, message, code = translate.maps(path.code, side .. "-path") end
    if not found then return nil, message, code end
    maps[side] = found
  end
  return maps
end

-- Names of maps that both paths use.
local function shared_of(maps)
  local shared = {}
  for name, map in pairs(maps.ingress) do
    local other = maps.egress[name]
    if other and map.scope ~= "own" and other.scope ~= "own" and (map.kind or other.kind) then
      shared[name] = map.kind or other.kind
    end
  end
  return shared
end

--- Whether a map is used by both of these paths, so that one is not replaced without the other | nil, message, code.
function build.are_joined(paths)
  local maps, message, code = maps_of(paths)
  if not maps then return nil, message, code end
  return next(shared_of(maps)) ~= nil
end

-- The metrics of a path with the maps they are of: { metric, owner = side }; the maps to swap, by owner.
local function resolve_metrics(paths, maps, shared)
  local readings, swapped = {}, { ingress = {}, egress = {} }
  for _, side in ipairs(configuration.PATHS) do
    readings[side] = {}
    for i, metric in ipairs(paths[side] and paths[side].metrics or {}) do
      local map = maps[side][metric.map]
      if not map then
        steps.raise(('%s-path: metric "%s": its code declares no map %s (%s)'):format(side, metric.name, metric.map,
          words.suggest(metric.map, words.keys(maps[side]))), "EINVAL")
      end
      local owner = shared[metric.map] and "ingress" or side
      local kind = dialect.KINDS[map.kind or shared[metric.map]]
      if not kind then steps.raise(("%s-path:%d: %s"):format(side, map.line, translate.no_owner(map)), "EINVAL") end
      readings[side][i] = { metric = metric, side = side, owner = owner, map = metric.map, list = kind.list or false,
        array = kind.type:find "ARRAY" ~= nil, percpu = kind.type:find "PERCPU" ~= nil }
      if metric.swap then swapped[owner][metric.map] = true end
    end
  end
  return readings, swapped
end

local function names_of(set)
  local list = {}
  for i, name in ipairs(words.keys(set)) do list[i] = { map = name, fold = "none" } end
  return list
end

-- One path: translated, compiled and opened.
local function open(await, side, path, options, shared)
  local _, _, xdp = build.hook(options.kind, side)
  local done, message = translate.code(path.code, {
    name = side .. "-path", program = "dynmon_" .. side, xdp = xdp, level = options.level, kinds = shared,
  })
  if not done then steps.raise(message, "EINVAL") end
  local object, info = await(function(finished)
    return compile.start({ name = ("<dynmon %s>"):format(options.name), source = done.source,
      args = { "-I" .. options.share .. "/bpf", unpack(build.ARGUMENTS) } },
      function(bytes, what, code)
        if not bytes then return finished(nil, what, code == "ECANCELED" and code or "EINVAL") end
        finished(bytes, what)
      end)
  end)
  local twin = steps.check(twins.open(object, ("%s-path"):format(side)))
  twin:keep()
  return { twin = twin, logs = done.logs, clock = done.clock, cached = info.cached, seconds = info.seconds }
end

-- What of `set` was opened here is closed, since the rest failed.
local function close(set, kept)
  for _, side in ipairs(configuration.PATHS) do
    if set[side] and set[side] ~= kept[side] then set[side].twin:close() end
  end
end

local function load(await, set, side, windows, shared)
  local one = set[side]
  if side == "egress" and set.ingress then
    for name in pairs(shared) do steps.check(one.twin:share(set.ingress.twin, name)) end
  end
  await(function(done) return one.twin:load(done) end)
  one.windows = windows
  if #windows > 0 or set.coupled then await(function(done) return one.twin:windows(windows, done) end) end
end

--- For a piece of work (steps.lua): paths as configuration.paths has them; options: name, kind (the monitor's type),
--- level (of logs), share; kept: { ingress =, egress = } of an earlier set, which are not made anew.
--- → { ingress = { twin, windows, logs, clock }, egress, readings = by side, coupled = whether both swap together }
function build.set(await, paths, options, kept)
  local maps = steps.check(maps_of(paths))
  local shared = shared_of(maps)
  local readings, swapped = resolve_metrics(paths, maps, shared)
  local set = { readings = readings, coupled = false }
  for name in pairs(shared) do set.coupled = set.coupled or swapped.ingress[name] ~= nil end
  local ok, failure = pcall(function()
    for _, side in ipairs(configuration.PATHS) do
      if kept[side] then
        set[side] = kept[side]
      elseif paths[side] then
        set[side] = open(await, side, paths[side], options, shared)
        load(await, set, side, names_of(swapped[side]), shared)
      end
    end
  end)
  if not ok then
    close(set, kept)
    error(failure, 0)
  end
  return set
end

return build
