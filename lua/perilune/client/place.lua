-- SPDX-License-Identifier: Apache-2.0
--
-- Which daemon a command means, and what it shows to be let in: options, then the environment, then the daemon's own
-- default. Pure but for what `from` brings.
local place = {}

place.options = { socket = "text", server = "text", ["token-file"] = "text", ca = "text", certificate = "text",
  key = "text" }

place.help = [[
  --socket PATH       the daemon's Unix socket (default: where perilune serve listens)
  --server URL        https://HOST:9443, http://127.0.0.1:9000 or unix:PATH instead (PERILUNE_SERVER)
  --token-file FILE   a bearer token, as perilune token makes it (or PERILUNE_TOKEN)
  --ca FILE           the authority that vouches for the server (default: those that the system trusts)
  --certificate FILE  the client's own, in the place of a token; with --key FILE]]

--- Options of a command, with those of place.
function place.with(options)
  for name, kind in pairs(place.options) do options[name] = kind end
  return options
end

-- { path = } or { host =, port =, tls = bool } | nil, message
local function address(url)
  local path = url:match "^unix:(.+)$"
  if path then return { path = path } end
  local scheme, host, port = url:match "^(https?)://%[([%x:]+)%]:(%d+)/?$"
  if not scheme then scheme, host, port = url:match "^(https?)://([%w.-]+):(%d+)/?$" end
  if host == "localhost" and scheme == "http" then host = "127.0.0.1" end
  port = tonumber(port)
  if not host or port < 1 or port > 65535 then
    return nil, "no daemon's address (https://HOST:9443, http://127.0.0.1:9000 or unix:PATH)"
  end
  return { host = host, port = port, tls = scheme == "https" or nil }
end

local function shown(target)
  if target.path then return target.path end
  return ("%s://%s:%d"):format(target.tls and "https" or "http",
    target.host:find ":" and "[" .. target.host .. "]" or target.host, target.port)
end

-- What TLS goes by: { name =, authorities =, certificate =, key = } | nil, message
local function tls_of(parsed, host, read)
  if (parsed.certificate == nil) ~= (parsed.key == nil) then return nil, "--certificate and --key belong together" end
  local tls = { name = host }
  for option, name in pairs { ca = "authorities", certificate = "certificate", key = "key" } do
    if parsed[option] then
      local text, message = read(parsed[option])
      if not text then return nil, ("--%s %s"):format(option, message) end
      tls[name] = text
    end
  end
  return tls
end

--- from: env(name) → text or nil, read(path) → text | nil, message; socket() → the default; is_loopback(host).
--- → { path = } or { host =, port =, tls = }, with token and shown (for people) | nil, message
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
  if token and target.host and not target.tls and not from.is_loopback(target.host) then
    return nil, shown(target) .. ": a token is not sent to other machines without TLS (https://…)"
  end
  if not target.tls and (parsed.ca or parsed.certificate or parsed.key) then
    return nil, "--ca, --certificate and --key are for a server at https://"
  end
  target.token, target.shown = token, shown(target)
  if target.tls then
    target.tls, message = tls_of(parsed, target.host, from.read)
    if not target.tls then return nil, message end
  end
  return target
end

return place
