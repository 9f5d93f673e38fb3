-- SPDX-License-Identifier: Apache-2.0
--
-- Where the daemon's socket is when nobody says otherwise: for the daemon, and for the commands that talk to it.
local store_core = require "perilune.core.store"

local places = {}

local function given(name)
  local value = os.getenv(name)
  return value and value ~= "" and value or nil
end

--- $RUNTIME_DIRECTORY (systemd's), else /run/perilune as root, else $XDG_RUNTIME_DIR.
function places.socket()
  local directory = given "RUNTIME_DIRECTORY"
  if directory then return directory:match "^[^:]+" .. "/perilune.sock" end
  if store_core.privileged() then return "/run/perilune/perilune.sock" end
  return (given "XDG_RUNTIME_DIR" or "/tmp") .. "/perilune.sock"
end

return places
