-- SPDX-License-Identifier: Apache-2.0
--
-- JSON Schemas of what the interface takes and gives, for the OpenAPI document. Events are not repeated here: they are
-- event.schema.json's.
local schemas = {}

local TEXT, BOOL, COUNT = { type = "string" }, { type = "boolean" }, { type = "integer", minimum = 0 }
local SECONDS = { type = "number", minimum = 0 }
local TIME = { type = "string", format = "date-time" }
local TEXTS = { type = "array", items = TEXT }

function schemas.ref(name) return { ["$ref"] = "#/components/schemas/" .. name } end

--- An event of event.schema.json.
function schemas.event(name) return schemas.ref("event_" .. name) end

local function object(properties, required, more)
  return { type = "object", properties = properties, required = required, additionalProperties = more == true }
end

--- An object with a list of these, called `name` ("policies" when it is not said).
function schemas.list_of(items, name)
  name = name or "policies"
  return object({ [name] = { type = "array", items = items } }, { name })
end

local ATTACHMENT = object({ iface = TEXT, hook = TEXT, mode = TEXT, ifindex = COUNT, netns = TEXT },
  { "iface", "hook", "mode" })

local POLICY = {
  name = TEXT, state = { type = "string", enum = { "starting", "running", "stopping", "ended", "failed" } },
  origin = { type = "string", enum = { "configuration", "command line", "created" } }, level = TEXT, levels = TEXTS,
  attachments = { type = "array", items = ATTACHMENT }, started = TIME, restarts = COUNT, failure = TEXT,
  last_window_seq = COUNT,
  replacement = object({ in_place = BOOL, why = TEXT }, { "in_place" }),
}

local function extended(properties)
  local all = {}
  for name, schema in pairs(POLICY) do all[name] = schema end
  for name, schema in pairs(properties) do all[name] = schema end
  return all
end

local LEVEL = object({ name = TEXT, window_seconds = SECONDS, lease_seconds = SECONDS, longest_seconds = SECONDS,
  probes = TEXTS }, { "name", "window_seconds", "probes" })
local PROBE = object({ name = TEXT, template = TEXT, key = TEXTS, features = TEXTS, fields = TEXTS, filter = TEXT,
  scope = TEXT, sample_rate = COUNT }, { "name", "template", "features", "fields", "sample_rate" })
local RULE = object({ name = TEXT, per = TEXT, hold = TEXT, line = COUNT }, { "name" })
local SET = object({ name = TEXT, of = TEXT, max = COUNT, members = COUNT }, { "name", "of", "max", "members" })
local OPTION = object({ name = TEXT, type = TEXT, value = TEXT, help = TEXT }, { "name" })
local CLAIM = object({ who = TEXT, hold = TEXT, cap = TEXT, why = TEXT, seconds_left = SECONDS }, { "who" })

local function array(items) return { type = "array", items = items } end

local VALUES = { type = "object", additionalProperties = { type = { "string", "number", "boolean" } },
  description = "options of the policy and their values" }

schemas.components = {
  Problem = object({ type = TEXT, title = TEXT, status = COUNT, detail = TEXT },
    { "type", "title", "status", "detail" }, true),
  Health = object({ status = { type = "string", enum = { "ok", "degraded" } } }, { "status" }),
  Service = object({
    version = TEXT, host = TEXT, site = TEXT, pid = COUNT, uptime_seconds = SECONDS, policies = COUNT,
    you = object({ name = TEXT, role = TEXT, by = TEXT }, { "name", "role", "by" }),
  }, { "version", "pid", "uptime_seconds", "policies", "you" }),
  Policy = object(POLICY, { "name", "state", "origin", "levels", "attachments", "restarts" }),
  PolicyDetail = object(extended {
    levels = array { anyOf = { LEVEL, TEXT } }, probes = array(PROBE), rules = array(RULE), sets = array(SET),
    options = array(OPTION), claims = array(CLAIM),
    attach = object({ iface = TEXTS, hook = TEXT, mode = TEXT, netns = TEXT }, { "hook", "mode" }),
  }, { "name", "state", "origin", "attachments", "restarts" }),
  Members = object({ members = TEXTS }, { "members" }),
  WindowWithRecords = object({ window = schemas.event "window", records = array(schemas.event "records") },
    { "window", "records" }),
  ForceLevel = object({ level = TEXT,
    ["for"] = { type = "string", description = 'how long, like "10m"; without, until it is let go' } }, { "level" }),
  ForcedLevel = object({ level = TEXT, seconds = SECONDS }, { "level" }),
  PolicyDefinition = object({ text = TEXT, set = VALUES }, { "text" }),
  NewPolicy = object({
    name = { type = "string", pattern = "^[A-Za-z_][A-Za-z0-9_-]{0,30}$" }, text = TEXT, set = VALUES,
  }, { "name", "text" }),
  Template = object({ name = TEXT, help = TEXT, rows = BOOL, hooks = TEXTS }, { "name", "help" }),
  TemplateDetail = { type = "object", required = { "name", "help", "fields", "features", "knobs" } },
  Map = object({
    id = COUNT, type = TEXT, name = TEXT, key_size = COUNT, value_size = COUNT, max_entries = COUNT, flags = TEXTS,
    btf = BOOL, hashes = COUNT, pinned = TEXTS, programs = array(object({ id = COUNT, name = TEXT }, { "id", "name" })),
  }, { "id", "type", "name" }, true),
  Reloaded = object({ problems = TEXTS, policies = array(object({
    name = TEXT, result = { type = "string", enum = { "replaced", "restarted", "started", "stopped", "failed" } },
    message = TEXT,
  }, { "name", "result" })) }, { "problems", "policies" }),
}

for name, part in pairs { Levels = LEVEL, Probes = PROBE, Rules = RULE, Sets = SET, Options = OPTION } do
  schemas.components[name] = schemas.list_of(part, name:lower())
end

return schemas
