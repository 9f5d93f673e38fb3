-- SPDX-License-Identifier: Apache-2.0
--
-- What the commands that talk to the daemon share: finding it, and a loop that runs until there is nothing more to say.
local client = require "perilune.client"
local http = require "perilune.core.http"
local loop = require "perilune.core.loop"
local place = require "perilune.client.place"
local places = require "perilune.serve.places"
local store = require "perilune.core.store"
local vm = require "perilune.core.vm"

local drive = {}

local MOST = 1024 * 1024 -- bytes of a file of a token, of certificates, of a key

local function env(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

--- The daemon that a command line means: client | nil, message
function drive.daemon(parsed)
  local target, message = place.resolve(parsed, {
    env = env, read = function(path) return store.read(path, MOST) end,
    socket = places.reachable, is_loopback = http.is_loopback,
  })
  if not target then return nil, message end
  return client.new(target)
end

--- Runs start(daemon, finish), and the loop until finish(status) is called, or a signal ends it. → exit status
function drive.run(parsed, context, start)
  local daemon, message = drive.daemon(parsed)
  if not daemon then return context.fail(message) end
  local status
  local function finish(with)
    status = status or with
    loop.stop()
  end
  vm.on_error(function(traceback) finish(context.broke(traceback)) end)
  local handles = {}
  for _, name in ipairs { "SIGINT", "SIGTERM", "SIGHUP" } do
    handles[#handles + 1] = loop.signal(name, function() finish(context.exit.done) end)
  end
  start(daemon, finish)
  if not status then loop.run() end
  for _, handle in ipairs(handles) do handle:close() end
  return status or context.exit.failed
end

--- Asks for several things and hands on all of the answers at once; any that fails ends the command.
--- what: name → path; fn(values by name)
function drive.gather(daemon, context, finish, what, fn)
  local left, values, over = 0, {}, false
  for _ in pairs(what) do left = left + 1 end
  for name, path in pairs(what) do
    daemon:ask("GET", path, nil, function(value, failure)
      if over then return end
      if not failure and type(value) ~= "table" then
        failure = { code = "EPROTO", message = ("%s: what listens there is not perilune's daemon"):format(
          daemon.target.shown) }
      end
      if failure then
        over = true
        return finish(drive.failed(context, failure))
      end
      values[name], left = value, left - 1
      if left == 0 then fn(values) end
    end)
  end
end

--- Says what a request has failed of. → exit status
function drive.failed(context, failure) return context.broke(failure.message, failure.code) end

return drive
