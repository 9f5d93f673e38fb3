-- SPDX-License-Identifier: Apache-2.0
-- From a declaration to a probe that is loaded and verified but attached to nothing: plan → compile → open →
-- load → windows.
local files = require "perilune.core.files"
local filter = require "perilune.core.filter"
local loop = require "perilune.core.loop"
local core_probe = require "perilune.core.probe"
local objects = require "perilune.probe.objects"
local planner = require "perilune.build.plan"
local vm = require "perilune.core.vm"

local build = {}

local KERNEL_BTF = "/sys/kernel/btf/vmlinux" -- as sysfs has it from Linux 5.4 on, where the kernel was built with it

-- Test builds only honour this; see tests/fault.
local function test_delay()
  local text = vm.faults and os.getenv "PERILUNE_FAULT_DELAY"
  return text and tonumber(text) or nil
end

-- Who is in the sets from the start.
local function put_members(decl, probe)
  for _, set in ipairs(decl.sets or {}) do
    for _, member in ipairs((set.scope or set.export) and set.members or {}) do
      local ok, message, code = probe:member(planner.scope_map(set.name), member, true)
      if not ok then return nil, ("%s:%s: set %q: %s"):format(set.file, set.line, set.name, message), code end
    end
  end
  return true
end

-- Sizes and loading; done(probe, { planned, cached, seconds, load_seconds }) or done(nil, message, code).
local function load(decl, planned, object, info, options, done)
  local exported, pinned = options.exports, options.pinned
  local began = loop.now()
  local probe, message, code = core_probe.open(object, decl.name)
  if not probe then return done(nil, message, code) end
  for _, map in ipairs(planned.entries) do
    local ok
    ok, message, code = probe:entries(map.map, map.entries)
    if not ok then return done(nil, message, code) end
  end
  if exported then
    local ok
    ok, message, code = exported:reuse(probe)
    if not ok then return done(nil, message, code) end
  end
  local started
  local function loaded(ok, failure, failure_code)
    if ok and pinned then ok, failure, failure_code = pinned:pin(probe) end
    if not ok then return done(nil, failure, failure_code) end
    ok, failure, failure_code = probe:windows(planned.windows)
    if not ok then return done(nil, failure, failure_code) end
    if exported then
      ok, failure, failure_code = exported:pin(probe)
      if not ok then return done(nil, failure, failure_code) end
    end
    if pinned then pinned:empty_sets(probe) end
    ok, failure, failure_code = put_members(decl, probe)
    if not ok then return done(nil, failure, failure_code) end
    probe:clock()
    done(probe, { planned = planned, cached = info.cached, seconds = info.seconds, load_seconds = loop.now() - began })
  end
  if pinned then
    started, message, code = pinned:load(probe, object, planned, loaded)
  else
    started, message, code = probe:load(loaded)
  end
  if not started then done(nil, message, code) end
end

--- plan.build with this machine's filters; nil, message for what cannot be planned.
function build.plan(decl, options)
  return planner.build(decl, {
    share = options.share, replay = options.replay, calls = options.calls, delay = test_delay(),
    filter = filter.source, without_btf = not files.kind(KERNEL_BTF),
  })
end

--- What the compiler is asked for a plan.
function build.request(decl, planned)
  return { name = planner.name(decl), source = planned.source, args = planned.args }
end

--- For the engine: who enters and leaves sets that limit a probe's programs.
function build.scope(probe)
  return function(set, member, present) return probe:member(planner.scope_map(set), member, present) end
end

--- Compiles `decl` on the loop. `options`: share, replay. done(object, { planned, cached, seconds }) or
--- done(nil, message, code); returns the compilation, which can be cancelled.
function build.compile(decl, options, done)
  local planned, message = build.plan(decl, options)
  if not planned then
    done(nil, message, "EINVAL")
    return { cancel = function() end }
  end
  return objects.start(build.request(decl, planned), function(object, info, code)
    if not object then return done(nil, info, code) end
    done(object, { planned = planned, cached = info.cached, seconds = info.seconds })
  end, decl.bundle)
end

--- Compiles and loads. `options`: share, replay, exports (exports.lua, when there are any), pinned (pinning.lua, the
--- same). done(probe, {
--- planned, cached, seconds, load_seconds }) or done(nil, message, code). Programs that the kernel refuses are
--- made again with more functions, which need less stack and less of the verifier, and in which what is wrong
--- has a name.
function build.start(decl, options, done)
  local under_way
  local function start(calls)
    local with = { share = options.share, replay = options.replay, calls = calls }
    return build.compile(decl, with, function(object, info, code)
      if not object then return done(nil, info, code) end
      load(decl, info.planned, object, info, options, function(probe, message, failure)
        if failure == "ENOEXEC" and calls and decl.bundle then message = decl.bundle:explain(message) end
        if probe or calls or failure == "EPERM" then return done(probe, message, failure) end
        under_way.now = start(true)
      end)
    end)
  end
  under_way = { cancel = function(self) self.now:cancel() end }
  under_way.now = start(options.calls)
  return under_way
end

return build
