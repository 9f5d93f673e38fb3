-- SPDX-License-Identifier: Apache-2.0
-- perilune token: makes a bearer token for the daemon, and the line of its credentials file.
local auth = require "perilune.serve.auth"
local secret = require "perilune.core.secret"
local store_core = require "perilune.core.store"
local words = require "perilune.base.words"

local token = {
  usage = "perilune token NAME [--role ROLE] [--credentials FILE]",
  summary = "make a bearer token for the daemon; its hash goes into the credentials file",
  options = { role = "text", credentials = "text" },
  help = [[
Prints a new token, which is kept nowhere: give it to its owner. What the daemon needs is its SHA-256, which is added to
the credentials file, or printed to standard error without one. A running daemon reads the file again at SIGHUP.

  --role ROLE         read (the default), operate or admin
  --credentials FILE  the file; it is made when it is not there, for its owner alone]],
}

local BYTES = 32 -- of chance in a token: nobody guesses it, so a fast hash will do
local MOST = 4 * 1024 * 1024

local function new_token()
  local bytes, message, code = secret.random(BYTES)
  if not bytes then return nil, message, code end
  return "plt_" .. bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
end

-- Adds a line to the file; nil, message, code when it cannot be, or when the file is not right as it is.
local function append(path, name, line)
  local text, message, code = store_core.read(path, MOST)
  if not text and code ~= "ENOENT" then return nil, message, code end
  text = text or "# Who may do what at the perilune daemon: token NAME ROLE SHA256, certificate COMMON-NAME ROLE\n"
  local known
  known, message = auth.parse(text, path)
  if not known then return nil, message, "EINVAL" end
  for _, one in ipairs(known.tokens) do
    if one.name == name then
      return nil, ("%s: there is a token of %s already (take its line out, or choose another name)"):format(path, name)
    end
  end
  if text ~= "" and text:sub(-1) ~= "\n" then text = text .. "\n" end
  return store_core.replace(path, text .. line .. "\n")
end

function token.run(parsed, context)
  local name, role = parsed[1], parsed.role or "read"
  if not name or parsed[2] then return context.fail "token takes one name, of whom it is for" end
  if not auth.RANK[role] then
    return context.fail(("--role %s: there is no such role (%s)"):format(role, words.suggest(role, auth.ROLES)))
  end
  if name:find "%s" then return context.fail(('"%s" is no name: it has to be one word'):format(name)) end
  local made, message, code = new_token()
  if not made then return context.broke(message, code) end
  local line = ("token %s %s %s"):format(name, role, secret.sha256(made))
  local ok
  ok, message = auth.parse(line, "token")
  if not ok then return context.fail(message) end
  if parsed.credentials then
    ok, message, code = append(parsed.credentials, name, line)
    if not ok then return context.fail(message, code) end
  else
    context.err(line)
  end
  context.out(made)
  return context.exit.done
end

return token
