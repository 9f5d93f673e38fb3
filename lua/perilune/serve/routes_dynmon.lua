-- SPDX-License-Identifier: Apache-2.0
--
-- /polycube/v1/dynmon: the interface that Dynmon's users have, for what they have made for it.
--
-- Where Dynmon answers success although nothing was injected, this answers why. Listing, showing and HEAD read no map;
-- a value is read when a value is asked for, and then as its extraction-options say.
local configuration = require "perilune.dynmon.configuration"
local exposition = require "perilune.dynmon.exposition"
local json = require "perilune.base.json"
local monitor = require "perilune.dynmon.monitor"
local monitors = require "perilune.dynmon.monitors"
local openmetrics = require "perilune.metrics.openmetrics"
local words = require "perilune.base.words"

local routes = {}

local BASE = "/polycube/v1"
local CUBE = BASE .. "/dynmon/{name}"
local OBJECT = { type = "object" }

local function add(route) routes[#routes + 1] = route end

local function ok(help, schema) return { [200] = { help = help, schema = schema or OBJECT } } end

local STATUS = {
  EEXIST = 409, EBUSY = 409, EINVAL = 422, ENOEXEC = 422, ENODEV = 422, ENOENT = 422, EAGAIN = 503, EPERM = 503,
  EOPNOTSUPP = 422, E2BIG = 422, ENAMETOOLONG = 422, ENOSPC = 409,
}

-- What went wrong, as an answer.
local function refuse(call, message, code)
  if code == "EBUG" then return call:broken(message) end
  call:problem(STATUS[code] or 503, message or "it could not be done")
end

-- For what is done in turn: start(done), and fine(value) when it is.
local function attempt(call, start, fine)
  local begun, message, code = start(call:guard(function(value, why, failure)
    if value == nil then return refuse(call, why, failure) end
    fine(value)
  end))
  if begun == nil and message then refuse(call, message, code) end
end

local function monitor_of(call, name)
  name = name or call.parameters.name
  local all = call.context.monitors
  local one = all:get(name)
  if one then return one end
  call:problem(404, ("there is no monitor %s (%s)"):format(name,
    words.suggest(name:sub(1, monitors.LONGEST_NAME), all:names(), "there are none")))
end

-- A text among the members of a body; nil, having answered, when it is none.
local function member(call, name, default)
  local value = call.body[name]
  if value == nil or value == json.null then value = default end
  if type(value) == "string" then return value end
  call:problem(400, ("%s: a text is expected"):format(name))
end

local function nothing(call) call:answer(200, {}, "") end

-- ---------------------------------------------------------------------------------------------- monitors

local function show(one)
  return json.object {
    { "name", one.name }, { "service-name", "dynmon" }, { "type", one.kind }, { "loglevel", one.loglevel },
    { "parent", one.interface and one.interface.name or json.null },
    { "dataplane-config", configuration.show(one.paths) },
  }
end

add {
  method = "GET", path = BASE .. "/dynmon", role = "read", summary = "Dynmon: all monitors",
  answers = ok("the monitors", { type = "array", items = OBJECT }),
  run = function(call)
    local list = {}
    for i, name in ipairs(call.context.monitors:names()) do list[i] = show(call.context.monitors:get(name)) end
    call:json(200, json.array(list))
  end,
}

add {
  method = "GET", path = CUBE, role = "read", summary = "Dynmon: a monitor, its code and its metrics' configuration",
  answers = ok "the monitor; parent: its interface or null",
  run = function(call)
    local one = monitor_of(call)
    if one then call:json(200, show(one)) end
  end,
}

add {
  method = "POST", path = CUBE, role = "admin", summary = "Dynmon: create a monitor, and inject code",
  body = { type = "application/json", schema = OBJECT, optional = true },
  answers = { [201] = { help = "it is compiled, verified and loaded; nothing is attached yet" } },
  run = function(call)
    local name = call.parameters.name
    if not name:find(monitors.NAME) or #name > monitors.LONGEST_NAME then
      return call:problem(400, "a monitor's name is made of letters, digits, _, -, . and :")
    end
    local kind, loglevel = member(call, "type", "TC"), nil
    if kind then loglevel = member(call, "loglevel", "OFF") end
    if not loglevel then return end
    local known = { TC = true, XDP_SKB = true, XDP_DRV = true }
    if not known[kind] then
      return call:problem(400, ('there is no type "%s" (%s)'):format(kind, words.suggest(kind, configuration.TYPES)))
    end
    if not monitor.level(loglevel) then return call:problem(400, ("loglevel: %s is none"):format(loglevel)) end
    local config = call.body["dataplane-config"]
    local paths, message = configuration.paths(config ~= nil and config ~= json.null and config or {})
    if not paths then return call:problem(422, message) end
    for _, side in ipairs(configuration.PATHS) do paths[side] = paths[side] or false end
    call.context.monitors:create(name, kind, loglevel, paths, call:guard(function(one, why, code)
      if not one then return refuse(call, why, code) end
      call.context.log:info("monitor created", { monitor = name, by = call.who.name })
      call:answer(201, {}, "")
    end))
  end,
}

add {
  method = "DELETE", path = CUBE, role = "admin", summary = "Dynmon: detach and remove a monitor",
  answers = { [204] = { help = "it is gone" } },
  run = function(call)
    local one = monitor_of(call)
    if not one then return end
    call.context.monitors:delete(one.name, call:guard(function(gone, message, code)
      if not gone then return refuse(call, message, code) end
      call.context.log:info("monitor removed", { monitor = one.name, by = call.who.name })
      call:answer(204, {}, "")
    end))
  end,
}

-- ---------------------------------------------------------------------------------------------- code

local function inject(call, one, said)
  attempt(call, function(done) return one:inject(said, done) end, function()
    call.context.log:info("code injected", { monitor = one.name, by = call.who.name })
    nothing(call)
  end)
end

add {
  method = "GET", path = CUBE .. "/dataplane-config", role = "read", summary = "Dynmon: the code of a monitor",
  answers = ok "both paths; {} is one that is not set",
  run = function(call)
    local one = monitor_of(call)
    if one then call:json(200, configuration.show(one.paths)) end
  end,
}

add {
  method = "PUT", path = CUBE .. "/dataplane-config", role = "admin",
  summary = "Dynmon: inject code in the place of what runs; a path that is not named goes on",
  body = { type = "application/json", schema = OBJECT }, answers = { [200] = { help = "the new code runs" } },
  run = function(call)
    local one = monitor_of(call)
    if not one then return end
    local said, message = configuration.paths(call.body)
    if not said then return call:problem(422, message) end
    inject(call, one, said)
  end,
}

for _, side in ipairs(configuration.PATHS) do
  local path = ("%s/dataplane-config/%s-path"):format(CUBE, side)
  add {
    method = "GET", path = path, role = "read", summary = "Dynmon: the code of the " .. side .. " path",
    answers = ok "the path; {} when it is not set",
    run = function(call)
      local one = monitor_of(call)
      if one then call:json(200, configuration.show_path(one.paths[side])) end
    end,
  }
  add {
    method = "PUT", path = path, role = "admin", summary = "Dynmon: inject code for the " .. side .. " path",
    body = { type = "application/json", schema = OBJECT }, answers = { [200] = { help = "the new code runs" } },
    run = function(call)
      local one = monitor_of(call)
      if not one then return end
      local said, message = configuration.path(call.body, side .. "-path")
      if said == nil then return call:problem(422, message) end
      inject(call, one, { [side] = said })
    end,
  }
  add {
    method = "DELETE", path = path, role = "admin", summary = "Dynmon: remove the code of the " .. side .. " path",
    answers = { [200] = { help = "nothing runs there any more" } },
    run = function(call)
      local one = monitor_of(call)
      if one then inject(call, one, { [side] = false }) end
    end,
  }
end

-- ---------------------------------------------------------------------------------------------- interfaces

-- The monitor that a body names, and the port; nil when that was answered for.
local function cube_and_port(call)
  local cube = member(call, "cube")
  local port = cube and member(call, "port")
  return port and monitor_of(call, cube), port
end

add {
  method = "POST", path = BASE .. "/attach", role = "admin", summary = "Dynmon: attach a monitor to an interface",
  body = { type = "application/json", schema = OBJECT }, answers = { [200] = { help = "it is attached" } },
  run = function(call)
    local one, port = cube_and_port(call)
    if not one then return end
    local interface, message, code = call.context.monitors:interface(port)
    if not interface then return refuse(call, message, code) end
    attempt(call, function(done) return one:attach(interface, done) end, function()
      call.context.log:info("monitor attached", { monitor = one.name, iface = port, by = call.who.name })
      nothing(call)
    end)
  end,
}

add {
  method = "POST", path = BASE .. "/detach", role = "admin", summary = "Dynmon: detach a monitor from an interface",
  body = { type = "application/json", schema = OBJECT }, answers = { [200] = { help = "it is detached" } },
  run = function(call)
    local one, port = cube_and_port(call)
    if not one then return end
    attempt(call, function(done) return one:detach(port, done) end, function()
      call.context.log:info("monitor detached", { monitor = one.name, iface = port, by = call.who.name })
      nothing(call)
    end)
  end,
}

-- ---------------------------------------------------------------------------------------------- metrics

local function metric(value)
  return json.object { { "name", value.name }, { "value", json.raw(value.text) }, { "timestamp", value.at } }
end

local function metrics_of(values, side)
  local list = {}
  for _, value in ipairs(values) do
    if value.side == side then list[#list + 1] = metric(value) end
  end
  return json.array(list)
end

-- Reads what choose() says and answers with shape(values). Who only asks for the head takes nothing out of a map.
local function read(call, one, choose, shape)
  if call.request:method() == "HEAD" then return call:answer(200, { { "Content-Type", "application/json" } }, "") end
  attempt(call, function(done) return one:read(choose, done) end, function(values) call:json(200, shape(values)) end)
end

local function all_of(one, sides)
  return function()
    local list = {}
    for _, side in ipairs(sides) do
      for _, reading in ipairs(one.set.readings[side] or {}) do list[#list + 1] = reading end
    end
    return list
  end
end

local METRICS = CUBE .. "/metrics"

add {
  method = "GET", path = METRICS, role = "read",
  summary = "Dynmon: read all metrics, as their extraction-options say",
  answers = ok "ingress-metrics and egress-metrics: name, value, timestamp (µs since the epoch)",
  run = function(call)
    local one = monitor_of(call)
    if not one then return end
    read(call, one, all_of(one, configuration.PATHS), function(values)
      local self = call.request:target():match "^[^?]*":gsub("/+$", "")
      return json.object {
        { "ingress-metrics", metrics_of(values, "ingress") }, { "egress-metrics", metrics_of(values, "egress") },
        { "_links", {
          self = { href = self }, ["ingress-metrics"] = { href = self .. "/ingress-metrics" },
          ["egress-metrics"] = { href = self .. "/egress-metrics" },
        } },
      }
    end)
  end,
}

-- The reading that the path names; answers 404 when there is none.
local function reading_of(call, one, side)
  local name = call.parameters.metric
  local reading = one:reading(side, name)
  if reading then return reading end
  local names = {}
  for i, known in ipairs(one.set.readings[side] or {}) do names[i] = known.metric.name end
  call:problem(404, ("the %s path has no metric %s (%s)"):format(side, name, words.suggest(name:sub(1, 64), names)))
end

for _, side in ipairs(configuration.PATHS) do
  local path = ("%s/%s-metrics"):format(METRICS, side)
  add {
    method = "GET", path = path, role = "read", summary = "Dynmon: read the metrics of the " .. side .. " path",
    answers = ok("the metrics", { type = "array", items = OBJECT }),
    run = function(call)
      local one = monitor_of(call)
      if one then
        read(call, one, all_of(one, { side }), function(values) return metrics_of(values, side) end)
      end
    end,
  }
  for part, shape in pairs {
    [""] = metric, ["/value"] = function(value) return json.raw(value.text) end,
  } do
    add {
      method = "GET", path = path .. "/{metric}" .. part, role = "read", summary = "Dynmon: read one metric" .. part,
      answers = ok("the metric", {}),
      run = function(call)
        local one = monitor_of(call)
        if not one or not reading_of(call, one, side) then return end
        local function choose() return { one:reading(side, call.parameters.metric) } end
        read(call, one, choose, function(values)
          return values[1] and shape(values[1]) or json.null
        end)
      end,
    }
  end
  add {
    method = "GET", path = path .. "/{metric}/timestamp", role = "read",
    summary = "Dynmon: when a metric was last read; 0: it was not. Reads nothing",
    answers = ok("µs since the epoch", { type = "integer" }),
    run = function(call)
      local one = monitor_of(call)
      local reading = one and reading_of(call, one, side)
      if reading then call:json(200, reading.read_at or 0) end
    end,
  }
end

add {
  method = "GET", path = CUBE .. "/open-metrics", role = "read",
  summary = "Dynmon: the metrics with open-metrics-metadata, for scrapers; changes nothing, counters only grow",
  answers = { [200] = { help = "OpenMetrics, or Prometheus's text",
    type = { "application/openmetrics-text", "text/plain" } } },
  run = function(call)
    local one = monitor_of(call)
    if not one then return end
    local collector = exposition.new(one.injected / 1e6)
    attempt(call, function(done)
      return one:look(function(reading, batch) collector:add(reading, batch) end, done)
    end, function()
      local families, cut = collector:families()
      local which = openmetrics.negotiate(call.request:header "Accept")
      local text, misfits = openmetrics.write(families, which)
      for _, name in ipairs(cut) do
        call.context.log:warn("a metric has more samples than are shown", { monitor = one.name, metric = name })
      end
      for _, name in ipairs(misfits) do
        call.context.log:warn("two metrics of one name have two types", { monitor = one.name, metric = name })
      end
      call:answer(200, { { "Content-Type", openmetrics.content_type[which] } }, text)
    end)
  end,
}

return routes
