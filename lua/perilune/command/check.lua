-- SPDX-License-Identifier: Apache-2.0
-- perilune check: everything that can be wrong with a policy, without attaching it.
local advise = require "perilune.policy.advise"
local build = require "perilune.build"
local configuration = require "perilune.serve.configuration"
local costs = require "perilune.build.costs"
local files = require "perilune.core.files"
local format = require "perilune.base.format"
local kernel = require "perilune.core.kernel"
local level_cost = require "perilune.build.level_cost"
local metric_form = require "perilune.policy.metric_form"
local session = require "perilune.run.session"
local show = require "perilune.repl.show"

local check = {
  usage = "perilune check (POLICY.lua … | -e 'LUA') [--set NAME=VALUE]… [--source] [--no-cost] [--record FILE] "
    .. "[--json] [--trusted]",
  summary = "compile and verify every level of a policy; attach nothing",
  options = { ["-e"] = "eval", eval = "policy",
    set = "pairs", source = "flag", ["no-cost"] = "flag", record = "text", json = "flag", trusted = "flag" },
  help = [[
Checks the policy, compiles it and has the kernel verify every level for every hook. Nothing is attached. Without
privileges it does all but the verifier and says so. Warns of levels that nothing leads to, of rules that cannot fire or
never clear, and of those that would swing; and says what each level costs a packet (ns on a frame in memory, net of a
program that only passes it), how much of the verifier's patience it takes, and the memory of its maps; of metrics, how
much a scrape is at most.
The daemon's configuration (perilune serve) is checked too.

  -e 'LUA'          a policy, or probes to watch, in the place of a file
  --set NAME=VALUE  sets an option that the policy declares
  --no-cost         does not measure what the levels cost
  --record FILE     writes to FILE what the levels cost, and what the probes have of it that the budget may give up:
                    for replay --costs, whose budget then judges by it, and for run --costs
  --json            one JSON object a policy: levels with their costs, warnings
  --source          prints the C that is generated instead
  --trusted         loads a policy that needs all of Lua (io, os, ffi …), without limits]],
}

-- A driver for session.drive: builds one policy; `found` receives what is known of it then.
local function checker(decl, context, found, finished)
  local driver = {}
  local function done(info, verified)
    found.seconds, found.cached, found.verified = info.seconds, info.cached, verified
    finished()
  end
  function driver.start()
    if kernel.effective().bpf then
      driver.work = build.start(decl, { share = context.share }, function(probe, info, code)
        if not probe then return finished(info, code) end
        probe:close()
        done(info, true)
      end)
    else
      driver.work = build.compile(decl, { share = context.share }, function(object, info, code)
        if not object then return finished(info, code) end
        done(info, false)
      end)
    end
  end
  function driver.stop() driver.work:cancel() end
  return driver
end

local function report_metrics(decl, context)
  for _, declared in ipairs(decl.metrics) do
    local most = metric_form.most(declared)
    context.out(("  metrics %s: at most %s series a field, %s samples, some %s a scrape"):format(declared.probe,
      format.count(most.series), format.count(most.samples), format.bytes(most.bytes)))
  end
end

local function headroom(cost) return 1 - cost.verified / level_cost.VERIFIER_MOST end

local function report_text(decl, found, context)
  local names = {}
  for i, level in ipairs(decl.levels) do names[i] = level.name end
  local from = decl.bundle and " (in the bundle)" or found.cached and " (cached)" or ""
  context.out(("%s: %s: level%s %s: compiled in %.0f ms%s, %s"):format(decl.file, decl.name, #names == 1 and "" or "s",
    table.concat(names, ", "), found.seconds * 1000, from,
    found.verified and "verified" or "not verified (needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)"))
  report_metrics(decl, context)
  if decl.bundle then context.out "  what its levels cost a packet: perilune check of the policy that it is made of" end
  if not found.costs then return end
  local rows = {}
  for i, cost in ipairs(found.costs) do
    rows[i] = { cost.level, ("%.0f ns"):format(cost.ns), format.count(cost.instructions),
      ("%.1f %%"):format(headroom(cost) * 100), format.bytes(cost.map_bytes) }
  end
  local lines = format.table({ { title = "level" }, { title = "a packet", right = true },
    { title = "instructions", right = true }, { title = "verifier's room", right = true },
    { title = "maps", right = true } }, rows, 120)
  for _, line in ipairs(lines) do context.out("  " .. line) end
end

local function report_json(decl, found, context)
  local levels = {}
  for i, level in ipairs(decl.levels) do
    local cost = found.costs and found.costs[i] or {}
    levels[i] = { level = level.name, ns = cost.ns, instructions = cost.instructions, verified = cost.verified,
      headroom = cost.verified and headroom(cost), map_bytes = cost.map_bytes }
  end
  context.out(show.json { v = 1, file = decl.file, policy = decl.name, verified = found.verified, levels = levels,
    seconds = found.seconds, warnings = found.warnings })
end

local function record(path, text)
  local file, message = io.open(path, "w")
  local ok = file and file:write(text)
  if file then ok = file:close() and ok end
  if not ok then return nil, ("--record %s"):format(message or path .. ": it cannot be written") end
  return true
end

local function check_one(decl, parsed, context)
  local found = { warnings = advise.policy(decl) }
  session.warn(decl, context)
  for _, one in ipairs(not parsed.json and found.warnings or {}) do
    context.err(("perilune: %s:%d: warning: %s (%s)"):format(one.file, one.line, one.message, one.hint))
  end
  local status = session.drive(function(finished) return checker(decl, context, found, finished) end, context)
  if status ~= context.exit.done or not found.seconds then return status end
  -- Each level by itself would have to be compiled, and a bundle runs where nothing can be.
  local measured = found.verified and not parsed["no-cost"] and not decl.bundle
  if parsed.record and not measured then
    return context.broke(("--record %s: what a %s costs cannot be measured (%s)"):format(parsed.record,
      decl.bundle and "bundle" or "policy", decl.bundle and "check the policy that it is made of"
        or "run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"), not decl.bundle and "EPERM" or nil)
  end
  if measured then
    local message, code, ended
    found.costs, message, code, ended = level_cost.measure(decl, context, parsed.record ~= nil)
    if not found.costs then return ended or context.broke(message, code) end
    if parsed.record then
      local ok
      ok, message = record(parsed.record, costs.text(decl, found.costs))
      if not ok then return context.broke(message) end
    end
  end
  local report = parsed.json and report_json or report_text
  report(decl, found, context)
  return status
end

-- A daemon's configuration; the policies that it names are checked by themselves.
local function check_configuration(path, context)
  local found, message = require "perilune.serve.resolve"(path, {}, function() end)
  if not found then return context.fail(message) end
  for _, member in ipairs(found.members) do
    if files.kind(member.file) ~= "file" then
      return context.fail(("%s: policy %q: there is no file %s (is the path right?)"):format(path, member.name,
        member.file))
    end
  end
  context.out(("%s: a configuration: %d to listen at, %d polic%s"):format(path, #found.listen, #found.members,
    #found.members == 1 and "y" or "ies"))
  return context.exit.done
end

function check.run(parsed, context)
  if #parsed == 0 then return context.fail "check needs a policy (perilune check POLICY.lua)" end
  if parsed.record and (#parsed > 1 or parsed["no-cost"]) then
    return context.fail "--record FILE takes what one policy costs (name one, without --no-cost)"
  end
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
      status = check_one(decl, parsed, context)
    end
    worst = math.max(worst, status)
  end
  return worst
end

return check
