-- SPDX-License-Identifier: Apache-2.0
-- perilune check: everything that can be wrong with a policy, without attaching it.
local advise = require "perilune.advise"
local build = require "perilune.build"
local configuration = require "perilune.serve.configuration"
local kernel = require "perilune.core.kernel"
local session = require "perilune.session"

local check = {
  usage = "perilune check POLICY.lua … [--set NAME=VALUE]… [--source] [--trusted]",
  summary = "compile and verify every level of a policy; attach nothing",
  options = { set = "pairs", source = "flag", trusted = "flag" },
  help = [[
Checks the policy, compiles it and has the kernel verify every level for every hook. Nothing is attached. Without
privileges it does all but the verifier and says so. What is allowed but hardly meant is a warning: levels that nothing
leads to, rules that cannot fire, rules that would fire and clear in turn.
The daemon's configuration (perilune serve) is checked too.

  --set NAME=VALUE  sets an option that the policy declares
  --source          prints the C that is generated instead
  --trusted         loads a policy that needs all of Lua (io, os, ffi …), without limits]],
}

-- A driver for session.drive: builds one policy and reports.
local function checker(decl, context, finished)
  local permitted = kernel.effective().bpf
  local driver = {}
  local function report(info, verified)
    local names = {}
    for i, level in ipairs(decl.levels) do names[i] = level.name end
    context.out(("%s: %s: level%s %s: compiled in %.0f ms%s, %s"):format(decl.file, decl.name,
      #names == 1 and "" or "s", table.concat(names, ", "), info.seconds * 1000,
      info.cached and " (cached)" or "",
      verified and "verified" or "not verified (needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)"))
    finished()
  end
  function driver.start()
    if permitted then
      driver.work = build.start(decl, { share = context.share }, function(probe, info, code)
        if not probe then return finished(info, code) end
        probe:close()
        report(info, true)
      end)
    else
      driver.work = build.compile(decl, { share = context.share }, function(object, info, code)
        if not object then return finished(info, code) end
        report(info, false)
      end)
    end
  end
  function driver.stop() driver.work:cancel() end
  return driver
end

local function warn(decl, context)
  for _, one in ipairs(advise.policy(decl)) do
    context.err(("perilune: %s:%d: warning: %s (%s)"):format(one.file, one.line, one.message, one.hint))
  end
end

-- A daemon's configuration; the policies that it names are checked by themselves.
local function check_configuration(path, context)
  local found, message = require "perilune.serve.resolve"(path, {}, function() end)
  if not found then return context.fail(message) end
  context.out(("%s: a configuration: %d to listen at, %d polic%s"):format(path, #found.listen, #found.members,
    #found.members == 1 and "y" or "ies"))
  return context.exit.done
end

function check.run(parsed, context)
  if #parsed == 0 then return context.fail "check needs a policy (perilune check POLICY.lua)" end
  local worst = context.exit.done
  for index = 1, #parsed do
    local status
    local configured = configuration.is(parsed[index])
    local decl, message, code
    if not configured then decl, message, code = session.load(parsed, context, index) end
    if configured then
      status = check_configuration(parsed[index], context)
    elseif not decl then
      status = context.fail(message, code)
    elseif parsed.source then
      local planned, why = build.plan(decl, { share = context.share })
      status = planned and context.exit.done or context.fail(why)
      if planned then context.out(planned.source) end
    else
      session.warn(decl, context)
      warn(decl, context)
      status = session.drive(function(finished) return checker(decl, context, finished) end, context)
    end
    worst = math.max(worst, status)
  end
  return worst
end

return check
