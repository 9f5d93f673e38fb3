-- SPDX-License-Identifier: Apache-2.0
-- Events as JSON lines: exact bytes, refusals, and a shipped schema that says the same as the declarations.
local cjson = require "cjson"
local event = require "perilune.event"

local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local TIME = 1795467965123456 -- 2026-11-23T21:06:05.123456Z

local function loss(of)
  local all = { map_full = 0, evicted = 0, ring_full = 0, not_parsed = 0, late = 0, limited = 0 }
  for name, number in pairs(of or {}) do
    all[name] = number
  end
  return all
end

local function window(with)
  local e = { event = "window", time = TIME, policy = "syn-flood", seq = 12, level = "alert",
    start = TIME - 100000,
    finish = TIME, seconds = 0.1, cut = "clock", packets = 931, skbs = 900, bytes = 55860, loss = loss() }
  for name, value in pairs(with or {}) do
    e[name] = value
  end
  return e
end

local ROWS = '[{"src":"10.0.0.1","packets":18446744073709551615}]'

local function problem(e)
  local ok, message = pcall(event.encode, e)
  assert.is_false(ok)
  return (message:gsub("^[^:]*:%d+: ", ""))
end

describe("an event as JSON", function()
  it("has v, time, event, policy first and its fields in the declared order", function()
    assert.equal('{"v":1,"time":"2026-11-23T21:06:05.123456000Z","event":"window","policy":"syn-flood",'
      .. '"seq":12,"level":"alert","start":"2026-11-23T21:06:05.023456000Z",'
      .. '"end":"2026-11-23T21:06:05.123456000Z",'
      .. '"seconds":0.1,"cut":"clock","packets":931,"skbs":900,"bytes":55860,'
      .. '"loss":{"map_full":0,"evicted":0,"ring_full":0,"not_parsed":0,"late":0,"limited":0}}', event.encode(window()))
  end)

  it("puts optional parts where they are declared", function()
    local line = event.encode(window { not_parsed_by = { malformed = 1, not_ip = 2, truncated = 0 },
      directions = { egress = { bytes = 3, skbs = 2, packets = 1 },
        ingress = { packets = 4, skbs = 5, bytes = 6 } } })
    assert.truthy(line:find('"late":0,"limited":0},"not_parsed_by":{"not_ip":2,"truncated":0,"malformed":1},"directions":'
      .. '{"ingress":{"packets":4,"skbs":5,"bytes":6},"egress":{"packets":1,"skbs":2,"bytes":3}}}', 1, true))
  end)

  it("says what a window's end took, in seconds", function()
    local cost = { swap_seconds = 2.5e-7, skew_seconds = 0, grace_seconds = 0.0125, read_seconds = 0.001 }
    assert.truthy(event.encode(window { cost = cost }):find(',"cost":{"swap_seconds":2.5e-07,"skew_seconds":0,'
      .. '"grace_seconds":0.0125,"read_seconds":0.001}}', 1, true))
    cost.grace_seconds = nil
    assert.equal("event window: the field 'cost': the field 'grace_seconds' is missing", problem(window { cost = cost }))
  end)

  it("leaves out what is for the eye", function()
    assert.equal(event.encode(window()), event.encode(window { top = {}, sets = {} }))
  end)

  it("inserts the records' JSON as it is", function()
    local e = { event = "records", time = TIME, policy = "p", seq = 1, probe = "from", template = "flows",
      level = "siege", sample_rate = 1, omitted = 3, loss = loss { map_full = 9 }, rows_json = ROWS }
    local line = event.encode(e)
    assert.truthy(line:find('"sample_rate":1,"rows":' .. ROWS .. ',"omitted":3,"loss":{"map_full":9,', 1,
      true))
    assert.equal(ROWS, e.rows_json)
    e.rows_json, e.rows = nil, { { src = "a", packets = 2 }, { src = "b", packets = 0.5 } }
    assert.truthy(event.encode(e):find('"rows":[{"packets":2,"src":"a"},{"packets":0.5,"src":"b"}],', 1,
      true))
    e.rows = {}
    assert.truthy(event.encode(e):find('"rows":[],', 1, true))
    e.rows = "[1,\n2]"
    assert.equal("event records: the field 'rows' must be a JSON array on one line", problem(e))
  end)

  it("writes numbers exactly, values sorted, and null for what is none", function()
    local line = event.encode { event = "rule", time = TIME, policy = "p", seq = 2 ^ 53, rule = "r",
      state = "firing",
      reason = "", values = { b = 2 ^ 53, a = 1 / 3, c = 0 / 0, d = -1 / 0, e = -0, f = 1e300, g = -12 } }
    assert.truthy(line:find('"seq":9007199254740992,', 1, true))
    assert.truthy(line:find('"values":{"a":0.333333333,"b":9007199254740992,"c":null,"d":null,"e":0,'
      .. '"f":1e+300,"g":-12}', 1, true))
  end)

  it("escapes text so that it stays one line of JSON", function()
    local raw = 'a"b\\c\n\t\1\127é\255\237\160\128'
    local line = event.encode { event = "error", time = TIME, message = raw }
    assert.equal('{"v":1,"time":"2026-11-23T21:06:05.123456000Z","event":"error",'
      .. '"message":"a\\"b\\\\c\\n\\t\\u0001\\u007fé���' .. '�"}', line)
    assert.equal('a"b\\c\n\t\1\127é����', cjson.decode(line).message)
  end)

  it("has the times of leap days, ends of years and the epoch right", function()
    local function at(time)
      return cjson.decode(event.encode { event = "error", time = time, message = "" }).time
    end
    assert.equal("1970-01-01T00:00:00.000000000Z", at(0))
    assert.equal("2000-02-29T23:59:59.999999000Z", at(951868799999999))
    assert.equal("2023-12-31T23:59:59.000001000Z", at(1704067199000001))
    assert.equal("2024-03-01T00:00:00.000000000Z", at(1709251200000000))
    assert.equal("2100-03-01T00:00:00.000000000Z", at(4107542400000000))
    for day = 0, 60000, 7 do -- against the C library
      local second = day * 86400 + day
      assert.equal(os.date("!%Y-%m-%dT%H:%M:%S", second) .. ".000000000Z", at(second * 1e6))
    end
  end)
end)

describe("an event that is not as declared", function()
  it("is an error that names the event and the field", function()
    assert.equal("event window: there is no field 'packet'", problem(window { packet = 1 }))
    assert.equal("there is no event 'windows'", problem { event = "windows", time = TIME, policy = "p" })
    assert.equal("event window: the field 'packets' must be a whole number from 0 to 2^53",
      problem(window { packets = 0.5 }))
    assert.equal("event window: the field 'cut' must be one of: clock trigger level schedule budget request reload adopted exit",
      problem(window { cut = "x" }))
    assert.equal("event window: the field 'time' must be a time in µs since the epoch",
      problem(window { time = "now" }))
    assert.equal("event window: the field 'loss': there is no field 'lost'",
      problem(window { loss = loss { lost = 1 } }))
    local e = window()
    e.loss.late = nil
    assert.equal("event window: the field 'loss': the field 'late' is missing", problem(e))
    e = window()
    e.finish = nil
    assert.equal("event window: the field 'end' is missing", problem(e))
    e = window()
    e.policy = nil
    assert.equal("event window: the field 'policy' must be a string", problem(e))
    assert.equal("event attach: there is no field 'top'", problem { event = "attach", time = TIME,
      policy = "p",
      iface = "vb", hook = "xdp", mode = "native", top = {} })
  end)
end)

describe("loss", function()
  it("leaves out what is not IP", function()
    local by = { not_ip = 4 }
    assert.same({ 3, 4, { { "map_full", 2 }, { "not_parsed", 1 } } },
      { event.loss { loss = loss { not_parsed = 5, map_full = 2 }, not_parsed_by = by } })
    assert.same({ 0, 4, {} }, { event.loss { loss = loss { not_parsed = 4 }, not_parsed_by = by } })
    assert.same({ 5, 0, { { "not_parsed", 5 } } }, { event.loss { loss = loss { not_parsed = 5 } } })
  end)
end)

-- The schema that the declarations amount to.
local function type_schema(kind)
  if kind == "rows" then
    return { type = "array", items = { type = "object" } }
  elseif type(kind) == "string" then
    return { ["$ref"] = "#/$defs/" .. kind:gsub("%?$", "") }
  elseif not (kind.object or kind.list) then
    local words = {}
    for i, word in ipairs(kind) do
      words[i] = word
    end
    return { enum = words }
  end
  local schema = { type = "object", additionalProperties = false, properties = {}, required = {} }
  for _, field in ipairs(kind.object or kind.list) do
    local inner = type_schema(field[2])
    inner.description = field[4] .. (field[3] and (" [%s]"):format(field[3]) or "")
    schema.properties[field[1]] = inner
    local of = field[2]
    if not (type(of) == "string" and of:sub(-1) == "?" or type(of) == "table" and of.optional) then
      table.insert(schema.required, field[1])
    end
  end
  if #schema.required == 0 then
    schema.required = nil
  end
  return kind.list and { type = "array", items = schema } or schema
end

local function whole_schema()
  local defs = {
    text = { type = "string" },
    texts = { type = "array", items = { type = "string" } },
    bool = { type = "boolean" },
    count = { type = "integer", minimum = 0, maximum = 2 ^ 53 },
    seconds = { type = "number", minimum = 0 },
    exact = { type = "number" },
    data = {},
    number = { type = "number", minimum = 0 },
    time = { type = "string",
      pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{9}Z$" },
    values = { type = "object", additionalProperties = { type = { "number", "null" } } },
    fields = { type = "object", additionalProperties = { type = { "string", "number", "boolean", "null" } } },
  }
  local choices = {}
  for i, name in ipairs(event.names) do
    local fields = {}
    for _, field in ipairs(event.head) do
      fields[#fields + 1] = field
    end
    for _, field in ipairs(event.fields[name]) do
      fields[#fields + 1] = field
    end
    defs[name] = type_schema { object = fields }
    defs[name].properties.v = { const = event.version, description = "version of this format" }
    defs[name].properties.event = { const = name, description = "which event" }
    if event.without_policy[name] then
      for j, field in ipairs(defs[name].required) do
        if field == "policy" then
          table.remove(defs[name].required, j)
        end
      end
    end
    choices[i] = { ["$ref"] = "#/$defs/" .. name }
  end
  return { ["$schema"] = "https://json-schema.org/draft/2020-12/schema", ["$defs"] = defs, oneOf = choices,
    title = "Perilune event", description = "One line of what `perilune run --json` prints." }
end

describe("event.schema.json", function()
  it("says the same as the declarations", function()
    -- After a change of event.lua: EVENT_SCHEMA=DIR writes the new schema, unformatted, into DIR.
    local directory = os.getenv "EVENT_SCHEMA"
    if directory then
      local out = assert(io.open(directory .. "/event.schema.json", "w"))
      out:write(cjson.encode(whole_schema()), "\n")
      out:close()
    end
    local file = assert(io.open(HERE .. "/../../lua/perilune/event.schema.json"))
    local shipped = cjson.decode(file:read "*a")
    file:close()
    assert.same(whole_schema(), shipped)
  end)
end)
