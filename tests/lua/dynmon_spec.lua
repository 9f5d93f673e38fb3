-- SPDX-License-Identifier: Apache-2.0
local configuration = require "perilune.dynmon.configuration"
local exposition = require "perilune.dynmon.exposition"
local json = require "perilune.base.json"
local openmetrics = require "perilune.metrics.openmetrics"
local readings = require "perilune.dynmon.readings"
local steps = require "perilune.dynmon.steps"

local function metric(more)
  local one = { name = "n", ["map-name"] = "M" }
  for key, value in pairs(more or {}) do one[key] = value end
  return one
end

describe("Dynmon's configuration", function()
  it("is read, and shown as it was", function()
    local text = '{"ingress-path":{"name":"a","code":"c","metric-configs":[{"name":"n","map-name":"M",'
      .. '"extraction-options":{"empty-on-read":true,"swap-on-read":false},'
      .. '"open-metrics-metadata":{"help":"h","type":"counter","labels":[{"name":"l","value":"v"}]}}]},"egress-path":{}}'
    local paths = assert(configuration.paths(assert(json.decode(text))))
    assert.is_false(paths.egress)
    assert.same({ "a", "c" }, { paths.ingress.name, paths.ingress.code })
    local one = paths.ingress.metrics[1]
    assert.same({ "n", "M", true, false }, { one.name, one.map, one.empty, one.swap })
    assert.same({ help = "h", type = "counter", said = "counter", labels = { { "l", "v" } } }, one.meta)
    assert.equal(text, json.encode(configuration.show(paths)))
  end)

  it("tells what is not set from what is not said", function()
    assert.same({}, configuration.paths {})
    assert.same({}, configuration.paths { ["ingress-path"] = json.null })
    assert.same({ ingress = false }, configuration.paths { ["ingress-path"] = {} })
    local paths = configuration.paths { ["egress-path"] = { code = "c" } }
    assert.same({}, paths.egress.metrics)
    assert.equal("{}", json.encode(configuration.show_path(false)))
  end)

  it("knows the types, however they are written", function()
    for said, type in pairs { Counter = "counter", GAUGE = "gauge", histogram = "unknown", Untyped = "unknown" } do
      local path = configuration.path({ code = "c", ["metric-configs"] = {
        metric { ["open-metrics-metadata"] = { help = "h", type = said } },
      } }, "p")
      assert.equal(type, path.metrics[1].meta.type)
    end
  end)

  it("says what is wrong, and where", function()
    for message, value in pairs {
      ['there is no member cod %(did you mean "code"'] = { cod = "x" },
      ["code: a text is expected"] = { name = "x" },
      ["metric%-configs: a list"] = { code = "c", ["metric-configs"] = { a = 1 } },
      ['metric "n": map%-name: a text'] = { code = "c", ["metric-configs"] = { { name = "n" } } },
      ['metric "n": empty%-on%-read: true or false'] = {
        code = "c", ["metric-configs"] = { metric { ["extraction-options"] = { ["empty-on-read"] = 1 } } },
      },
      ['two metrics are called "n"'] = { code = "c", ["metric-configs"] = { metric(), metric() } },
      ['there is no type "count" %(did you mean "counter"'] = {
        code = "c", ["metric-configs"] = { metric { ["open-metrics-metadata"] = { help = "h", type = "count" } } },
      },
      ["this is no name"] = { code = "c", ["metric-configs"] = { metric { name = "a/b" } } },
    } do
      local path, said = configuration.path(value, "egress-path")
      assert.is_nil(path)
      assert.truthy(said:find("^egress%-path: .*" .. message), said)
    end
  end)
end)

describe("steps", function()
  local function later(waiting, ...)
    local values = { n = select("#", ...), ... }
    return function(done)
      waiting[#waiting + 1] = function() done(unpack(values, 1, values.n)) end
      return true
    end
  end

  it("are done in turn", function()
    local queue, waiting, said = steps.queue(4), {}, {}
    for i = 1, 2 do
      queue:add(function(await)
        said[#said + 1] = ("%d begins"):format(i)
        return await(later(waiting, i * 10))
      end, function(value) said[#said + 1] = value end)
    end
    assert.same({ "1 begins" }, said)
    assert.is_false(queue:is_idle())
    waiting[1]()
    assert.same({ "1 begins", 10, "2 begins" }, said)
    waiting[2]()
    assert.same(20, said[4])
    assert.is_true(queue:is_idle())
  end)

  it("end with what went wrong, and the next one begins", function()
    local queue, waiting, said = steps.queue(4), {}, {}
    local function done(value, message, code) said[#said + 1] = { value, message, code } end
    queue:add(function(await) return await(later(waiting, nil, "late", "EIO")) end, done)
    queue:add(function(await) return await(function() return nil, "at once", "EBUSY" end) end, done)
    queue:add(function() error "a bug" end, done)
    queue:add(function() return "fine" end, done)
    waiting[1]()
    assert.same({ nil, "late", "EIO" }, said[1])
    assert.same({ nil, "at once", "EBUSY" }, said[2])
    assert.equal("EBUG", said[3][3])
    assert.same({ "fine" }, said[4])
  end)

  it("are not more than may wait", function()
    local queue, waiting = steps.queue(1), {}
    local function work(await) return await(later(waiting, true)) end
    assert.is_true(queue:add(work, function() end))
    assert.is_true(queue:add(work, function() end))
    local ok, _, code = queue:add(work, function() end)
    assert.is_nil(ok)
    assert.equal("EAGAIN", code)
  end)
end)

describe("a monitor's exposition", function()
  local function batch(rows)
    return { json = function() return json.encode(json.array(rows)) end, count = function() return #rows end }
  end
  local function reading(more)
    local one = { side = "ingress", metric = { name = "n", meta = { help = "h", type = "gauge", labels = {} } } }
    for key, value in pairs(more or {}) do one[key] = value end
    return one
  end
  local function samples(one, rows)
    local collector = exposition.new(1)
    collector:add(one, batch(rows))
    local text = openmetrics.write((collector:families()), "openmetrics")
    return (text:gsub("#[^\n]*\n", ""))
  end

  it("has keys as labels", function()
    assert.equal('n{path="ingress",key="5"} 1.5\n', samples(reading(), { { key = 5, value = 1.5 } }))
    assert.equal('n{path="ingress",a="1",b_c="x"} 1\n',
      samples(reading(), { { key = { a = 1, b = { c = "x" } }, value = true } }))
  end)

  it("has an index where there are several, and a CPU where each counts", function()
    assert.equal('n{path="ingress"} 3\n', samples(reading { array = true }, { { key = 0, value = 3 } }))
    assert.equal('n{path="ingress",index="0"} 3\nn{path="ingress",index="1"} 4\n',
      samples(reading { array = true }, { { key = 0, value = 3 }, { key = 1, value = 4 } }))
    assert.equal('n{path="ingress",cpu="0"} 3\nn{path="ingress",cpu="1"} 4\n',
      samples(reading { array = true, percpu = true }, { { key = 0, value = { 3, 4 } } }))
  end)

  it("has a metric for each number in a struct, and nothing for what is none", function()
    assert.equal('n_a{path="ingress",key="1"} 2\nn_b_c{path="ingress",key="1"} 3\n',
      samples(reading(), { { key = 1, value = { a = 2, b = { c = 3 }, name = "text", list = { 1, 2 } } } }))
  end)

  it("has the metric's own labels first, and each name once", function()
    local one = reading()
    one.metric.meta.labels = { { "path", "mine" }, { "key", "kept" } }
    assert.equal('n{path="mine",key="kept"} 1\n', samples(one, { { key = 9, value = 1 } }))
  end)

  it("calls a counter by one name, whether it ends in _total or not", function()
    for _, name in ipairs { "a_total", "a" } do
      local one = reading { array = true }
      one.metric.name, one.metric.meta.type = name, "counter"
      assert.equal('a_total{path="ingress"} 1\na_created{path="ingress"} 1.000\n', samples(one, { { key = 0, value = 1 } }))
    end
  end)
end)

describe("Readings of swapped maps", function()
  -- A batch of so many records; for twenty more there is no memory.
  local function batch(count)
    return {
      count = function() return count end, close = function() end, json = function() return tostring(count) end,
      merge = function(_, from)
        if from:count() == 20 then return nil, "out of memory", "ENOMEM" end
        count = count + from:count()
        return 0
      end,
    }
  end

  local function reader(lost)
    local all, windows, batches = {}, {}, {}
    for i, name in ipairs { "A", "B", "C" } do
      windows[i] = { map = name }
      all[i] = { owner = "ingress", map = name, metric = { swap = true } }
    end
    local set = { ingress = { windows = windows }, readings = { all } }
    set.ingress.twin = {
      flip = function(_, done) done(true) return true end,
      drain = function(_, _, done) done(batches) return true end,
    }
    local it = readings.new(set, function(map, count) lost[#lost + 1] = map .. count end)
    local function await(start)
      local result
      start(function(value) result = value end)
      return result
    end
    return function(...)
      batches[1], batches[2], batches[3] = ...
      local ok, texts = pcall(it.values, it, await, all, function() return 0 end)
      return ok, ok and table.concat(texts, " ") or texts.code
    end
  end

  it("lose one map's records when there is no memory for them, and no other's", function()
    local lost = {}
    local values = reader(lost)
    assert.same({ true, "1 2 3" }, { values(batch(1), batch(2), batch(3)) })
    assert.same({ false, "ENOMEM" }, { values(batch(10), batch(20), batch(30)) })
    assert.same({ "B20" }, lost)
    assert.same({ true, "111 202 333" }, { values(batch(100), batch(200), batch(300)) })
  end)
end)
