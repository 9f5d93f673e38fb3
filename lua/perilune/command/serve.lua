-- SPDX-License-Identifier: Apache-2.0
-- perilune serve: the daemon.
local daemon = require "perilune.serve.daemon"
local files = require "perilune.core.files"
local log = require "perilune.serve.log"
local loop = require "perilune.core.loop"
local output = require "perilune.base.output"
local resolve = require "perilune.serve.resolve"
local store = require "perilune.base.store"
local supervise = require "perilune.run.supervise"
local term = require "perilune.core.term"

local serve = {
  usage = "perilune serve [--config FILE] [--listen ADDRESS,…] [[NAME=]POLICY.lua …] [OPTION…]",
  summary = "the daemon: policies that go on for months, with a REST interface and a stream of events",
  options = {
    config = "text", listen = "text", credentials = "text", ["no-auth"] = "flag", host = "text", site = "text",
    log = "text", set = "pairs", trusted = "flag",
    pin = "flag",
  },
  help = [[
Runs policies, each in a process of its own, and answers over HTTP; GET /v1/openapi.json describes the interface.
Without --listen, at a Unix socket that only its owner may connect to.

  --config FILE       the configuration (perilune check FILE checks it); the environment (PERILUNE_LISTEN,
                      PERILUNE_CREDENTIALS, PERILUNE_HOST, PERILUNE_SITE, PERILUNE_LOG) and options outdo it
  --listen ADDRESS,…  unix:PATH, 127.0.0.1:9000, [::1]:9000; other addresses need TLS, in the configuration
  --credentials FILE  who may do what (perilune token makes its lines)
  --no-auth           everybody may do everything at a TCP address of loopback: for tests
  --host, --site      labels that every event and every line of the log has
  --log LEVEL:FORMAT  debug, info, warn or error; text, json, journal or auto
  --set NAME=VALUE    sets an option, for every policy of the command line that declares it
  --pin               policies are pinned, as perilune run --pin has it, and go on should the daemon be killed; SIGUSR2
                      ends the daemon and leaves them so: the next one, of a new version maybe, goes on with them
  --trusted           policies of the command line have all of Lua, and no limits of time and memory

SIGHUP reads configuration, credentials and policies again, as POST /v1/reload does: each policy is replaced without
losing a packet, and what is wrong leaves the old one running. SIGTERM ends it: every policy is detached, with its
last window.]],
}

-- Policies of the command line, as the daemon wants them: list | nil, message.
local function members_of(parsed, context)
  local list, message = supervise.members(parsed, context)
  if not list then return nil, message end
  local ok
  ok, message = supervise.check_set(list, parsed.set or {})
  if not ok then return nil, message end
  local out = {}
  for i, one in ipairs(list) do
    if files.kind(one.file) ~= "file" then
      return nil, ("%s: there is no such file (is the path right?)"):format(one.file)
    end
    local set = {}
    for name, value in pairs(parsed.set or {}) do
      if one.options and one.options[name] then set[name] = value end
    end
    out[i] = { name = one.name, file = one.file, set = set, trusted = parsed.trusted, origin = "command line" }
  end
  return out
end

-- Two of one name cannot be told apart.
local function join(configured, given)
  local list, seen = {}, {}
  for _, part in ipairs { configured, given } do
    for _, one in ipairs(part) do
      if seen[one.name] then
        return nil, ('two policies are called "%s" (NAME=POLICY.lua gives one another name)'):format(one.name)
      end
      seen[one.name] = true
      list[#list + 1] = one
    end
  end
  return list
end

local function env(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

local function clock() return loop.rfc3339(loop.wall()) end

local function new_log(resolved)
  local out = output.new(2, { soon = true })
  return log.new {
    level = resolved.log.level, format = resolved.log.format, fields = resolved.labels, clock = clock,
    write = function(text) out:write(text) end, terminal = term.isatty(2), journal = os.getenv "JOURNAL_STREAM" ~= nil,
  }
end

-- Configuration, environment and command line together; nil, message.
local function read(parsed, context)
  local resolved, message = resolve(parsed.config or env "PERILUNE_CONFIG", parsed, env)
  if not resolved then return nil, message end
  local given
  given, message = members_of(parsed, context)
  if not given then return nil, message end
  resolved.members, message = join(resolved.members, given)
  if not resolved.members then return nil, message end
  resolved.wording = resolved.log
  return resolved
end

function serve.run(parsed, context)
  local resolved, message = read(parsed, context)
  if not resolved then return context.fail(message) end
  local code
  resolved.store, message, code = store.open()
  if not resolved.store then return context.fail(message, code) end
  resolved.log, resolved.version = new_log(resolved), context.version
  resolved.share, resolved.templates = context.share, context.templates
  resolved.reread = function() return read(parsed, context) end
  return daemon.new(resolved):run(context)
end

return serve
