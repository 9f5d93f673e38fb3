-- SPDX-License-Identifier: Apache-2.0
--
-- Where exports write: how a line looks there, and how it is sent.
--
--   open(spec) → { send(text) → true | nil, message, code, bytes sent; close(); fd = (to be watched, or nil) } | nil,
--   message, code
--
-- A file is the daemon's own (0600, see store.lua) and written at once; when it is full it becomes FILE.1, and so on.
local export_form = require "perilune.serve.export_form"
local loop = require "perilune.core.loop"
local socket = require "perilune.core.socket"
local store = require "perilune.base.store"
local term = require "perilune.core.term"

local places = {}

local STDOUT = 1
local INFO = 6 -- syslog's severity

local open = {}

function open.file(spec)
  local log, message, code = store.log_at(spec.path)
  if not log then return nil, message, code end
  local place = { close = function() log:close() end }
  function place.send(text)
    -- A file that cannot be turned goes on growing, and is tried again with the next line.
    if log:size() > 0 and log:size() + #text > spec.size then log:rotate(spec.keep) end
    local bytes, why, errno = log:write(text)
    if bytes then return true end
    return nil, why, errno
  end
  return place
end

function open.stdout()
  return { fd = STDOUT, close = function() end, send = function(text) return term.write(STDOUT, text, false) end }
end

local function open_socket(spec, kind)
  local s, message, code = socket.connect(spec.path, kind)
  if not s then return nil, message, code end
  return { fd = s:fd(), close = function() s:close() end, send = function(text) return s:send(text) end }
end

function open.unix(spec) return open_socket(spec, "stream") end
function open.syslog(spec) return open_socket(spec, "dgram") end

function places.open(spec) return open[spec.place](spec) end

--- function(JSON text) → what is sent of it. Syslog's local form: priority, time, tag, without a newline.
function places.line(spec)
  if spec.place ~= "syslog" then
    return function(text) return text .. "\n" end
  end
  local priority, pid = export_form.FACILITIES[spec.facility] * 8 + INFO, loop.pid()
  return function(text) return ("<%d>%s perilune[%d]: %s"):format(priority, os.date "%b %e %H:%M:%S", pid, text) end
end

return places
