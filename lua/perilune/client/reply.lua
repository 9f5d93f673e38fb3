-- SPDX-License-Identifier: Apache-2.0
--
-- Reads one reply of HTTP/1.1 as it comes in, strictly: what is not well-formed is an error, and nothing that comes
-- from outside grows without bound.
--
--   reply.new { head = function(status, headers), body = function(bytes), done = function() } → r
--   r:feed(bytes) → true | nil, message
--   r:ended() → true | nil, message            the connection was closed
--
-- headers: by name in lower case. Bodies are handed on as they come; whoever keeps them sees to their length.
local reply = {}
local Reply = {}
Reply.__index = Reply

local HEAD_MOST = 64 * 1024 -- bytes
local LINE_MOST = 256 -- bytes of a line between chunks
local LONGEST = 2 ^ 53

function reply.new(handlers)
  return setmetatable({ on = handlers, state = "head", waiting = "" }, Reply)
end

local states = {}

local function no_body(status) return status == 204 or status == 304 end

-- How long the body is: its bytes, "chunked", or "close" when only the end of the connection tells; nil, message.
local function length_of(status, headers)
  local coding, length = headers["transfer-encoding"], headers["content-length"]
  if coding and length then return nil, "a reply with two lengths" end
  if no_body(status) then return 0 end
  if coding then
    if coding:lower() ~= "chunked" then return nil, "a coding that is not known: " .. coding end
    return "chunked"
  end
  if not length then return "close" end
  local number = length:find "^%d+$" and tonumber(length)
  if not number or number > LONGEST then return nil, "a length that is no number" end
  return number
end

local function headers_of(text)
  local headers = {}
  for line in text:gmatch "(.-)\r\n" do
    local name, value = line:match "^([%w!#$%%&'*+.^_`|~-]+):[ \t]*(.-)[ \t]*$"
    if not name or value:find "%c" then return nil, "a header that is none" end
    name = name:lower()
    if headers[name] and headers[name] ~= value and (name == "content-length" or name == "transfer-encoding") then
      return nil, "a reply with two lengths"
    end
    headers[name] = value
  end
  return headers
end

function Reply:finish()
  self.state = "done"
  self.on.done()
  return true
end

-- Each: what is read; true to go on with what waits, false for more bytes, nil, message when it is wrong.

function states.head(self)
  local from, to = self.waiting:find("\r\n\r\n", 1, true)
  if not from then
    if #self.waiting > HEAD_MOST then return nil, "a head without an end" end
    return false
  end
  local head = self.waiting:sub(1, from + 1)
  self.waiting = self.waiting:sub(to + 1)
  local line, rest = head:match "^(.-)\r\n(.*)$"
  local status = tonumber(line:match "^HTTP/1%.[01] (%d%d%d)%f[^%d]" or "")
  if not status or status < 200 then return nil, "no HTTP" end
  local headers, message = headers_of(rest)
  if not headers then return nil, message end
  local length
  length, message = length_of(status, headers)
  if not length then return nil, message end
  self.state = length == "chunked" and "chunk" or length == "close" and "close" or "length"
  self.left = length
  self.on.head(status, headers)
  if length == 0 then return self:finish() end
  return true
end

-- Hands on at most `left` bytes of what waits.
local function hand_on(self)
  local part = self.waiting:sub(1, self.left)
  self.waiting, self.left = self.waiting:sub(#part + 1), self.left - #part
  if part ~= "" then self.on.body(part) end
  return self.left == 0
end

function states.length(self)
  return hand_on(self) and self:finish()
end

function states.close(self)
  self.left = #self.waiting
  hand_on(self)
  return false
end

local function line_of(self)
  local line, rest = self.waiting:match "^([^\r\n]*)\r\n(.*)$"
  if not line and #self.waiting > LINE_MOST then return nil, "a line without an end" end
  if line then self.waiting = rest end
  return line or false
end

function states.chunk(self)
  local line, message = line_of(self)
  if not line then return line, message end
  local digits = line:match "^(%x+)[ \t]*$" or line:match "^(%x+)[ \t]*;"
  if not digits or #digits > 13 then return nil, "a chunk without a length" end
  self.left = tonumber(digits, 16)
  self.state = self.left > 0 and "data" or "trailer"
  return true
end

function states.data(self)
  if not hand_on(self) then return false end
  self.state = "after"
  return true
end

function states.after(self)
  if #self.waiting < 2 then return false end
  if self.waiting:sub(1, 2) ~= "\r\n" then return nil, "a chunk that is longer than it says" end
  self.waiting, self.state = self.waiting:sub(3), "chunk"
  return true
end

function states.trailer(self)
  local line, message = line_of(self)
  if not line then return line, message end
  if line == "" then return self:finish() end
  return true
end

function states.done(self)
  if self.waiting ~= "" then return nil, "bytes after the end" end
  return false
end

function Reply:feed(bytes)
  self.waiting = self.waiting .. bytes
  while true do
    local on, message = states[self.state](self)
    if on == nil then return nil, message end
    if not on then return true end
  end
end

function Reply:ended()
  if self.state == "done" then return true end
  if self.state == "close" then return self:finish() end
  return nil, "the connection was closed in the middle of a reply"
end

return reply
