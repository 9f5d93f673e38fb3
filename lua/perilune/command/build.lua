-- SPDX-License-Identifier: Apache-2.0
-- perilune build: a policy as a bundle, which runs where there is no clang.
local build = require "perilune.build"
local bundle = require "perilune.build.bundle"
local describe = require "perilune.probe.describe"
local files = require "perilune.core.files"
local format = require "perilune.base.format"
local objects = require "perilune.probe.objects"
local policy = require "perilune.policy"
local session = require "perilune.run.session"
local store = require "perilune.core.store"
local task = require "perilune.base.task"
local trial = require "perilune.policy.trial"
local words = require "perilune.base.words"

local command = {
  usage = "perilune build POLICY.lua -o FILE.bundle [--set NAME=VALUE]… [--trusted]",
  summary = "compile a policy into a file that runs where there is no clang",
  options = { set = "pairs", output = "text", ["-o"] = "output", trusted = "flag" },
  help = [[
Puts the policy, the modules and the own code beside it, and its compiled programs into one file: run, check, test,
replay and serve take it in the place of a policy, and need no clang. The perilune there has to be of the same version,
with the same templates; kernels may differ as far as verifiers agree. Options keep the values they are built with,
and can be set anew as far as no program depends on them: interfaces and thresholds of rules, not hooks, knobs, or
thresholds of triggers. A bundle is not signed: take it only from whom you would take a policy.

  -o FILE           where it is written (--output)
  --set NAME=VALUE  sets an option that the policy declares
  --trusted         the policy has all of Lua (io, os, ffi …), and no limits of time and memory]],
}

function command.more_help(parsed, context)
  if parsed[1] then return session.print_options(parsed, context) end
end

-- What the compiler is asked when the policy is attached and when it is replayed; each also with more functions, for
-- programs that need them (build.lua).
local function requests_of(decl, context, requests)
  for _, replay in ipairs { false, true } do
    for _, calls in ipairs { false, true } do
      local planned, message = build.plan(decl, { share = context.share, replay = replay, calls = calls })
      if not planned then return nil, message end
      requests[#requests + 1] = build.request(decl, planned)
    end
  end
  return requests
end

-- The policy's files by their paths beside it; or nil, message.
local function files_of(spec, decl, prefix)
  local found = {}
  for _, path in ipairs(decl.sources) do
    local file = io.open(path, "rb")
    local text = path == spec.file and spec.source or file and file:read "*a"
    if file then file:close() end
    if text and path:sub(1, #prefix) ~= prefix or text and prefix == "" and path:find "^/" then
      return nil, ("%s lies elsewhere than the policy (a bundle holds what is beside it)"):format(path)
    end
    if text then found[path:sub(#prefix + 1)] = text end
  end
  return found
end

local function templates_of(decl)
  local used = {}
  for _, probe in ipairs(decl.probes) do
    if not probe.code then used[probe.template] = true end
  end
  return words.keys(used)
end

local function compile(requests, prefix)
  local compiled = {}
  local ok, message, code, status = task.run(function(t)
    for _, request in ipairs(requests) do
      local key = bundle.key(request, prefix)
      if not compiled[key] then
        compiled[key] = t:await(function(done) return objects.start(request, done) end)
      end
    end
  end)
  if ok then return compiled end
  return nil, message, code, status
end

local function release()
  local file = io.open "/proc/sys/kernel/osrelease"
  local text = file and file:read "*l" or "?"
  if file then file:close() end
  return text
end

function command.run(parsed, context)
  if #parsed ~= 1 or not parsed.output then
    return context.fail "build needs a policy and where to write it (perilune build edge.lua -o edge.bundle)"
  end
  local spec, message, code = session.spec(parsed[1], parsed, context)
  if not spec then return context.fail(message, code) end
  if spec.bundle then return context.fail(parsed[1] .. " is a bundle already (build one from the policy)") end
  local directory = parsed.output:match "^(.*)/" or "."
  if files.kind(directory == "" and "/" or directory) ~= "directory" then
    return context.fail(("--output %s: there is no directory %s (is the path right?)"):format(parsed.output, directory))
  end
  local requests = {}
  spec.describe = function(request, own)
    requests[#requests + 1] = request
    return describe.object(request, own)
  end
  local decl
  decl, message, code = trial.load(policy.load, spec)
  if not decl then return context.fail(message, code) end
  requests, message = requests_of(decl, context, requests)
  if not requests then return context.fail(message) end
  local prefix = (spec.file or ""):match "^(.*/)" or ""
  local held
  held, message = files_of(spec, decl, prefix)
  if not held then return context.fail(message) end
  local compiled, status
  compiled, message, code, status = compile(requests, prefix)
  if not compiled then return status or context.broke(message, code) end
  local bytes = bundle.bytes({ policy = spec.file:sub(#prefix + 1), name = decl.name, files = held, objects = compiled,
    set = parsed.set or {}, templates = templates_of(decl), kernel = release(), list = files.list }, context)
  local ok
  ok, message, code = store.replace(parsed.output, bytes)
  if not ok then return context.broke(message, code) end
  context.out(("wrote %s: %s, %s; for perilune %s\n\nNext: perilune check %s"):format(parsed.output, decl.name,
    format.bytes(#bytes), context.version, parsed.output))
  return context.exit.done
end

return command
