-- SPDX-License-Identifier: Apache-2.0
-- What a policy's metrics stand at over windows, and what the language says of them.
local metric_form = require "perilune.policy.metric_form"
local metrics = require "perilune.metrics"
local openmetrics = require "perilune.metrics.openmetrics"
local policy = require "perilune.policy"
local template = require "perilune.probe.template"
local view = require "perilune.records.view"
require "perilune.records.shape"
local fake = dofile("tests/lua/fake_batch.lua")

local templates = template.registry({ "templates" }, function() return { "counter", "flows", "dns" } end)

local COUNTER = { { "direction", "enum", 4, key = true, names = { [0] = "ingress", [1] = "egress" } }, { "packets", "uint", 8 },
  { "skbs", "uint", 8 }, { "bytes", "uint", 8 }, { "frame_bytes", "uint", 8 }, { "sizes", "uint", 8, dims = { 12 } } }
local ROWS = { { "src", "address", key = true }, { "ip_version", "uint", 1, key = true }, { "packets", "uint", 8 },
  { "skbs", "uint", 8 }, { "bytes", "uint", 8 }, { "ttl_min", "uint", 1 }, { "ttl_max", "uint", 1 } }

local function declare(exports, more)
  return policy.load { name = "p.lua", templates = templates, source = [[
    return policy "p" { attach = { iface = "lo", hook = "tc.ingress" },
      always = { counter "all" { features = { "size_hist" } }, ]] .. (more or 'flows "from" { key = "src", features = { "ttl" } }')
      .. [[ }, exports = ]] .. exports .. "}" }
end

local function made(exports)
  local decl = assert(declare(exports))
  local self = metrics.new(decl)
  local seq = 0
  -- A window of a second: rows of the probes by name, and what found no room.
  return self, function(rows, other)
    local views, kinds = { rows = {}, other = {} }, { all = COUNTER, from = ROWS }
    for name, list in pairs(rows) do views.rows[name] = view.new(fake.new(kinds[name], list), { window = seq, seconds = 1 }) end
    if other then views.other.from = view.new(fake.new(ROWS, { other }), { window = seq, seconds = 1 }) end
    self:take({ start = seq * 1e6, seconds = 1 }, views)
    seq = seq + 1
  end
end

local function source(n, packets, more)
  local row = { src = ("10.0.%d.%d"):format(math.floor(n / 256), n % 256), ip_version = 4, packets = packets, bytes = packets * 100,
    skbs = packets }
  for name, value in pairs(more or {}) do row[name] = value end
  return row
end

local function exposed(self) return (openmetrics.write(self:families(), "openmetrics")) end

-- Samples of a name by their labels, and their sum.
local function samples(text, name)
  local found, sum, count = {}, 0, 0
  for labels, value in text:gmatch(name:gsub("%p", "%%%0") .. "(%b{}) (%S+)") do
    found[labels], sum, count = tonumber(value), sum + tonumber(value), count + 1
  end
  return found, sum, count
end

describe("metrics in a policy", function()
  local function refused(exports, message)
    local decl, why = declare(exports)
    assert.is_nil(decl)
    assert.matches(message, why, nil, true)
  end

  it("are checked", function()
    refused('{ metrics "form" { "packets" } }', 'there is no probe "form" (did you mean "from"')
    refused('{ metrics "from" { "packet" } }', 'probe "from" has no field "packet" (did you mean "packets"')
    refused('{ metrics "from" { "src" } }', "src is part of the key")
    refused('{ metrics "from" {} }', "which fields")
    refused('{ metrics "from" { "packets", "packets" } }', "packets is there twice")
    refused('{ metrics "from" { "packets", by = "dst" } }', 'by: "dst" is not in the key')
    refused('{ metrics "from" { "packets", series = 10001 } }', "too large")
    refused('{ metrics "from" { "packets" }, metrics "from" { "bytes" } }', 'two of metrics "from"')
    refused('{ metrics "all" { "syn" } }', "all.syn needs the feature tcp_flags")
    refused('{ metrics "all" { "direction" } }', "direction")
    assert(declare '{ metrics "from" { "packets" }, records "from" { top = { 5, "packets" } }, metrics "all" { "bytes" } }')
  end)

  it("have names in base units", function()
    local function names(exports, more)
      local out = {}
      for _, one in ipairs(assert(declare(exports, more)).metrics) do
        for _, field in ipairs(one.fields) do
          local family = openmetrics.family(field.family)
          out[#out + 1] = ("%s %s %s %g"):format(family.name, family.type, family.unit or "-", field.scale or 1)
        end
      end
      return out
    end
    assert.same({ "perilune_traffic_packets counter - 1", "perilune_traffic_bytes counter bytes 1",
      "perilune_traffic_frame_bytes counter bytes 1", "perilune_traffic_sizes_bytes histogram bytes 1",
    }, names '{ metrics "all" { "packets", "bytes", "frame_bytes", "sizes" } }')
    assert.same({ "perilune_flows_ttl_min gauge - 1", "perilune_flows_first_timestamp_seconds gauge seconds 1" },
      names('{ metrics "f" { "ttl_min", "first" } }', 'flows "f" { features = { "ttl", "timing" } }'))
    assert.same({ "perilune_dns_latencies_seconds histogram seconds 1", "perilune_dns_latency_max_seconds gauge seconds 1e-09" },
      names('{ metrics "d" { "latencies", "latency_max" } }', 'dns "d" { features = { "latency" } }'))
  end)

  it("cost at most what is said", function()
    local one = assert(declare '{ metrics "from" { "packets", "ttl_min", series = 9 } }').metrics[1]
    assert.same({ 10, 30 }, { metric_form.most(one).series, metric_form.most(one).samples })
  end)
end)

describe("metrics over windows", function()
  it("only grow, and are there before anything is counted", function()
    local self, window = made '{ metrics "all" { "packets", "bytes" } }'
    window { all = { { direction = 0 }, { direction = 1 } } }
    local labels = '{policy="p",probe="all",direction="ingress"}'
    assert.same({ [labels] = 0 }, samples(exposed(self), "perilune_traffic_packets_total"))
    for _ = 1, 3 do window { all = { { direction = 0, packets = 5, bytes = 500 }, { direction = 1 } } } end
    local text = exposed(self)
    assert.same({ [labels] = 15 }, samples(text, "perilune_traffic_packets_total"))
    assert.same({ [labels] = 1500 }, samples(text, "perilune_traffic_bytes_total"))
    assert.same({ [labels] = 0 }, samples(text, "perilune_traffic_packets_created"))
    assert.equal(text, exposed(self)) -- a look changes nothing
  end)

  it("give series to the largest, and the rest to other", function()
    local self, window = made '{ metrics "from" { "packets", series = 2 } }'
    window({ from = { source(1, 3), source(2, 9), source(3, 5) } }, { packets = 4, ip_version = 0 })
    local found, sum, count = samples(exposed(self), "perilune_flows_packets_total")
    assert.equal(9, found['{policy="p",probe="from",src="10.0.0.2"}'])
    assert.equal(5, found['{policy="p",probe="from",src="10.0.0.3"}'])
    assert.equal(7, found['{policy="p",probe="from",src="other"}'])
    assert.same({ 21, 3 }, { sum, count })
    window { from = { source(1, 1000), source(2, 1) } } -- whoever has a series keeps it
    found, sum, count = samples(exposed(self), "perilune_flows_packets_total")
    assert.equal(1007, found['{policy="p",probe="from",src="other"}'])
    assert.same({ 1022, 3 }, { sum, count })
    assert.same({ { probe = "from", series = 3, most = 3 } }, self:sizes())
  end)

  it("stay few when everybody else is new", function()
    local self, window = made '{ metrics "from" { "packets", "bytes", series = 50 } }'
    local sent = 0
    for round = 0, 4 do
      local rows = {}
      for i = 1, 2000 do rows[i] = source(round * 2000 + i, 1) end
      sent = sent + 2000
      window { from = rows }
    end
    local _, sum, count = samples(exposed(self), "perilune_flows_packets_total")
    assert.same({ sent, 51 }, { sum, count })
    local known = 0
    for _ in pairs(self.carries.from.by_key) do known = known + 1 end
    assert.equal(50, known)
  end)

  it("forget who is silent, and begin anew when they are back", function()
    local self, window = made '{ metrics "from" { "packets", series = 2, forget = "5s" } }'
    window { from = { source(1, 7), source(2, 7) } }
    for _ = 1, 6 do window { from = { source(2, 1) } } end
    local found, _, count = samples(exposed(self), "perilune_flows_packets_total")
    assert.is_nil(found['{policy="p",probe="from",src="10.0.0.1"}'])
    assert.equal(2, count)
    window { from = { source(1, 3) } }
    local text = exposed(self)
    local labels = '{policy="p",probe="from",src="10.0.0.1"}'
    assert.equal(3, samples(text, "perilune_flows_packets_total")[labels])
    assert.equal(7, samples(text, "perilune_flows_packets_created")[labels])
  end)

  it("go on when their probe does not run, and over all rows together", function()
    local self, window = made '{ metrics "from" { "packets", "ttl_min", "ttl_max", by = {} } }'
    window { from = { source(1, 2, { ttl_min = 60, ttl_max = 64 }), source(2, 3, { ttl_min = 50, ttl_max = 55 }) } }
    window { all = {} }
    window({ from = {} }, { packets = 1 })
    local text = exposed(self)
    assert.matches('\nperilune_flows_packets_total{policy="p",probe="from"} 6\n', text, nil, true)
    assert.matches('\nperilune_flows_ttl_min{policy="p",probe="from"} 50\n', text, nil, true)
    assert.matches('\nperilune_flows_ttl_max{policy="p",probe="from"} 64\n', text, nil, true)
  end)

  it("make histograms of classes", function()
    local self, window = made '{ metrics "all" { "sizes" } }'
    local sizes = { 4, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1 }
    for _ = 1, 2 do window { all = { { direction = 0, bytes = 70000, sizes = sizes }, { direction = 1, sizes = sizes } } } end
    local text = exposed(self)
    local labels = 'policy="p",probe="all",direction="ingress"'
    local buckets = samples(text, "perilune_traffic_sizes_bytes_bucket")
    assert.equal(8, buckets[('{%s,le="63.0"}'):format(labels)])
    assert.equal(12, buckets[('{%s,le="255.0"}'):format(labels)])
    assert.equal(12, buckets[('{%s,le="65535.0"}'):format(labels)])
    assert.equal(14, buckets[('{%s,le="+Inf"}'):format(labels)])
    assert.equal(14, samples(text, "perilune_traffic_sizes_bytes_count")["{" .. labels .. "}"])
    assert.equal(140000, samples(text, "perilune_traffic_sizes_bytes_sum")["{" .. labels .. "}"])
  end)

  it("begin anew where a number would no longer be exact", function()
    local self, window = made '{ metrics "all" { "bytes" } }'
    window { all = { { direction = 0, bytes = 2 ^ 53 - 10 } } }
    window { all = { { direction = 0, bytes = 20 } } }
    local text, labels = exposed(self), '{policy="p",probe="all",direction="ingress"}'
    assert.equal(20, samples(text, "perilune_traffic_bytes_total")[labels])
    assert.equal(1, samples(text, "perilune_traffic_bytes_created")[labels])
  end)

  it("go on over a reload where they mean the same", function()
    local self, window = made '{ metrics "all" { "packets" }, metrics "from" { "packets" } }'
    window { all = { { direction = 0, packets = 5 } }, from = { source(1, 5) } }
    self:become(assert(declare '{ metrics "all" { "packets" }, metrics "from" { "packets", "bytes" } }'))
    window { all = { { direction = 0, packets = 5 } }, from = { source(1, 5) } }
    local text = exposed(self)
    assert.equal(10, select(2, samples(text, "perilune_traffic_packets_total")))
    assert.equal(5, select(2, samples(text, "perilune_flows_packets_total")))
  end)
end)
