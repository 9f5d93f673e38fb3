-- SPDX-License-Identifier: Apache-2.0
-- perilune run: attach a policy and watch.
local anew = require "perilune.run.anew"
local args = require "perilune.args"
local child = require "perilune.core.child"
local files = require "perilune.core.files"
local live = require "perilune.run.live"
local remote = require "perilune.run.remote"
local session = require "perilune.run.session"
local supervise = require "perilune.run.supervise"
local watch = require "perilune.run.watch"

local run = {
  usage = "perilune run ([NAME=]POLICY.lua … | -e 'LUA') [--set NAME=VALUE]… [--for TIME] [--json] [--dry-run] "
    .. "[--audit FILE] [--costs FILE] [--watch] [--pin [--upgrade]] [--trusted]",
  summary = "attach a policy and watch; a live view on a terminal, plain lines elsewhere",
  options = { ["-e"] = "eval", eval = "policy", set = "pairs", ["for"] = "text", json = "flag", ["dry-run"] = "flag",
    audit = "text", costs = "text", watch = "flag", pin = "flag", upgrade = "flag", trusted = "flag", host = "text",
    site = "text", parent = "text", channel = "flag" },
  help = [[
Compiles and verifies every level of the policy, attaches it, and goes on until Ctrl-C. Everything is
detached at the end.

Several policies run in processes of their own; NAME= gives one another name than its file does, so that
one file can run twice. A value set goes to every policy that declares such an option.

  -e 'LUA'          a policy, or probes to watch, in the place of a file: -e 'flows { key = "src" }'
  --set NAME=VALUE  sets an option that the policy declares (perilune run POLICY.lua --help lists them)
  --for TIME        ends after that time ("10s", "5m")
  --json            one JSON object a line, as event.schema.json describes
  --dry-run         evaluates the rules, but stays at the base level and takes no action
  --audit FILE      appends all that decides to FILE, for perilune explain; of several policies each to a file
                    of its name in the directory FILE
  --costs FILE      what levels cost, of perilune check --record: told with changes of level as long as the budget has
                    not measured it
  --host, --site    labels that every event has, with --json
  --watch           loads the policy anew when its file or its modules change, without losing a packet; what is wrong
                    leaves the old one running
  --pin             what counts is pinned at /sys/fs/bpf/perilune, and goes on should this process be killed; started
                    again with --pin, it goes on from there, and no count is lost (perilune unpin lists what is pinned)
  --upgrade         with --pin, from a process that runs: it leaves, and this one goes on, without a gap; for another
                    version of perilune whose programs are the same
  --trusted         the policy has all of Lua (io, os, ffi …), and no limits of time and memory]],
}

function run.more_help(parsed, context)
  if parsed[1] then return session.print_options(parsed, context) end
end

-- Loads the policy anew whenever its files change. What is wrong is an event, and the old one runs on.
function run.watch(driver, loader, decl, parsed)
  local watching
  watching = watch.new(decl.sources, function()
    loader:load(parsed, function(ok, message, _, sources)
      if sources then watching:follow(sources) end
      if not ok then driver:problem(message, "the policy runs on as it was") end
    end)
  end)
  return watching
end

function run.run(parsed, context)
  if #parsed == 0 then
    return context.fail "run needs a policy (perilune examples lists those that come with it)"
  end
  -- --parent PID: one of several, started by supervise.lua in that process.
  if parsed.parent and not child.follow(tonumber(parsed.parent) or 0) then return context.exit.failed end
  if parsed.watch and parsed.eval then return context.fail "--watch: -e has no file that could change" end
  local seconds, message = args.duration(parsed, "for")
  if message then return context.fail(message) end
  -- --channel: the daemon's, spoken to by its standard input.
  local far = parsed.channel and remote.new { host = parsed.host, site = parsed.site }
  if #parsed > 1 then
    if parsed.audit and files.kind(parsed.audit) ~= "directory" then
      return context.fail(("--audit %s: not a directory, and each of several policies has a log of its own (make one)")
        :format(parsed.audit))
    end
    return supervise.run(parsed, context)
  end
  if parsed.upgrade and not parsed.pin then return context.fail "--upgrade goes with --pin" end
  local decl, code
  decl, message, code = session.load(parsed, context)
  if not decl then return context.fail(message, code) end
  session.warn(decl, context)
  local interfaces
  interfaces, message, code = session.interfaces(decl)
  if not interfaces then return context.fail(message, code) end
  local audit
  audit, message, code = session.audit(parsed, decl)
  if message then return context.fail(message, code) end
  local costs
  costs, message = session.costs(parsed, decl)
  if message then return context.fail(message) end
  local sink = far or session.sink(parsed)
  local watching, loader
  return session.drive(function(finished)
    local driver = live.new {
      decl = decl, share = context.share, sink = sink, interfaces = interfaces, dry_run = parsed["dry-run"],
      seconds = seconds, audit = audit, costs = costs, pin = parsed.pin and context.version, upgrade = parsed.upgrade,
      finished = function(...)
        if watching then watching:close() end
        loader:close()
        finished(...)
      end,
    }
    loader = anew.new(driver, context)
    if far then far:serve(driver, loader) end
    if parsed.watch then watching = run.watch(driver, loader, decl, parsed) end
    return driver
  end, context, sink)
end

return run
