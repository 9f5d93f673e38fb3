-- SPDX-License-Identifier: Apache-2.0
--
-- Where the daemon's socket is when nobody says otherwise: for the daemon, and for the commands that talk to it.
local files = require "perilune.core.files"
local store_core = require "perilune.core.store"

local places = {}

local SYSTEM = "/run/perilune/perilune.sock"

local function given(name)
  local value = os.getenv(name)
  return value and value ~= "" and value or nil
end

--- $RUNTIME_DIRECTORY (systemd's), else /run/perilune as root, else $XDG_RUNTIME_DIR.
function places.socket()
  local directory = given "RUNTIME_DIRECTORY"
  if directory then return directory:match "^[^:]+" .. "/perilune.sock" end
  if store_core.privileged() then return SYSTEM end
  return (given "XDG_RUNTIME_DIR" or "/tmp") .. "/perilune.sock"
end

--- The socket that a command of this user means: of a daemon of the user's own, if there is one, else the machine's.
function places.reachable()
  local own = places.socket()
  return not files.kind(own) and files.kind(SYSTEM) and SYSTEM or own
end

return places
