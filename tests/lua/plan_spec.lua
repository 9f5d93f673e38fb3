-- SPDX-License-Identifier: Apache-2.0
-- The C source, maps and roots that a policy's text leads to.
local plan = require "perilune.build.plan"
local policy = require "perilune.policy"
local template = require "perilune.probe.template"

local templates = template.registry({ "templates" }, function() return { "counter", "flows" } end)

local LEVELS = [[
  local to = flows "to" { key = "dst", entries = 100 }
  local from = flows "from" { key = "pair", features = { "tcp_flags", "timing" } }
  return policy "my plan */ x" {
    attach = { iface = "lo", hook = "%s" },
    always = { counter "totals" { features = { "tcp_flags" } } },
    levels = { level "calm" {}, level "alert" { to }, level "siege" { from, to } },
  }]]

local function planned(hook, options)
  local text = LEVELS:format(hook):gsub("my plan %*/ x", options and options.name or "my_plan")
  local decl = assert(policy.load { source = text, name = "p.lua", templates = templates })
  return plan.build(decl, { share = "/share", replay = options and options.replay, delay = options and options.delay })
end

-- Whether the parts stand in the source, in this order.
local function in_order(source, parts)
  local at = 1
  for _, part in ipairs(parts) do
    local from, to = source:find(part, at, true)
    assert.truthy(from, part .. "\nis not there, or too early, in\n" .. source)
    at = to
  end
end

local function count(source, part)
  local n, at = 0, 1
  while true do
    local _, to = source:find(part, at, true)
    if not to then return n end
    n, at = n + 1, to + 1
  end
end

describe("a plan", function()
  it("includes each probe's template once, with its own defines", function()
    local source = planned("tc.ingress").source
    in_order(source, { "#include <perilune.h>", "#define PROBE totals", "#define FEATURE_tcp_flags", "counter/template.bpf.h",
      "#undef FEATURE_tcp_flags", "#undef PROBE" })
    in_order(source, { "#define PROBE from", "#define KEY_src", "#define KEY_dst", "#define FEATURE_tcp_flags", "#define FEATURE_timing",
      "flows/template.bpf.h", "#undef FEATURE_timing", "#undef KEY_dst", "#undef KEY_src", "#undef PROBE" })
    assert.equal(3, count(source, "#define PROBE "))
    assert.equal(count(source, "#define "), count(source, "#undef "))
    assert.equal(1, count(source, "#define KEY_src"))
  end)

  it("has a function of every level for each kind of program, and calls it by the level in force", function()
    local source = planned("tc").source
    in_order(source, { "static __always_inline void tc_templates_calm(struct packet *p, struct __sk_buff *ctx)", "totals_on_packet(p);",
      "LEVEL_TC(tc_level_calm, NEED_TRANSPORT, tc_templates_calm)",
      "tc_templates_alert", "totals_on_packet(p);", "to_on_packet(p);",
      "LEVEL_TC(tc_level_alert, NEED_ADDRESSES | NEED_TRANSPORT, tc_templates_alert)",
      "tc_templates_siege", "totals_on_packet(p);", "LEVEL_TC(tc_level_siege, NEED_ADDRESSES | NEED_TRANSPORT, tc_templates_siege)",
      'SEC("tc")', "int tc_ingress(struct __sk_buff *ctx)", "case 1:", "LEVEL(tc_level_alert, ctx, state, ingress);", "case 2:",
      "LEVEL(tc_level_siege, ctx, state, ingress);",
      "default:", "LEVEL(tc_level_calm, ctx, state, ingress);", "return TC_PASS;",
      "int tc_egress(struct __sk_buff *ctx)", "LEVEL(tc_level_calm, ctx, state, egress);", 'SEC("license")' })
    assert.equal(0, count(source, "LEVEL_XDP"))
    assert.equal(3, count(source, "totals_on_packet(p)"))
  end)

  it("makes XDP programs for xdp and TC programs for tc", function()
    local xdp = planned("xdp")
    in_order(xdp.source, {
      "LEVEL_XDP(xdp_level_calm, NEED_TRANSPORT, xdp_templates_calm)",
      'SEC("xdp.frags")', "int xdp(struct xdp_md *ctx)", "return XDP_PASS;" })
    assert.equal(0, count(xdp.source, "__sk_buff"))
    assert.same({ { hook = "xdp", kind = "xdp", direction = "ingress", program = "xdp" } }, xdp.roots)
    assert.same({ { hook = "tc.egress", kind = "tc", direction = "egress", program = "tc_egress" } }, planned("tc.egress").roots)
    assert.same({
      { hook = "tc.ingress", kind = "tc", direction = "ingress", program = "tc_ingress" },
      { hook = "tc.egress", kind = "tc", direction = "egress", program = "tc_egress" },
    }, planned("tc").roots)
  end)

  it("runs a replay with XDP programs, one for each direction that the hooks have", function()
    local both = planned("tc", { replay = true })
    assert.same({ "replay_ingress", "replay_egress" }, { both.roots[1].program, both.roots[2].program })
    assert.equal(0, count(both.source, "__sk_buff"))
    in_order(both.source, { "int replay_ingress(struct xdp_md *ctx)", "ingress);", "int replay_egress(struct xdp_md *ctx)", "egress);" })
    assert.same({ "replay_egress" }, { planned("tc.egress", { replay = true }).roots[1].program })
    assert.equal(1, #planned("xdp", { replay = true }).roots)
  end)

  it("lists windowed maps by position: the hook's, then each probe's, with sizes", function()
    local p = planned("tc")
    local seen = {}
    for i, window in ipairs(p.windows) do seen[i] = ("%s %s %s %s"):format(window.map, window.kind, window.entries, window.role) end
    assert.same({ "hook_totals array 2 totals", "totals_rows array 2 rows", "to_rows map 100 rows", "to_other array 1 other",
      "from_rows map 65536 rows", "from_other array 1 other" }, seen)
    assert.equal("direction", p.windows[1].index)
    assert.equal("direction", p.windows[2].index)
    assert.is_nil(p.windows[1].probe)
    assert.equal("from", p.windows[5].probe)
    assert.same({ { map = "to_rows", entries = 100 }, { map = "from_rows", entries = 65536 } }, p.entries)
  end)

  it("evaluates each filter once, and runs the templates that it lets through", function()
    local function build(translate)
      local decl = assert(policy.load { name = "p.lua", templates = templates, source = [[
        return policy "x" { attach = { iface = "lo", hook = "tc" }, always = { counter "all" {},
          counter "web" { filter = "port 80" }, flows "to" { filter = "port 80" },
          counter "names" { filter = "port 53" } }, levels = { level "calm" {}, level "deep" {} } }]] })
      return plan.build(decl, { share = "/share", filter = translate })
    end
    local source = build(function(expression, name) return ("/* %s for %s */\n"):format(name, expression) end).source
    in_order(source, { "filter_0 for port 80", "FILTER_TC(tc_filter_0, filter_0)", "filter_1 for port 53",
      "FILTER_TC(tc_filter_1, filter_1)", "tc_templates_calm", "matches_0 = tc_filter_0(ctx)", "matches_1 = tc_filter_1(ctx)",
      "\tall_on_packet(p);", "if (matches_0)\n\t\tweb_on_packet(p);", "if (matches_0)\n\t\tto_on_packet(p);",
      "if (matches_1)\n\t\tnames_on_packet(p);", "tc_templates_deep" })
    assert.equal(2, count(source, "FILTER_TC("))
    assert.equal(2, count(source, "tc_filter_0(ctx)")) -- once a level
    local planned_none, message = build(function() return nil, "no good" end)
    assert.is_nil(planned_none)
    assert.equal('p.lua:2: counter "web": no good', message)
  end)

  it("folds as the manifest says, and as the probe says otherwise", function()
    local function folds(body)
      local decl = assert(policy.load { name = "p.lua", templates = templates, source = ([[
        return policy "x" { attach = { iface = "lo", hook = "tc" }, always = { flows "to" { %s } } }]]):format(body) })
      local windows = plan.build(decl, { share = "/share" }).windows
      assert.same(windows[2].fold, windows[3].fold) -- rows and what did not fit
      return windows[2].fold
    end
    assert.is_nil(folds "")
    assert.same({ first = "min", last = "max" }, folds 'features = { "timing" }')
    assert.same({ first = "min", last = "last", bytes = "max" },
      folds 'features = { "timing" }, fold = { last = "last", bytes = "max" }')
    assert.equal("none", folds 'features = { "timing" }, fold = "none"')
  end)

  it("reads at each level the maps of that level and of the base", function()
    local maps = planned("tc").maps
    local function positions(marks)
      local list = {}
      for i = 1, 6 do
        if marks[i] then list[#list + 1] = i end
      end
      return list
    end
    assert.same({ { 1, 2 }, { 1, 2, 3, 4 }, { 1, 2, 3, 4, 5, 6 } }, { positions(maps[1]), positions(maps[2]), positions(maps[3]) })
  end)

  it("passes the headers and, in builds for tests, the delay", function()
    assert.same({ "-I/share/bpf" }, planned("tc").args)
    assert.same({ "-I/share/bpf", "-DPERILUNE_TEST_DELAY=500" }, planned("tc", { delay = 500 }).args)
  end)

  it("gives the same text every time", function()
    assert.equal(planned("tc").source, planned("tc").source)
  end)
end)
