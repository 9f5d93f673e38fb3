-- SPDX-License-Identifier: Apache-2.0
--
-- One request on its way through a route: what was asked, by whom, and the ways to answer. Answers to a client that has
-- gone, and second answers, go nowhere.
local json = require "perilune.base.json"

local call = {}
local Call = {}
Call.__index = Call

local TITLES = {
  [400] = "Bad request", [401] = "Credential required", [403] = "Not permitted", [404] = "Not found",
  [405] = "Method not allowed", [409] = "Conflict", [413] = "Body too long", [415] = "Unsupported media type",
  [422] = "The policy is wrong", [429] = "Too many", [431] = "Headers too long", [500] = "Internal error",
  [503] = "Not available", [504] = "No answer in time",
}

--- over(call): told once, when it is answered: call.status, call.route
function call.new(request, context, over)
  return setmetatable({ request = request, context = context, over = over, began = context.now() }, Call)
end

--- The body as its route wants it: a table, a text, or false when it takes none; nil, message, status.
function call.read_body(request, route)
  local wanted = route.body
  if not wanted then return false end
  local types = type(wanted.type) == "table" and wanted.type or { wanted.type }
  local text, kind = request:body(), (request:header "Content-Type" or ""):match "^%s*([^;%s]*)":lower()
  if kind == "" then kind = types[1] end
  local known = false
  for _, one in ipairs(types) do known = known or one == kind end
  if not known then
    return nil, ("a body of %s is not read here (%s)"):format(kind, table.concat(types, " or ")), 415
  end
  if kind ~= "application/json" then return text end
  if text == "" and wanted.optional then return {} end
  local value, message = json.decode(text)
  if type(value) ~= "table" then
    return nil, "the body is no JSON object: " .. (message or "it is a " .. type(value)), 400
  end
  return value
end

local function finish(self, status)
  if self.status then return end
  self.status = status
  self.over(self)
end

function Call:answer(status, headers, body)
  if self.status or not self.request:is_open() then return end
  headers[#headers + 1] = { "Cache-Control", "no-store" }
  local ok, message, code = self.request:answer(status, headers, body)
  if not ok and code ~= "EALREADY" and code ~= "EPIPE" then
    self.request:answer(500, {}, tostring(message))
    status = 500
  end
  finish(self, status)
end

function Call:json(status, value, headers)
  headers = headers or {}
  headers[#headers + 1] = { "Content-Type", "application/json" }
  self:answer(status, headers, json.encode(value) .. "\n")
end

function Call:text(status, kind, text)
  self:answer(status, { { "Content-Type", kind } }, text)
end

--- An error as RFC 9457 has it. more: further members, like code.
function Call:problem(status, detail, more, headers)
  local members = { { "type", "about:blank" }, { "title", TITLES[status] or "Error" }, { "status", status },
    { "detail", detail } }
  for name, value in pairs(more or {}) do members[#members + 1] = { name, value } end
  headers = headers or {}
  headers[#headers + 1] = { "Content-Type", "application/problem+json" }
  self:answer(status, headers, json.encode(json.object(members)) .. "\n")
end

--- fn, for when it answers later: an error in it is the same as one in the route itself.
function Call:guard(fn)
  return function(...)
    local arguments = { n = select("#", ...), ... }
    local ok, message = xpcall(function() fn(unpack(arguments, 1, arguments.n)) end, debug.traceback)
    if not ok then self:broken(message) end
  end
end

--- Something is wrong with perilune itself.
function Call:broken(message)
  self.context.log:error("a request failed", { error = message, path = self.route and self.route.path })
  self:problem(500, "something failed here; the log says what")
end

--- As request:stream; true, or nil when the client has gone.
function Call:stream(status, headers, options)
  if self.status or not self.request:is_open() then return nil end
  headers[#headers + 1] = { "Cache-Control", "no-store" }
  local ok = self.request:stream(status, headers, options)
  if ok then finish(self, status) end
  return ok
end

return call
