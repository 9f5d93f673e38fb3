-- SPDX-License-Identifier: Apache-2.0
--
-- Configuration and settings as this machine has them: for `perilune serve`, and for `perilune check` of the same file.
local configuration = require "perilune.serve.configuration"
local http = require "perilune.core.http"
local places = require "perilune.serve.places"
local settings = require "perilune.serve.settings"
local store_core = require "perilune.core.store"
local trial = require "perilune.policy.trial"

local MOST = 4 * 1024 * 1024 -- bytes of a file of credentials or of a key

-- Refuses what others could write.
local function read(path) return store_core.read(path, MOST) end

--- path: of the configuration, or nil; flags and env: as settings.resolve has them → settings | nil, message
return function(path, flags, env)
  local config = {}
  if path then
    local message
    config, message = trial.load(configuration.load, { file = path })
    if not config then return nil, message end
  end
  return settings.resolve(flags, env, config, {
    default_socket = places.socket(), read = read, is_loopback = http.is_loopback,
  })
end
