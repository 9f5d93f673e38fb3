-- SPDX-License-Identifier: Apache-2.0
-- The command line: which command, with which arguments, and the exit status. main.c calls it once.
--
-- A command is a module perilune.command.NAME with `summary`, `usage`, `options` (for perilune.args) and
-- run(args, context) → exit status. `context` has version, share, path, templates (the registry), out and err
-- (functions that print), fail (see below).
local args = require "perilune.args"
local columns = require "perilune.base.columns"
local files = require "perilune.core.files"
local reflow = require "perilune.base.reflow"
local template = require "perilune.probe.template"
local words = require "perilune.base.words"

-- Exit statuses: done; the work failed; the command or the policy is wrong; not permitted, or the kernel
-- cannot; interrupted twice.
local EXIT = { done = 0, failed = 1, wrong = 2, refused = 3, interrupted = 130 }

local COMMANDS = { "run", "check", "replay", "test", "build", "explain", "templates", "examples", "new", "doctor",
  "map", "top", "repl", "serve", "status", "events", "level", "reload", "inject", "extract", "token", "unpin", "bench",
  "manual" }

-- Exit status by the errno name that came with a failure of the work; any other is 1. EINVAL is clang's word
-- on a policy's or template's code, ENOEXEC the verifier's.
local BY_CODE = { EPERM = 3, EACCES = 3, EOPNOTSUPP = 3, EBUSY = 3, ENOSYS = 3, EINVAL = 2, ENOEXEC = 2 }

local function print_to(file)
  return function(text)
    file:write(text, "\n")
    file:flush()
  end
end

-- A directory list: those of PERILUNE_PATH first, then what came with perilune.
local function template_dirs(context)
  local dirs = {}
  for dir in (context.path or ""):gmatch "[^:]+" do dirs[#dirs + 1] = dir .. "/templates" end
  dirs[#dirs + 1] = context.share .. "/templates"
  return dirs
end

local function short_help(out)
  out [[
perilune watches a network cheaply and goes deeper the moment a policy says so.

  perilune examples                     the policies that come with it
  perilune new NAME                     start one of your own
  perilune check POLICY.lua             compile and verify it; attach nothing
  perilune run POLICY.lua               attach it and watch
  perilune replay POLICY.lua FILE.pcap  the same over a capture
  perilune templates                    what probes can be made of
  perilune doctor                       what this machine can do

Next: perilune examples]]
end

-- Every command, as it says of itself.
local function all_commands()
  local list = {}
  for i, name in ipairs(COMMANDS) do
    list[i] = setmetatable({ name = name }, { __index = require("perilune.command." .. name) })
  end
  return list
end

local function full_help(context)
  context.out "usage: perilune COMMAND [ARGUMENT …]\n"
  for _, command in ipairs(all_commands()) do
    context.out(("%s\n      %s"):format(reflow.usage("  " .. command.usage, columns()), command.summary))
  end
  context.out(reflow.text([[

  perilune COMMAND --help               what a command takes; after a policy, also the policy's options
  perilune --version

PERILUNE_PATH lists directories (colon-separated) whose lua/ and templates/ come before perilune's own.
PERILUNE_CLANG names the clang to use, PERILUNE_CACHE where compiled objects are kept.

Exit status: 0 done, 1 failed, 2 the command or the policy is wrong, 3 not permitted or the kernel cannot,
130 at a second Ctrl-C.]], columns()))
end

-- fail(message, code) for what is wrong before the work begins, broke(message, code) for work that failed:
-- print `perilune: message` and give the exit status.
local function failure(context, otherwise)
  return function(message, code)
    context.err("perilune: " .. tostring(message))
    local status = BY_CODE[code] or otherwise
    return status
  end
end

local function command_help(command, context, parsed)
  local wide = columns()
  context.out(("%s\n\n%s"):format(reflow.usage("usage: " .. command.usage, wide),
    reflow.text(command.help or command.summary:gsub("^%l", string.upper) .. ".", wide)))
  if command.more_help then return command.more_help(parsed, context) or EXIT.done end
  return EXIT.done
end

local function unknown(name, context)
  return context.fail(("there is no command %s (%s)"):format(name, words.suggest(name, COMMANDS)))
end

--- `list`: the arguments; `context`: version, share, path. → exit status
return function(list, context)
  context.out = print_to(io.stdout)
  context.err = print_to(io.stderr)
  context.exit = EXIT
  context.commands = all_commands
  context.fail = failure(context, EXIT.wrong)
  context.broke = failure(context, EXIT.failed)
  context.templates = template.registry(template_dirs(context), files.list, context.share)

  if list[1] == "-e" then
    if not list[2] then return context.fail "-e needs a line (perilune -e 'flows { key = \"src\" }:watch \"1s\"')" end
    list = { "repl", "--eval", unpack(list, 2) }
  end
  local name = table.remove(list, 1)
  if not name then
    short_help(context.out)
    return EXIT.done
  elseif name == "--version" then
    context.out("perilune " .. context.version)
    return EXIT.done
  elseif name == "help" and list[1] then
    name, list = list[1], { "--help" }
  elseif name == "--help" or name == "-h" or name == "help" then
    full_help(context)
    return EXIT.done
  end
  local found = false
  for _, known in ipairs(COMMANDS) do found = found or known == name end
  if not found then return unknown(name, context) end

  local command = require("perilune.command." .. name)
  local parsed, message = args.parse(command.options or {}, list)
  if not parsed then return context.fail(message .. ("; see perilune %s --help"):format(name)) end
  if parsed.help then return command_help(command, context, parsed) end
  return command.run(parsed, context)
end
