-- SPDX-License-Identifier: Apache-2.0
--
-- From a request to the route that answers it. Whatever can be told by the head alone (no such path, not this method,
-- no credential, not that role, a body that is too long) is answered before a byte of the body is read.
--
-- A route is data, so that the OpenAPI document says what is true (openapi.lua):
--
--   { method = "PUT", path = "/v1/policies/{name}", role = "admin", summary = …,
--     query = { limit = { type = "integer", minimum = 1, help = … } },
--     body = { type = "text/x-lua" or "application/json", schema = … },   -- none: a body is refused
--     answers = { [200] = { help =, schema =, type = } }, run = function(call) }
--
-- `run` answers through its call, now or later; an error in it is a 500 and a line in the log.
local auth = require "perilune.serve.auth"
local call = require "perilune.serve.call"
local http = require "perilune.core.http"
local target = require "perilune.serve.target"
local words = require "perilune.base.words"

local router = {}
local Router = {}
Router.__index = Router

local function split(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do parts[#parts + 1] = part end
  return parts
end

--- routes: a list; auth; over(call): told of every request that is answered; context: handed to every call.
function router.new(options)
  local self = setmetatable({
    routes = {}, auth = options.auth, over = options.over, context = options.context,
    calls = {}, -- by request, from its head until it runs or is gone
  }, Router)
  for i, route in ipairs(options.routes) do
    self.routes[i] = { route = route, parts = split(route.path) }
  end
  return self
end

-- The parameters of a path, or nil when it is another.
local function match(parts, segments)
  if #parts ~= #segments then return nil end
  local parameters = {}
  for i, part in ipairs(parts) do
    local name = part:match "^{(.*)}$"
    if name then
      parameters[name] = segments[i]
    elseif part ~= segments[i] then
      return nil
    end
  end
  return parameters
end

-- Routes of this path by method, with the parameters; HEAD is answered like GET.
function Router:find(segments)
  local methods, parameters
  for _, known in ipairs(self.routes) do
    local found = match(known.parts, segments)
    if found then
      methods, parameters = methods or {}, found
      methods[known.route.method] = known.route
    end
  end
  if methods and methods.GET and not methods.HEAD then methods.HEAD = methods.GET end
  return methods, parameters
end

-- What a query says, by the route's declaration; nil, message.
local function read_query(route, query)
  local declared, values = route.query or {}, {}
  for name, text in pairs(query) do
    local rule = declared[name]
    if not rule then
      return nil, ("there is no parameter %s here (%s)"):format(name,
        words.suggest(name, words.keys(declared), "it takes none"))
    end
    local value = text
    if rule.type == "integer" then
      value = text:match "^%d+$" and #text < 16 and tonumber(text)
      if not value or value < (rule.minimum or 0) or value > (rule.maximum or 2 ^ 53) then
        return nil, ("%s: expected a whole number from %d to %.0f"):format(name, rule.minimum or 0,
          rule.maximum or 2 ^ 53)
      end
    elseif rule.type == "boolean" then
      value = ({ ["true"] = true, ["1"] = true, [""] = true, ["false"] = false, ["0"] = false })[text]
      if value == nil then return nil, name .. ": expected true or false" end
    elseif rule.enum then
      local found = false
      for _, word in ipairs(rule.enum) do found = found or word == text end
      if not found then return nil, ("%s: expected one of %s"):format(name, table.concat(rule.enum, ", ")) end
    end
    values[name] = value
  end
  return values
end

local function has_body(request)
  local length = request:header "Content-Length"
  return request:header "Transfer-Encoding" ~= nil or (length ~= nil and length ~= "0")
end

-- Browsers say so when a page asks for something: where it is from (Origin), or in what relation to what it asks (all
-- but "none", which is somebody's own doing).
local function is_page(request)
  local site = request:header "Sec-Fetch-Site"
  return request:header "Origin" ~= nil or (site ~= nil and site:lower() ~= "none")
end

-- Where nobody needs a credential, a web page that somebody of this machine looks at is not to act in their place; nor
-- is one that has had a name of its own made to mean this machine (Host).
local function is_local(request)
  local host = (request:header "Host" or ""):gsub(":%d+$", ""):gsub("^%[(.*)%]$", "%1")
  return not is_page(request) and (host == "localhost" or host == "" or http.is_loopback(host))
end

-- nil, or status, what, and more headers: why the head alone is reason not to go on.
function Router:refuse(one, listener)
  local request = one.request
  if request:long_head() then return 431, "the line and headers of the request are longer than are read here" end
  if listener.no_auth and not is_local(request) then
    return 403, "without credentials, only programs of this machine are answered, and no web page's"
  end
  local segments, query = target.parse(request:target())
  if not segments then return 400, query end
  local methods, parameters = self:find(segments)
  local who, why = self.auth:identify(listener, request:peer(), request:header "Authorization")
  -- A browser shows its user's certificate for every page; a token only programs have.
  if who and who.by == "certificate" and is_page(request) then
    return 403, "a certificate is for programs: no web page is answered in its owner's place"
  end
  one.who = who
  local route = methods and methods[request:method()]
  -- Who may see nothing is not told what there is either.
  if not auth.may(who and who.role, route and route.role or "read") then
    if who then
      return 403, ("%s has the role %s, and this takes %s"):format(who.name, who.role or "none",
        route and route.role or "read")
    end
    return 401, why or "this takes a credential", { { "WWW-Authenticate", 'Bearer realm="perilune"' } }
  end
  if not methods then return 404, "there is nothing at this path (GET /v1/openapi.json lists what is)" end
  if not route then
    local allowed = table.concat(words.keys(methods), ", ")
    return 405, ("not with this method (%s)"):format(allowed), { { "Allow", allowed } }
  end
  one.route, one.parameters = route, parameters
  one.query, why = read_query(route, query)
  if not one.query then return 400, why end
  if request:too_long() then return 413, "the body is longer than is read here" end
  if not route.body and has_body(request) then return 400, "this takes no body" end
end

function Router:head(request, listener)
  local one = call.new(request, self.context, function(done) self.over(done) end)
  local ok, status, why, headers = pcall(self.refuse, self, one, listener)
  if not ok then return one:broken(status) end
  if status then return one:problem(status, why, nil, headers) end
  self.calls[request] = one
  request:on_gone(function() self.calls[request] = nil end)
end

function Router:run(request)
  local one = self.calls[request]
  if not one then return end -- answered by its head
  self.calls[request] = nil
  if request:too_long() then return one:problem(413, "the body is longer than is read here") end
  local body, why, status = call.read_body(request, one.route)
  if body == nil then return one:problem(status, why) end
  one.body = body
  one:guard(one.route.run)(one)
end

return router
