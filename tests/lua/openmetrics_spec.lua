-- SPDX-License-Identifier: Apache-2.0
-- Metrics as text, in both formats.
local openmetrics = require "perilune.metrics.openmetrics"

describe("an exposition", function()
  local labels = openmetrics.labels { { "a", 'x"y\\z\nw' }, { "b c", "\255" }, { "empty", "" } }

  it("escapes", function()
    assert.equal('a="x\\"y\\\\z\\nw",b_c="\239\191\189"', labels)
    local gauge = openmetrics.family { name = "g", type = "gauge", help = 'a "b"\\\nc' }
    gauge:add(labels, 0.1)
    assert.equal(('# HELP g a \\"b\\"\\\\\\nc\n# TYPE g gauge\ng{%s} 0.1\n# EOF\n'):format(labels),
      (openmetrics.write({ gauge }, "openmetrics")))
    assert.equal(('# HELP g a "b"\\\\\\nc\n# TYPE g gauge\ng{%s} 0.1\n'):format(labels), (openmetrics.write({ gauge }, "text")))
  end)

  it("has every type, in both formats", function()
    local counter = openmetrics.family { name = "sent", type = "counter", unit = "bytes", help = "h" }
    counter:add("", 2 ^ 53, 12.5)
    local state = openmetrics.family { name = "level", type = "stateset", help = "h" }
    state:states("", { "calm", "deep" }, "deep")
    local info = openmetrics.family { name = "build", type = "info", help = "h" }
    info:info 'version="1"'
    local time = openmetrics.family { name = "wait", type = "histogram", unit = "seconds", help = "h" }
    time:histogram('x="y"', { 1e-6, 2 }, { 1, 0, 3 }, nil, 7)
    local empty = openmetrics.family { name = "none", type = "gauge" }
    local all = { counter, state, info, time, empty }
    assert.equal([[
# HELP sent_bytes h
# TYPE sent_bytes counter
# UNIT sent_bytes bytes
sent_bytes_total 9007199254740992
sent_bytes_created 12.500
# HELP level h
# TYPE level stateset
level{level="calm"} 0
level{level="deep"} 1
# HELP build h
# TYPE build info
build_info{version="1"} 1
# HELP wait_seconds h
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_bucket{x="y",le="1e-06"} 1
wait_seconds_bucket{x="y",le="2.0"} 1
wait_seconds_bucket{x="y",le="+Inf"} 4
wait_seconds_created{x="y"} 7.000
# EOF
]], (openmetrics.write(all, "openmetrics")))
    assert.equal([[
# HELP sent_bytes_total h
# TYPE sent_bytes_total counter
sent_bytes_total 9007199254740992
# HELP level h
# TYPE level gauge
level{level="calm"} 0
level{level="deep"} 1
# HELP build_info h
# TYPE build_info gauge
build_info{version="1"} 1
# HELP wait_seconds h
# TYPE wait_seconds histogram
wait_seconds_bucket{x="y",le="1e-06"} 1
wait_seconds_bucket{x="y",le="2.0"} 1
wait_seconds_bucket{x="y",le="+Inf"} 4
]], (openmetrics.write(all, "text")))
  end)

  it("puts families of one name together, through a channel too", function()
    local a = openmetrics.family { name = "n", type = "counter", help = "h" }
    local between = openmetrics.family { name = "m", type = "gauge", help = "h" }
    local b = openmetrics.family { name = "n", type = "counter", help = "h" }
    local other = openmetrics.family { name = "n", type = "gauge", help = "h" }
    a:add('p="a"', 1)
    between:add("", 1)
    b:add('p="b"', 2)
    other:add('p="c"', 2)
    local text, misfits = openmetrics.write({ a, between, assert(openmetrics.take(b:plain())), other }, "text")
    assert.matches('n_total{p="a"} 1\nn_total{p="b"} 2\n', text, nil, true)
    assert.same({ "n" }, misfits)
    assert.is_nil(openmetrics.take { name = "x" })
  end)

  it("is chosen by what is accepted", function()
    local function chosen(accept) return openmetrics.negotiate(accept) end
    assert.equal("text", chosen(nil))
    assert.equal("text", chosen "*/*")
    assert.equal("text", chosen "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    assert.equal("openmetrics", chosen
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5")
    assert.equal("openmetrics", chosen "text/plain, application/openmetrics-text; version=\"1.0.0\"; charset=utf-8")
    assert.equal("text", chosen "application/openmetrics-text;version=2.0.0,text/plain;q=0.1")
    assert.equal("text", chosen "text/html")
  end)
end)
