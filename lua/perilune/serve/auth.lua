-- SPDX-License-Identifier: Apache-2.0
--
-- Who may do what. Three roles, each with what the ones before it may:
--
--   read     look at everything
--   operate  force levels, drain windows, read maps
--   admin    inject, replace and delete policies, reload
--
-- Whoever shows no credential may ask for the health and nothing else. A credential is one of
--
--   a bearer token        its SHA-256 is in the credentials file; the token itself is nowhere but with its owner
--   a client certificate  which the configured authorities vouch for; its common name is in the credentials file
--   a Unix socket         whose file's mode says who may connect: root and the daemon's own user are admin, others
--                         who may have the socket's role
--
-- The credentials file has one credential a line, # begins a comment:
--
--   token NAME ROLE SHA256
--   certificate COMMON-NAME ROLE
local words = require "perilune.base.words"

local auth = {}

auth.ROLES = { "read", "operate", "admin" }

local RANK = { read = 1, operate = 2, admin = 3 }

auth.RANK = RANK

--- Whether somebody of this role (nil: nobody) may do what needs that one ("none": everybody may).
function auth.may(role, needed)
  return needed == "none" or (RANK[role] or 0) >= RANK[needed]
end

local NAME = "^[%w_][%w_.@-]*$"

local parsers = {}

function parsers.token(out, name, role, hash)
  if not hash or #hash ~= 64 or hash:find "%X" then return "a SHA-256 in hex is missing" end
  out.tokens[#out.tokens + 1] = { name = name, role = role, hash = hash:lower() }
end

function parsers.certificate(out, name, role, rest)
  if rest then return "too many words" end
  if out.certificates[name] then return ("%s is there twice"):format(name) end
  out.certificates[name] = role
end

local function one(out, text)
  local kind, name, role, rest = text:match "^(%S+)%s+(%S+)%s+(%S+)%s*(.-)$"
  if not kind then return "expected a kind, a name and a role" end
  if rest == "" then rest = nil end
  local parser = parsers[kind]
  if not parser then return ("%s is no kind of credential (token or certificate)"):format(kind) end
  if not name:find(NAME) then return ("%s is no name"):format(name) end
  if not RANK[role] then
    return ("%s is no role (%s)"):format(role, words.suggest(role, auth.ROLES, table.concat(auth.ROLES, ", ")))
  end
  return parser(out, name, role, rest)
end

--- The credentials of a file's text | nil, message.
function auth.parse(text, path)
  local out, number = { tokens = {}, certificates = {} }, 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    local what = line:gsub("#.*", ""):match "^%s*(.-)%s*$"
    local wrong = what ~= "" and one(out, what)
    if wrong then return nil, ("%s:%d: %s"):format(path, number, wrong) end
  end
  return out
end

local Auth = {}
Auth.__index = Auth

--- options: credentials (from parse, or nil), secret (sha256(text) → hex, equal(a, b) in constant time), uid (the
--- daemon's own).
function auth.new(options)
  return setmetatable({
    credentials = options.credentials or { tokens = {}, certificates = {} }, secret = options.secret, uid = options.uid,
  }, Auth)
end

function Auth:replace(credentials) self.credentials = credentials end

-- Every hash is compared, so that how long it takes says nothing.
local function by_token(self, token)
  local hash, found = self.secret.sha256(token), nil
  for _, known in ipairs(self.credentials.tokens) do
    if self.secret.equal(known.hash, hash) then found = known end
  end
  return found and { name = found.name, role = found.role, by = "token" }
end

--- listener: where the request came in: { no_auth =, role = (of a Unix socket) }; peer: as request:peer() has it;
--- authorization: that header or nil. → { name, role, by } | nil, why: what was wrong with what was shown
function Auth:identify(listener, peer, authorization)
  if authorization then
    local token = authorization:match "^[Bb][Ee][Aa][Rr][Ee][Rr] +([%w%-%._~%+/]+=*)%s*$"
    if not token then return nil, "only bearer tokens are known here" end
    local who = by_token(self, token)
    if who then return who end
    return nil, "this token is not known"
  end
  if listener.no_auth then return { name = "anybody", role = "admin", by = "no-auth" } end
  if peer.subject then
    local role = self.credentials.certificates[peer.subject]
    if role then return { name = peer.subject, role = role, by = "certificate" } end
    return nil, ("the certificate of %s has no role here"):format(peer.subject)
  end
  if peer.uid then
    local own = peer.uid == 0 or peer.uid == self.uid
    return { name = ("uid %d"):format(peer.uid), role = own and "admin" or listener.role, by = "socket" }
  end
end

return auth
