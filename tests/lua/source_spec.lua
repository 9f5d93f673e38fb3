-- SPDX-License-Identifier: Apache-2.0
-- Own code in a policy, with objects as a compiler would have made them.
local plan = require "perilune.build.plan"
local policy = require "perilune.policy"
local sameness = require "perilune.policy.sameness"

local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local templates = dofile(HERE .. "/fake_templates.lua")

local CODE = "static __always_inline void NAME(on_packet)(struct packet *p)\n{ weighted(p, 1); }\n"

-- { name, kind, more } → a field of a layout.
local function field(name, kind, more)
  local one = { name = name, kind = kind or "uint", offset = 0, size = 8, count = 1 }
  for key, value in pairs(more or {}) do one[key] = value end
  return one
end

local function hash(name, key_padding)
  local half = { type = "hash", entries = 1000, padding = key_padding or 0 }
  return { { name = name, type = "array_of_maps", entries = 2, padding = 0 },
    { name = name .. "_0", type = half.type, entries = half.entries, padding = half.padding },
    { name = name .. "_1", type = half.type, entries = half.entries, padding = half.padding } }
end

local function array(name, entries) return { { name = name, type = "percpu_array", entries = entries, padding = 0 } } end

local function object(maps, layouts, programs)
  local list = {}
  for _, some in ipairs(maps) do
    for _, map in ipairs(some) do list[#list + 1] = map end
  end
  return {
    maps = list, programs = programs or { { name = "perilune_describe", section = "tc" } },
    layout = function(map)
      local fields = layouts[map] or { field "packets" }
      return { stride = layouts.stride or 32, fields = fields }
    end,
  }
end

local ROWS = { field("src", "address", { key = true }), field("ttl", "uint", { key = true, size = 1 }),
  field "packets", field "bytes", field "rtt_ns", field("first", "time"), field("spin", "enum"),
  field("sizes", "uint", { dims = { { count = 4, stride = 8 } } }) }

local function usual(layouts)
  layouts = layouts or {}
  layouts.hops_rows_0 = layouts.hops_rows_0 or ROWS
  return object({ hash "hops_rows", array("hops_other", 2) }, layouts)
end

local asked

local function load(body, made, more, without)
  return policy.load {
    source = ('local s = source "hops" { %s }\nreturn policy "p" { always = { s }, %s }'):format(body, more or ""),
    name = "own.lua", templates = templates,
    describe = without == nil and function(request, code)
      asked = { request = request, code = code }
      if type(made) == "string" then return nil, made, "EINVAL" end
      return made or usual()
    end or without,
  }
end

local function inline(rest) return ("code = [[\n%s]], %s"):format(CODE, rest or "") end

local function complaint(...)
  local decl, message = load(...)
  assert.is_nil(decl)
  return message
end

describe("own code", function()
  it("has the fields that its records have", function()
    local decl = assert(load(inline(), nil, [[rules = {
      rule "r" { per = "hops.src", when = all { distinct("hops.ttl"):above(3), rate("hops.bytes"):above "1kB/s" } },
      rule "q" { when = quantile("hops.rtt_ns", 0.9):above "1ms" },
    }]]))
    local probe = decl.probes[1]
    assert.same({ "src", "ttl" }, probe.key)
    assert.equal(1000, probe.knobs.entries)
    local units = {}
    for _, one in ipairs(probe.manifest.fields) do units[one.name] = one.unit end
    assert.same({ packets = "packets", bytes = "bytes", rtt_ns = "ns", first = "time", spin = "name", sizes = "count" }, units)
    assert.equal('own.lua:5: probe "hops" has no field "byte" (did you mean "bytes"?)',
      complaint(inline(), nil, 'rules = { rule "r" { when = rate("hops.byte"):above "1/s" } }'))
  end)

  it("is told more of its fields by the policy", function()
    local decl = assert(load(inline [[fields = {
      rtt_ns = { unit = "number", fold = "max" }, sizes = { classes = { first = 64, unit = "bytes" } },
    }]]))
    for _, one in ipairs(decl.probes[1].manifest.fields) do
      if one.name == "rtt_ns" then assert.same({ "number", "max" }, { one.unit, one.fold }) end
      if one.name == "sizes" then assert.same({ first = 64, unit = "bytes" }, one.classes) end
    end
    assert.matches("no field siezs %(did you mean \"sizes\"%?%)", complaint(inline 'fields = { siezs = "bytes" }'))
  end)

  it("stands in the program under its own file and line", function()
    local decl = assert(load(inline 'knobs = { most = 64, after = "50ms", on = true }, features = { "deep" }'))
    local source = plan.build(decl, { share = "/share" }).source
    local at = source:find('#line 2 "own.lua"\n' .. CODE, 1, true)
    assert.truthy(at)
    for _, text in ipairs { "#define PROBE hops\n", "#define KNOB_most 64\n", "#define KNOB_after 50000000\n", "#define KNOB_on 1\n",
      "#define FEATURE_deep\n", "#define KNOB_entries 1000\n" } do
      assert.truthy(source:sub(1, at):find(text, 1, true), text)
    end
    -- What comes behind it has the program's own lines again.
    local number, file, rest = source:match('#line (%d+) "(<policy p>)"\n(.*)$')
    assert.equal("<policy p>", file)
    local _, before = source:sub(1, #source - #rest):gsub("\n", "")
    assert.equal(before + 1, tonumber(number))
    assert.truthy(rest:find("#undef PROBE\n", 1, true))
    assert.truthy(source:find("hops_on_packet(p);", 1, true))
    assert.is_nil(source:find("RESUME", 1, true))
  end)

  it("is compiled by itself to be read", function()
    load(inline 'hooks = "xdp"', nil, 'attach = { hook = "xdp" }')
    assert.equal("<source hops>", asked.request.name)
    assert.truthy(asked.request.source:find("^#define HOOK_XDP\n"))
    assert.truthy(asked.request.source:find(CODE, 1, true))
    assert.equal("own.lua", asked.code.file)
  end)

  it("asks the parser for all that a packet can say, unless told", function()
    local all = plan.build(assert(load(inline())), { share = "/share" }).source
    for _, need in ipairs { "ADDRESSES", "TRANSPORT", "IP", "TCP", "ICMP", "PAYLOAD", "VLAN", "MPLS", "ETHERTYPE" } do
      assert.truthy(all:find("NEED_" .. need, 1, true), need)
    end
    assert.is_nil(all:find("NEED_TUNNEL", 1, true))
    local few = plan.build(assert(load(inline 'needs = "ip"')), { share = "/share" }).source
    assert.truthy(few:find("LEVEL_TC(tc_level_base, NEED_IP,", 1, true))
  end)

  it("has windows in the order of the policy", function()
    local maps = { hash "hops_rows", hash "hops_seen", array("hops_rest", 2), array("hops_gone", 2) }
    local decl = assert(load(inline 'windowed = { "rows", "seen", other = "rest", lost = "gone" }',
      object(maps, { hops_rows_0 = ROWS, hops_gone = { field "events" } })))
    local windows = plan.build(decl, { share = "/share" }).windows
    local seen = {}
    for i = 2, #windows do seen[i - 1] = ("%s %s %s"):format(windows[i].map, windows[i].kind, windows[i].role) end
    assert.same({ "hops_rows map rows", "hops_seen map state", "hops_rest array other", "hops_gone array lost" }, seen)
  end)

  it("may count in an array, for each way", function()
    local decl = assert(load(inline 'windowed = { "rows", index = "direction" }', object({ array("hops_rows", 4) },
      { hops_rows = { field("direction", "enum", { key = true }), field "packets" } }),
      'rules = { rule "r" { trigger = "50ms", when = rate("hops.packets"):above "1k/s" } }'))
    assert.is_false(decl.probes[1].manifest.rows)
    local window = plan.build(decl, { share = "/share" }).windows[3]
    assert.same({ "hops_rows", "array", 2, "direction" }, { window.map, window.kind, window.entries, window.index })
  end)

  it("is the same as long as its text is", function()
    local function other(text, line)
      local decl = assert(load(("%scode = [[\n%s]]"):format(("\n"):rep(line), text)))
      return decl.probes[1]
    end
    assert.is_true(sameness.equal(other(CODE, 0), other(CODE, 3)))
    assert.is_false(sameness.equal(other(CODE, 0), other(CODE .. "/* more */\n", 0)))
    assert.equal(other(CODE, 0).code.mark, other(CODE, 3).code.mark)
    assert.not_equal(other(CODE, 0).code.mark, other(CODE .. "/* more */\n", 0).code.mark)
  end)

  it("is not looked into where nothing can be compiled", function()
    local decl = assert(load(inline(), nil, 'rules = { rule "r" { when = rate("hops.nothing"):above "1/s" } }', false))
    assert.equal("p", decl.name)
  end)

  local WRONG = {
    { 'source "hops": there is no code (file = "own.bpf.c", or code = [[ … ]])', "" },
    { 'source "hops": either file or code, not both (file = "own.bpf.c", or code = [[ … ]])', 'file = "x.c", code = ""' },
    { 'source "hops": file: "/etc/passwd" is not beside the policy (name a file in the policy\'s directory, or below it)',
      'file = "/etc/passwd"' },
    { 'source "hops": file: "a/../../x.c" is not beside the policy (name a file in the policy\'s directory, or below it)',
      'file = "a/../../x.c"' },
    { 'source "hops": file: none.c: No such file or directory (is the path right?)', 'file = "none.c"' },
    { '"hops": source has no key "windowd" (did you mean "windowed"?)', inline "windowd = {}" },
    { '"hops": source: windowed: it names no map with records (like windowed = { "rows" })', inline "windowed = {}" },
    { '"hops": source: hooks: unknown value "xpd" (did you mean "xdp"?)', inline 'hooks = "xpd"' },
    { 'files are not put into a program (what it needs to know it gets as knobs)', [[code = '#embed "x"']] },
    { 'source "hops": knobs: filter is a word of source itself (choose another name)', inline "knobs = { filter = 1 }" },
    { 'source "hops": knobs: most: 1.5 is no whole number (C gets it as KNOB_most)', inline "knobs = { most = 1.5 }" },
    { 'source "hops": sample: the code counts every packet as one (add up weighted(p, n) where a packet is n of something)',
      'code = "x", sample = 3' },
    { 'source "hops": the code has no map NAME(rowz) (did you mean "rows"?)', inline 'windowed = { "rowz" }' },
    { 'source "hops": own.lua has no function NAME(on_packet) (static __always_inline void NAME(on_packet)(struct packet *p) { … })',
      inline(), "own.lua:1: call to undeclared function 'hops_on_packet'" },
    { 'source "hops": the map NAME(rows) is not windowed: it is a hash that packets write while it is read '
      .. "(declare it with WINDOWED_HASH(NAME(rows), …), see bpf/half.h)", inline(),
      object({ { { name = "hops_rows", type = "hash", entries = 9 } } }, {}) },
    { 'source "hops": nothing counts the packets that find no room in NAME(rows) '
      .. "(WINDOWED_ARRAY(NAME(other), struct NAME(value), 1), counted where half__row gives NULL)", inline(),
      object({ hash "hops_rows" }, { hops_rows_0 = ROWS }) },
    { 'source "hops": the key of NAME(rows) has 3 bytes of padding, which nobody sets: one key could have several rows '
      .. "(end it with a member __u8 pad[3], or reorder its members)", inline(), object({ hash("hops_rows", 3) }, {}) },
    { 'source "hops": the map NAME(more) is windowed and nothing reads it (add "more" to windowed)', inline(),
      object({ hash "hops_rows", hash "hops_more", array("hops_other", 2) }, { hops_rows_0 = ROWS }) },
    { 'source "hops": the records of NAME(rows) are too big: 40000 bytes (at most 32768)', inline(), usual { stride = 40000 } },
    { 'source "hops": a record of NAME(rows) has no `packets`: how many it stands for (a member __u64 packets in its value)',
      inline(), usual { hops_rows_0 = { field "many" } } },
    { 'source "hops": the code has a program of its own, mine in SEC("xdp") '
      .. "(a source is called by its level's program, for each packet: leave SEC away)", inline(),
      object({}, {}, { { name = "perilune_describe", section = "tc" }, { name = "mine", section = "xdp" } }) },
  }
  for _, case in ipairs(WRONG) do
    it(("says: %s"):format(case[1]:sub(1, 70)), function()
      assert.equal("own.lua:1: " .. case[1], complaint(case[2], case[3]))
    end)
  end

  it("has its errors told at their own lines", function()
    assert.equal("x/own.bpf.c:12: use of undeclared identifier 'y'\nx/own.bpf.c:13: more",
      complaint(inline(), "x/own.bpf.c:12: use of undeclared identifier 'y'\nx/own.bpf.c:13: more"))
  end)
end)
