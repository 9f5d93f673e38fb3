-- SPDX-License-Identifier: Apache-2.0
--
-- Which daemon a command means, and what it shows to be let in: options, then the environment, then the daemon's own
-- default. Pure but for what `from` brings.
local place = {}

place.options = { socket = "text", server = "text", ["token-file"] = "text" }

place.help = [[
  --socket PATH       the daemon's Unix socket (default: where perilune serve listens)
  --server URL        http://127.0.0.1:9000 or unix:PATH instead (PERILUNE_SERVER)
  --token-file FILE   a bearer token, as perilune token makes it (or PERILUNE_TOKEN)]]

--- Options of a command, with those of place.
function place.with(options)
  for name, kind in pairs(place.options) do options[name] = kind end
  return options
end

-- { path = } or { host =, port = } | nil, message
local function address(url)
  local path = url:match "^unix:(.+)$"
  if path then return { path = path } end
  if url:find "^https://" then
    return nil, "this client speaks no TLS (ask at the daemon's Unix socket, by ssh, or with curl)"
  end
  local host, port = url:match "^http://%[([%x:]+)%]:(%d+)/?$"
  if not host then host, port = url:match "^http://([^/:%[%]]+):(%d+)/?$" end
  if host == "localhost" then host = "127.0.0.1" end
  port = tonumber(port)
  if not host or port < 1 or port > 65535 or not (host:find "^[%d.]+$" or host:find ":") then
    return nil, "no daemon's address (http://127.0.0.1:9000, http://[::1]:9000 or unix:PATH)"
  end
  return { host = host, port = port }
end

local function shown(target)
  if target.path then return target.path end
  return ("http://%s:%d"):format(target.host:find ":" and "[" .. target.host .. "]" or target.host, target.port)
end

--- from: env(name) → text or nil, read(path) → text | nil, message; socket() → the default; is_loopback(host).
--- → { path = } or { host =, port = }, with token and shown (for people) | nil, message
function place.resolve(parsed, from)
  if parsed.socket and parsed.server then return nil, "--socket or --server, not both" end
  local target, message
  local url = parsed.server or not parsed.socket and from.env "PERILUNE_SERVER"
  if url then
    target, message = address(url)
    if not target then return nil, ("%s: %s"):format(url, message) end
  else
    target = { path = parsed.socket or from.socket() }
  end
  local token = from.env "PERILUNE_TOKEN"
  if parsed["token-file"] then
    token, message = from.read(parsed["token-file"])
    if not token then return nil, "--token-file " .. message end
  end
  token = token and token:match "^%s*(.-)%s*$"
  if token and not token:find "^[%w%-%._~%+/]+=*$" then
    return nil, "the token is none (a line of letters and digits, as perilune token prints it)"
  end
  if token and target.host and not from.is_loopback(target.host) then
    return nil, shown(target) .. ": a token is not sent to other machines without TLS (ask there, by ssh)"
  end
  target.token, target.shown = token, shown(target)
  return target
end

return place
