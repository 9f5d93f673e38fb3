-- SPDX-License-Identifier: Apache-2.0
-- What run, check and replay share: loading a policy as the command line names it, choosing how to print, and
-- ending on signals.
local audit = require "perilune.audit"
local audit_file = require "perilune.audit.file"
local bundle = require "perilune.build.bundle"
local costs = require "perilune.build.costs"
local describe = require "perilune.probe.describe"
local files = require "perilune.core.files"
local interfaces = require "perilune.base.interfaces"
local kernel = require "perilune.core.kernel"
local loop = require "perilune.core.loop"
local one_line = require "perilune.policy.one_line"
local pinned = require "perilune.core.pinned"
local policy = require "perilune.policy"
local receivers = require "perilune.policy.receivers"
local term = require "perilune.core.term"
local trial = require "perilune.policy.trial"
local vm = require "perilune.core.vm"

local session = {}

-- What can be said of a path before Lua tries to read it.
local function check_path(path)
  local kind, message, code = files.kind(path)
  if not kind then
    return nil, message .. " (is the path right? perilune examples lists those that come with it)", code
  end
  if kind == "directory" then return nil, path .. ": a directory, not a policy file", "EISDIR" end
  return true
end

--- NAME=FILE, or FILE: name or nil, file. A file whose own name reads like NAME=FILE is a file.
function session.name_and_file(word)
  local name, file = word:match "^([%w_.-]+)=(.+)$"
  if not name or files.kind(word) then return nil, word end
  return name, file
end

-- What policy.load wants to know of a file: of a bundle, also what it holds. nil, message, code for one that does not
-- fit.
local function file_spec(path, context)
  if not bundle.is(path) then return { file = path } end
  local opened, message, code = bundle.open(path)
  if not opened then return nil, message, code end
  local fits
  fits, message, code = opened:fits(context, files.list)
  if not fits then return nil, message, code end
  local spec = opened:spec()
  function spec.describe(request, own) return describe.object(request, own, opened) end
  return spec
end

--- What policy.load wants to know of a policy that the command line names, as a file or as -e 'LUA'; nil, message.
--- `unseen`: whether there is such a file is not looked at.
function session.spec(word, parsed, context, unseen)
  local spec = one_line.is(word) and one_line.spec(word)
  if not spec then
    local name, path = session.name_and_file(word)
    local ok, message = unseen, nil
    if not ok then ok, message = check_path(path) end
    if not ok then return nil, message end
    local code
    spec, message, code = file_spec(path, context)
    if not spec then return nil, message, code end
    spec.as = name
  end
  spec.set = spec.bundle and spec.bundle:set(parsed.set) or parsed.set or {}
  spec.templates, spec.trusted = context.templates, parsed.trusted
  return spec
end

local function spec_of(parsed, context, index) return session.spec(parsed[index or 1], parsed, context) end

--- The declaration of the policy that `parsed` names as its argument `index` (default 1), with its --set and
--- --trusted. nil, message, code when wrong.
function session.load(parsed, context, index)
  local spec, message = spec_of(parsed, context, index)
  if not spec then return nil, message end
  if parsed.trusted then
    context.err(("perilune: %s: --trusted: files, processes and memory are within its reach, without limits"):format(
      spec.file))
  end
  return trial.load(policy.load, spec)
end

--- The same for a run that goes on: done(decl, interfaces) or done(nil, message, code, files), with the files that it
--- was made from when they are known. lull: as trial.start has it. Returns what to call when nobody wants it any more.
function session.load_anew(parsed, context, lull, done)
  local spec, message = spec_of(parsed, context)
  if not spec then
    done(nil, message, "EINVAL")
    return function() end
  end
  return trial.start(policy.load, spec, lull, function(decl, why, code)
    if not decl then return done(nil, why, code, spec.sources) end
    local found
    found, why, code = session.interfaces(decl)
    if not found then return done(nil, why, code, decl.sources) end
    done(decl, found)
  end)
end

--- Says what a policy will miss on this machine, which is no error.
function session.warn(decl, context)
  for _, one in ipairs(receivers.warnings(decl.receivers, files.program)) do
    context.err(("perilune: %s:%d: warning: %s (%s)"):format(one.file, one.line, one.message, one.hint))
  end
end

--- Prints the options that the policy declares which `parsed` names.
function session.print_options(parsed, context)
  local spec, message = spec_of(parsed, context)
  if not spec then return context.fail(message) end
  local options
  options, message = trial.load(policy.options, spec)
  if not options then return context.fail(message) end
  context.out(("\noptions of %s, set with --set NAME=VALUE:"):format(spec.file))
  for _, option in ipairs(options) do
    local default = option.default
    if option.type == "iface" and default == nil then default = "the default route's" end
    context.out(("  %-12s %-10s %s%s%s"):format(option.name, option.type or "", option.help or "",
      option.one_of and (" one of " .. table.concat(option.one_of, ", ")) or "",
      default ~= nil and (" [%s]"):format(tostring(option.text or default)) or ""))
  end
  return context.exit.done
end

-- Why a name need not be there yet.
local ABSENT = { ENODEV = true, ENOENT = true }

--- The interfaces that a declaration names and that are there: a list of { name, index }; those of globs are found
--- later. Puts the default route's into a declaration that names none. nil, message, code when one is missing that is
--- not to be waited for.
function session.interfaces(decl)
  local attach = decl.attach
  local netns = attach.netns
  if not attach.iface then
    local name, message, code = kernel.default_interface(netns)
    if not name then return nil, message .. " (name one: --set iface=NAME, or attach = { iface = … })", code end
    attach.iface = { name }
  end
  if netns and not attach.wait then
    local ok, message, code = kernel.netns(netns)
    if not ok then return nil, message, code end
  end
  local found = {}
  for i, name in ipairs(attach.iface) do
    if not interfaces.is_glob(name) then
      local interface, message, code = kernel.interface(name, netns)
      if interface then
        attach.iface[i] = interface.name -- it may have another name as well
        found[#found + 1] = interface
      elseif not (attach.wait and ABSENT[code]) then
        return nil, message, code
      end
    end
  end
  return found
end

--- Where events go: JSON lines, a live view on a terminal, or plain lines.
function session.sink(parsed)
  if parsed.json then
    return require("perilune.show.sink_json").new(nil, { host = parsed.host, site = parsed.site }, { soon = true })
  end
  if term.isatty(1) then return require("perilune.show.screen").new { now = loop.now } end
  return require("perilune.show.sink_text").new { soon = true }
end

--- A recorder for the engine, of what decides, into the file that --audit names; nil without --audit | nil, message,
--- code. In a directory, the file has the policy's name.
function session.audit(parsed, decl)
  local path = parsed.audit
  if not path then return nil end
  if files.kind(path) == "directory" then
    path = ("%s/%s.audit"):format(path:gsub("/+$", ""), (decl.name:gsub("[^%w_.-]", "_")))
  end
  local file, message, code = audit_file.open(path, { later = parsed.pin and pinned.look(decl.name) ~= nil })
  if not file then return nil, "--audit: " .. message, code end
  return audit.new { decl = decl, dry_run = parsed["dry-run"], file = file }
end

--- What levels cost, of the file that --costs names (costs.lua); nil without it | nil, message.
function session.costs(parsed, decl)
  local path = parsed.costs
  if not path then return nil end
  local file, message = io.open(path, "r")
  if not file then return nil, "--costs " .. message end
  local text = file:read(1048576) or ""
  file:close()
  return costs.read(text, decl, path)
end

--- Runs the loop until `driver` (start, stop, and its `finished` callback set by `make`) has ended or
--- signals end it. `make(finished)` → driver; `sink`: closed before anything is said of a failure, and at
--- the end. → exit status
function session.drive(make, context, sink)
  local status = context.exit.done
  local driver
  local handles = {}
  local interrupts = 0
  if sink and sink.out then sink.out.report = function(text) context.err("perilune: " .. text) end end
  driver = make(function(message, code)
    local written, why, how = true, nil, nil
    if sink then written, why, how = sink:close() end
    if written == nil and how == "ENOSPC" then status = context.broke(why, how) end
    -- After a second Ctrl-C the loop is being settled: what then no longer can be done is no news.
    if message and status ~= context.exit.interrupted then status = context.broke(message, code) end
    for _, handle in ipairs(handles) do handle:close() end
    loop.stop()
  end)
  -- An error in our own code ends the run as any failure does: detached, reported, exit status 1.
  vm.on_error(function(traceback)
    if sink then sink:close() end
    context.broke(traceback)
    status = context.exit.failed
    if interrupts > 0 then return loop.stop() end
    interrupts = 1
    driver:stop()
  end)
  local function interrupt()
    interrupts = interrupts + 1
    if interrupts > 1 then
      status = context.exit.interrupted
      for _, handle in ipairs(handles) do handle:close() end
      return loop.stop()
    end
    driver:stop()
  end
  for _, name in ipairs { "SIGINT", "SIGTERM", "SIGHUP" } do
    handles[#handles + 1] = loop.signal(name, interrupt)
  end
  if driver.leave then handles[#handles + 1] = loop.signal("SIGUSR2", function() driver:leave() end) end
  driver:start()
  loop.run()
  return status
end

return session
