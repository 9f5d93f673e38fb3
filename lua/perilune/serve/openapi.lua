-- SPDX-License-Identifier: Apache-2.0
--
-- The OpenAPI 3.1 document, made of the very routes that the daemon answers by, so that it cannot say anything else.
local json = require "perilune.base.json"
local schemas = require "perilune.serve.schemas"
local words = require "perilune.base.words"

local openapi = {}

-- What every route may answer besides its own.
local PROBLEMS = {
  [400] = "something about the request is wrong", [401] = "a credential is missing",
  [403] = "the role does not allow it", [404] = "there is no such thing", [409] = "it cannot be done now, or not here",
  [413] = "the body is too long", [415] = "a body of this type is not read",
  [422] = "the policy is wrong; the words of the compiler or verifier",
  [431] = "line and headers are too long", [503] = "it cannot be done, for a reason of the daemon's or the policy's",
  [504] = "the policy has not answered in time",
}

local PROBLEM = { ["application/problem+json"] = { schema = schemas.ref "Problem" } }

local function with_schema(answer)
  if answer.schema then return { ["application/json"] = { schema = answer.schema } } end
  local content = {}
  local types = type(answer.type) == "table" and answer.type or { answer.type }
  for _, one in ipairs(types) do content[one] = { schema = { type = "string" } } end
  return content
end

local function responses_of(route)
  local responses = { default = { description = "an error", content = PROBLEM } }
  for status, what in pairs(PROBLEMS) do responses[tostring(status)] = { description = what, content = PROBLEM } end
  for status, answer in pairs(route.answers) do
    responses[tostring(status)] = {
      description = answer.help, content = (answer.schema or answer.type) and with_schema(answer) or nil,
    }
  end
  return responses
end

local function parameters_of(route)
  local list = {}
  for name in route.path:gmatch "{(.-)}" do
    list[#list + 1] = { name = name, ["in"] = "path", required = true, schema = { type = "string" } }
  end
  for _, name in ipairs(words.keys(route.query or {})) do
    local rule = route.query[name]
    list[#list + 1] = {
      name = name, ["in"] = "query", description = rule.help,
      schema = { type = rule.type or "string", minimum = rule.minimum, maximum = rule.maximum, enum = rule.enum },
    }
  end
  return #list > 0 and list or nil
end

local function body_of(route)
  if not route.body then return nil end
  local content = {}
  local types = type(route.body.type) == "table" and route.body.type or { route.body.type }
  for _, one in ipairs(types) do
    content[one] = { schema = one == "application/json" and route.body.schema or { type = "string" } }
  end
  return { required = not route.body.optional, content = content }
end

local function operation_of(route)
  local name = (route.method:lower() .. route.path):gsub("[{}]", ""):gsub("[/.]", "_")
  return {
    operationId = name, summary = route.summary, description = route.role == "none" and "Needs no credential."
      or ("Takes the role `%s`."):format(route.role),
    parameters = parameters_of(route), requestBody = body_of(route), responses = responses_of(route),
    security = route.role == "none" and json.array {} or nil, ["x-role"] = route.role,
  }
end

-- The definitions of event.schema.json, under names of their own, with the references among them.
local function events_of(schema)
  local function moved(value)
    if type(value) ~= "table" then return value end
    local copy = {}
    for key, item in pairs(value) do
      if key == "$ref" then item = item:gsub("^#/%$defs/", "#/components/schemas/event_") end
      copy[key] = moved(item)
    end
    return copy
  end
  local out = {}
  for name, definition in pairs(schema["$defs"]) do out["event_" .. name] = moved(definition) end
  return out
end

--- routes: what the daemon answers; version: perilune's; schema: event.schema.json, decoded.
function openapi.document(routes, version, schema)
  local paths = {}
  for _, route in ipairs(routes) do
    paths[route.path] = paths[route.path] or {}
    paths[route.path][route.method:lower()] = operation_of(route)
  end
  local components = events_of(schema)
  for name, one in pairs(schemas.components) do components[name] = one end
  return {
    openapi = "3.1.0",
    info = {
      title = "Perilune", version = version,
      description = "What a perilune daemon watches, how it stands, and how to change it. Times are RFC 3339 in UTC, "
        .. "durations seconds. Errors are application/problem+json (RFC 9457).",
      license = { name = "Apache-2.0", identifier = "Apache-2.0" },
    },
    paths = paths,
    components = { schemas = components, securitySchemes = {
      bearer = { type = "http", scheme = "bearer" }, certificate = { type = "mutualTLS" },
    } },
    security = { { bearer = json.array {} }, { certificate = json.array {} } },
  }
end

return openapi
