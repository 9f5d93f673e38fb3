-- SPDX-License-Identifier: Apache-2.0
--
-- The daemon's interface (/v1), asked from the loop: what `perilune status` and its like are made of.
--
--   client.new(target) → c                                   target: as place.resolve has it
--   c:ask(method, path, body, done [, seconds])              done(value, nil, text) | done(nil, failure)
--   c:stream(path, event, ended) → s; s:close()              event(name, text) for each; ended(failure)
--
-- A failure is { message = for people, with what to do; code = an errno's name; status = of HTTP, if it came so far }.
-- Every request has a connection of its own.
local json = require "perilune.base.json"
local json_read = require "perilune.base.json_read"
local loop = require "perilune.core.loop"
local reply = require "perilune.client.reply"
local sse = require "perilune.client.sse"
local stream = require "perilune.core.stream"

local client = {}
local Client = {}
Client.__index = Client

local REPLY_SECONDS = 30
local SILENT_SECONDS = 50 -- without a word on a stream; the daemon says something every 15
local BODY_MOST = 64 * 1024 * 1024 -- bytes

function client.new(target) return setmetatable({ target = target }, Client) end

--- A part of a path, whatever is in it.
function client.escape(text)
  return (tostring(text):gsub("[^%w_.~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- ---------------------------------------------------------------------------------------------- what can be wrong

local NOBODY = { ENOENT = true, ECONNREFUSED = true }

local function not_connected(self, message, code)
  local at = self.target.shown
  if NOBODY[code] then
    return { code = code, message = ("no daemon listens at %s (perilune serve starts one; --socket PATH, where it is "
      .. "elsewhere)"):format(at) }
  elseif code == "EACCES" or code == "EPERM" then
    return { code = "EACCES", message = ("%s: not permitted to connect (become root, or somebody that mode and group "
      .. "of the daemon's `listen` let in)"):format(at) }
  end
  if code == "EKEYREJECTED" then message = message:gsub("%s+$", "") .. " (--ca FILE names who vouches for it)" end
  return { code = code, message = ("%s: %s"):format(at, message) }
end

local REMEDIES = {
  [401] = "a token with --token-file FILE or in PERILUNE_TOKEN; perilune token makes one",
  [403] = "a token of that role with --token-file FILE, or root at the daemon's socket",
}

local function refused(status, value, text)
  local detail = type(value) == "table" and value.detail or text:match "^[^\r\n]*"
  if type(detail) ~= "string" or detail == "" then detail = ("the daemon answered %d"):format(status) end
  local code = (status == 401 or status == 403) and "EACCES" or status < 500 and "EINVAL" or "EIO"
  if REMEDIES[status] then detail = ("%s (%s)"):format(detail, REMEDIES[status]) end
  return { status = status, code = code, message = detail }
end

-- ---------------------------------------------------------------------------------------------- one exchange

local function request_text(self, method, path, body)
  local target = self.target
  local host = target.host and (target.host:find ":" and "[" .. target.host .. "]" or target.host) or "localhost"
  local lines = { ("%s %s HTTP/1.1"):format(method, path), "Host: " .. host, "Connection: close" }
  if target.token then lines[#lines + 1] = "Authorization: Bearer " .. target.token end
  if body then
    lines[#lines + 1] = "Content-Type: " .. body.type
    lines[#lines + 1] = ("Content-Length: %d"):format(#body.text)
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body and body.text or "")
end

-- A connection with its reply; handlers: head(status, headers), body(bytes), done(), failed(failure). Nothing is called
-- after done or failed, or once it is closed.
local function exchange(self, text, seconds, handlers)
  local own = {}
  function own.close()
    own.closed = true
    own.timer:close()
    if own.stream then own.stream:close() end
  end
  local function failed(failure)
    if own.closed then return end
    own.close()
    handlers.failed(failure)
  end
  local function broken(message)
    failed { code = "EPROTO", message = ("%s: %s"):format(self.target.shown, message) }
  end
  local function touch() own.timer:start(loop.now() + seconds) end
  local read = reply.new {
    head = function(...) handlers.head(...) end,
    body = function(bytes)
      if not own.closed then handlers.body(bytes) end
    end,
    done = function()
      if own.closed then return end
      own.close()
      handlers.done()
    end,
  }
  own.fail, own.touch = failed, touch
  own.timer = loop.timer(function()
    failed { code = "ETIME", message = ("%s: no answer within %d s"):format(self.target.shown, seconds) }
  end)
  local message, code
  own.stream, message, code = stream.connect {
    path = self.target.path, host = self.target.host, port = self.target.port, tls = self.target.tls,
    bytes = function(bytes)
      local ok, wrong = read:feed(bytes)
      if not ok then broken(wrong) end
    end,
    ended = function(why, errno)
      if why then return failed(not_connected(self, why, errno)) end
      local ok, wrong = read:ended()
      if not ok then broken(wrong) end
    end,
  }
  if not own.stream then
    failed(not_connected(self, message, code))
    return own
  end
  touch()
  own.stream:write(text)
  return own
end

local function body_of(value)
  if value == nil then return nil end
  if type(value) == "string" then return { type = "text/x-lua", text = value } end
  return { type = "application/json", text = json.encode(value) }
end

local function value_of(headers, text)
  local kind = (headers["content-type"] or ""):match "^%s*([^;%s]*)":lower()
  if not kind:find "json$" then return text end
  return json_read.decode(text, { list = json.array, null = json.null }) -- so that it can be written again as it was
end

--- body: a table (JSON), a text (Lua), or nil. value: a table, or a text for what is no JSON; text: as it came.
function Client:ask(method, path, body, done, seconds)
  local parts, size, status, headers = {}, 0, nil, nil
  local one
  one = exchange(self, request_text(self, method, path, body_of(body)), seconds or REPLY_SECONDS, {
    head = function(...) status, headers = ... end,
    body = function(bytes)
      parts[#parts + 1], size = bytes, size + #bytes
      if size > BODY_MOST then one.fail { code = "EMSGSIZE", message = "the daemon's answer is too long" } end
    end,
    done = function()
      local text = table.concat(parts)
      local value, wrong = value_of(headers, text)
      if status >= 400 then return done(nil, refused(status, value, text)) end
      if value == nil then
        return done(nil, { code = "EPROTO", message = "the daemon's answer is no JSON: " .. tostring(wrong) })
      end
      done(value, nil, text)
    end,
    failed = function(failure) done(nil, failure) end,
  })
  return one
end

--- ended(failure): the daemon has ended it (code "EPIPE"), or it broke.
function Client:stream(path, event, ended)
  local take = sse.new(event)
  local one, status, headers
  local refusal = {}
  one = exchange(self, request_text(self, "GET", path), SILENT_SECONDS, {
    head = function(...) status, headers = ... end,
    body = function(bytes)
      one.touch()
      if status >= 400 then
        refusal[#refusal + 1] = bytes
        return
      end
      local ok, wrong = take(bytes)
      if not ok then one.fail { code = "EPROTO", message = wrong } end
    end,
    done = function()
      if status < 400 then return ended { code = "EPIPE", message = "the daemon has ended" } end
      local text = table.concat(refusal)
      ended(refused(status, value_of(headers, text), text))
    end,
    failed = ended,
  })
  return one
end

return client
