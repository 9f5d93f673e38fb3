-- SPDX-License-Identifier: Apache-2.0
-- Policies as text: what is understood, what it becomes, and what is said about mistakes.
local policy = require "perilune.policy"

local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local templates = dofile(HERE .. "/fake_templates.lua")

local function file(name) return HERE .. "/policies/" .. name .. ".lua" end

local function load_file(name, set, say)
  return policy.load { file = file(name), templates = templates, set = set, say = say }
end

local function load_text(text, set)
  return policy.load { source = text, name = "p.lua", templates = templates, set = set }
end

local function complaint(text, set)
  local decl, message, code = load_text(text, set)
  assert.is_nil(decl)
  assert.equal("EINVAL", code)
  return message
end

-- What is said about a rule with this condition, over flows "to" by source and destination port and counter "all".
local function of_rule(condition, per)
  return (complaint(([[
return policy "p" { always = { counter "all" { features = { "tcp_flags" } }, flows "to" { key = { "src", "dport" } } },
  rules = { rule "r" { %s when = %s } } }]]):format(per or "", condition)):gsub("^p.lua:2: ", ""))
end

describe("measures of a policy", function()
  local function decl_of(condition)
    return assert(load_text(([[
return policy "p" { always = { counter "all" {}, flows "to" { key = { "src", "dport" }, features = { "tcp_flags" } } },
  rules = { rule "r" { when = %s } } }]]):format(condition))).rules[1].when.measure
  end

  it("say what the engine needs to know of them", function()
    assert.same({ kind = "max", probe = "to", field = "bytes", unit = "size", text = "max to.bytes" },
      decl_of 'max("to.bytes"):above "1kB"')
    assert.same({ kind = "entropy", probe = "to", field = "dport", unit = "share", by = "dport", weight = "packets",
      text = "entropy to.dport" }, decl_of 'entropy("to.dport"):above "50%"')
    assert.same({ kind = "entropy", probe = "to", field = "bytes", unit = "share", text = "entropy to.bytes" },
      decl_of 'entropy("to.bytes"):above "50%"')
    assert.same({ kind = "distinct", probe = "to", field = "src", unit = "count", text = "distinct to.src" },
      decl_of 'distinct("to.src"):above(5)')
    assert.same({ kind = "rate", probe = "to", field = "syn", where = "dport == 53 and src ~= '10.0.0.1'", unit = "rate",
      text = "rate to.syn where dport == 53 and src ~= '10.0.0.1'" },
      decl_of [[rate("to.syn", "dport == 53 and src ~= '10.0.0.1'"):above "5/s"]])
  end)

  it("are refused where they make no sense", function()
    for condition, expected in pairs {
      ['max("all.packets"):above(5)'] = 'counter "all" has no rows, so there is no max of them (use a flows probe)',
      ['entropy("all.packets"):above "5%"'] = 'counter "all" has no rows, so there is no entropy of them (use a flows probe)',
      ['max("to.dport"):above(5)'] = "to.dport is part of the key, not an amount (known: packets, skbs, bytes)",
      ['distinct("to.dprt"):above(5)'] = 'probe "to" has no field "dprt" (did you mean "dport"?)',
      ['distinct("to.syn"):above(5)'] = 'to.syn needs the feature tcp_flags of probe to (features = { "tcp_flags" })',
      ['quantile("to.bytes", 0.9):above(5)'] = "quantile to.bytes 0.9 is a size and cannot be compared with 5, which is a count"
        .. ' (write it like "64kB")',
      ['count("to", "dprt == 5"):above(5)'] = [[count of flows "to": where "dprt == 5": there is no field "dprt" (did you mean "dport"?)]]
        .. [[ (like "dport == 53 and bytes > 1e3")]],
      ['count("to", "dport = 5"):above(5)'] = [[count of flows "to": where "dport = 5": unexpected = (to compare, write ==)]]
        .. [[ (like "dport == 53 and bytes > 1e3")]],
      ['count("to", "src > 5"):above(5)'] = [[count of flows "to": where "src > 5": src can only be compared with == and ~=]]
        .. [[ (like "dport == 53 and bytes > 1e3")]],
    } do
      assert.equal(expected, of_rule(condition), condition)
    end
  end)
end)

describe("a policy", function()
  local decl = assert(load_file "rich")

  it("becomes plain data", function()
    local function walk(value, path)
      if type(value) ~= "table" then return end
      assert.is_nil(getmetatable(value), path)
      for key, inner in pairs(value) do walk(inner, path .. "." .. tostring(key)) end
    end
    walk(decl, "decl")
  end)

  it("has its name, hook, window and options", function()
    assert.equal("rich", decl.name)
    assert.same({ iface = nil, hook = "tc.ingress", mode = "tcx" }, decl.attach)
    assert.equal(1, decl.window)
    local names, types = {}, {}
    for i, option in ipairs(decl.options) do names[i], types[i] = option.name, option.type end
    assert.same({ "iface", "hook", "surge", "deep", "rows", "quiet" }, names)
    assert.same({ "iface", "text", "rate", "bool", "count", "duration" }, types)
    assert.equal(2000, decl.options[3].value)
    assert.equal("2k/s", decl.options[3].default)
    assert.equal(6, decl.options[3].line)
  end)

  it("has every probe once, and the levels with what runs at them", function()
    local names = {}
    for i, probe in ipairs(decl.probes) do names[i] = probe.name end
    assert.same({ "totals", "to", "flows" }, names)
    local to = decl.probes[2]
    assert.same({ "dst" }, to.key)
    assert.equal("dst", to.key_name)
    assert.same({ "tcp_flags" }, to.features)
    assert.same({ entries = 64 }, to.knobs)
    assert.equal(11, to.line)
    assert.same({ "deep", "timing" }, decl.probes[3].features)
    assert.same({ "totals" }, decl.levels[1].probes)
    assert.same({ "totals", "to", "flows" }, decl.levels[3].probes)
    assert.equal(0.1, decl.levels[3].window)
    assert.equal(30, decl.levels[3].lease)
    assert.equal(600, decl.levels[3].longest)
    assert.equal(1, decl.levels[1].window)
  end)

  it("has rules as data, with the probes they need", function()
    local surge, victim, odd = unpack(decl.rules)
    assert.equal(2000, surge.when.threshold.value)
    assert.equal("lasting", surge.clear.kind)
    assert.equal(500, surge.clear.cond.threshold.value)
    assert.equal("alert", surge.hold)
    assert.same({ probe = "to", field = "dst" }, victim.per)
    assert.same({ "to" }, victim.probes)
    assert.same({ kind = "add", set = "victims" }, victim.act[1])
    assert.same({ kind = "log" }, victim.act[2])
    assert.same({ kind = "log", text = "on tc.ingress" }, victim.act[3])
    assert.equal("call", victim.act[4].kind)
    assert.equal(31, victim.act[4].line)
    assert.equal(33, odd.when[1].line)
    assert.equal("rate totals.packets", odd.when[2].measure.text)
    assert.same({ { kind = "log" } }, odd.act)
  end)

  it("has sets and records", function()
    local set = decl.sets[1]
    assert.same({ "victims", "dst", 64, 300 }, { set.name, set.of, set.max, set.ttl })
    assert.same({ to = { top = 100, by = "syn" }, totals = {} }, decl.records)
  end)

  it("has one level when it names none", function()
    local said = {}
    local plain = assert(load_file("plain_lua", nil, function(text) said[#said + 1] = text end))
    assert.equal("base", plain.levels[1].name)
    assert.equal("counter", plain.probes[1].name)
    assert.same({ "loading\t1\tnil\n" }, said)
    assert.is_nil(rawget(string, "mine"))
    assert.equal("tc", plain.attach.hook)
  end)
end)

describe("options", function()
  local TEXT = [[
    local iface = option "iface" { type = "iface" }
    local surge = option "surge" { default = "2k/s", max = "1M/s" }
    local link = option "link" { default = "100Mbit/s" }
    local deep = option "deep" { default = false }
    local step = option "step" { default = "1s", one_of = { "100ms", "1s" } }
    return policy "p" { attach = { iface = iface }, window = step, always = { counter "totals" {} }, rules = {
      rule "r" { when = any { rate("totals.packets"):above(surge), rate("totals.bytes"):above(link * 2) } } } }, deep
  ]]

  it("are set from outside, as text", function()
    local decl = assert(load_text(TEXT, { iface = "vb", surge = "5k/s", link = "1MB/s", deep = "yes", step = "0.1s" }))
    assert.same({ "vb" }, decl.attach.iface)
    assert.equal(0.1, decl.window)
    assert.equal(5000, decl.rules[1].when[1].threshold.value)
    assert.equal(2e6, decl.rules[1].when[2].threshold.value)
    assert.is_true(decl.options[4].value)
  end)

  it("refuse values that do not fit", function()
    assert.equal('p.lua:2: --set surge=fast: expected a rate, got "fast" (write it like "2k/s")', complaint(TEXT, { surge = "fast" }))
    assert.equal('p.lua:2: --set surge=5kB/s: expected a rate, got "5kB/s", which is a rate of bytes (write it like "2k/s")',
      complaint(TEXT, { surge = "5kB/s" }))
    assert.equal("p.lua:2: --set surge=2M/s: 2,000,000/s is too large (at most 1,000,000/s)", complaint(TEXT, { surge = "2M/s" }))
    assert.equal("p.lua:4: --set deep=maybe: expected true or false (yes, no, on and off will do)", complaint(TEXT, { deep = "maybe" }))
    assert.equal('p.lua:5: --set step=2s: unknown value "2s" (one of 100ms, 1s)', complaint(TEXT, { step = "2s" }))
    assert.equal('p.lua:1: --set iface=a/b: "a/b" is no interface name (like eth0 or veth*; `ip link` lists them)',
      complaint(TEXT, { iface = "a/b" }))
  end)

  it("that do not exist are named with the nearest", function()
    assert.equal('p.lua: no option "ifcae" (did you mean "iface"? it has iface, surge, link, deep, step)',
      complaint(TEXT, { ifcae = "vb" }))
    assert.equal('p.lua: no option "x" (it has no options)', complaint('return policy "p" { always = { counter {} } }', { x = "1" }))
  end)

  it("without a default have to be given", function()
    local text = 'local most = option "most" { type = "rate" }\nreturn policy "p" { always = { counter {} } }, most'
    assert.equal('p.lua:1: option "most" has no value (give it with --set most=2k/s)', complaint(text))
    assert.truthy(load_text(text, { most = "1k/s" }))
    local list = assert(policy.options { source = text, templates = templates })
    assert.equal("most", list[1].name)
    assert.equal('p.lua:1: option "x" has neither a default nor a type (write default = "2k/s" or type = "iface")',
      complaint 'local x = option "x" {}')
  end)

  it("are listed whatever they are set to", function()
    local list = assert(policy.options { file = file "rich", templates = templates, set = { nonsense = "1" } })
    assert.equal(6, #list)
    assert.equal("too many", list[3].help)
    assert.is_nil((policy.options { file = file "broken_syntax", templates = templates }))
  end)
end)

describe("mistakes", function()
  local listing = assert(io.popen("ls '" .. HERE .. "/policies'"))
  for name in listing:read("*a"):gmatch("(broken_[%w_]+)%.lua\n") do
    it(name:gsub("_", " "), function()
      local text = assert(io.open(file(name))):read "*a"
      local expected = text:match("^[^\n]*\n%-%- ([^\n]*)\n")
      local decl, message, code = load_file(name)
      assert.is_nil(decl)
      assert.equal("EINVAL", code)
      local line, rest = expected:match("^(%d+): (.*)$")
      local whole = line and file(name) .. ":" .. line .. ": " .. rest or file(name) .. ": " .. expected
      -- Lua's own messages go on in their own words.
      assert.equal(whole, message:sub(1, #whole))
      if rest ~= nil and rest:sub(-1) == ")" then assert.equal(#whole, #message) end
    end)
  end
  listing:close()

  it("in files are told from mistakes in policies", function()
    assert.matches("^no/such.lua: No such file or directory %(", (select(2, policy.load { file = "no/such.lua", templates = templates })))
    assert.matches("^/tmp: Is a directory %(", (select(2, policy.load { file = "/tmp", templates = templates })))
  end)

  it("of a module are located in the module", function()
    local directory = os.tmpname()
    os.remove(directory)
    assert.equal(0, os.execute("mkdir '" .. directory .. "'"))
    local function write(name, text) local out = assert(io.open(directory .. "/" .. name, "w")) out:write(text) out:close() end
    write("main.lua", 'local m = require "part"\nreturn m')
    write("part.lua", '\nreturn level "calm" { windw = "1s" }')
    local _, message = policy.load { file = directory .. "/main.lua", templates = templates }
    assert.equal(directory .. '/part.lua:2: "calm": level has no key "windw" (did you mean "window"?)', message)
    write("part.lua", 'local part = require "part"\nreturn part')
    _, message = policy.load { file = directory .. "/main.lua", templates = templates }
    assert.equal(directory .. '/part.lua:1: module "part" requires itself (break the circle)', message)
    write("main.lua", 'return require "absent"')
    _, message = policy.load { file = directory .. "/main.lua", templates = templates }
    assert.matches('main.lua: module "absent": .*absent.lua: No such file or directory', message)
    os.execute("rm -r '" .. directory .. "'")
  end)
end)

describe("the sandbox", function()
  it("leaks nothing and lets nothing in", function()
    local before = {}
    for key in pairs(_G) do before[key] = true end
    load_text 'function leak() end'
    load_text 'leaked = 1'
    _G.secret_of_the_test = 1
    assert.matches('unknown name "secret_of_the_test"', complaint "local x = secret_of_the_test")
    _G.secret_of_the_test = nil
    for key in pairs(_G) do assert.truthy(before[key], key) end
    assert.matches('"rate" is a word of the language and cannot be set', complaint "rate = 1")
    local original = string.format
    load_text "string.format = nil"
    assert.equal(original, string.format)
  end)

  it("refuses bytecode and binaries", function()
    assert.equal("p.lua: this is compiled bytecode (a policy has to be Lua text)", complaint(string.dump(function() end)))
    assert.equal("p.lua: this is a binary file (a policy has to be Lua text)", complaint("return \0"))
  end)

  it("locates a policy's own errors", function()
    assert.equal("p.lua:2: too late", complaint '\nerror "too late"')
    assert.equal("p.lua:1: deep", complaint 'local function f() error("deep", 0) end f()')
    assert.matches("^p.lua:1: table: ", complaint 'error({})')
  end)

  -- How far the stack has grown when a policy is loaded, and what has been compiled by then, changes where it overflows.
  it("says that a function calls itself without end, wherever the stack ends", function()
    local function at_depth(depth, text)
      if depth == 0 then return complaint(text) end
      return (at_depth(depth - 1, text))
    end
    for _, body in ipairs { "1 + f()", "tostring(f())", 'level(f()) {}' } do
      for depth = 1, 100 do
        assert.matches("^p%.lua:%d*:? ?stack overflow %(does a function call itself without end%?%)$",
          at_depth(depth, "local function f() return " .. body .. " end f()"))
      end
    end
  end)
end)

describe("state of a policy", function()
  local function of(text) return load_text(('return policy "p" { always = { counter "all" {} }, %s }'):format(text)) end

  it("is plain data with first values", function()
    assert.same({ n = 0, seen = { a = { 1, 2 } }, on = false, text = "" },
      assert(of 'state = { n = 0, seen = { a = { 1, 2 } }, on = false, text = "" }').state)
    assert.equal(16, assert(of "").history)
    assert.is_nil(of "".state)
  end)

  it("is refused when it is not", function()
    for text, expected in pairs {
      ["state = { 5 }"] = "policy: state: 1 is no name (like state = { alarms = 0 })",
      ["state = { f = print }"] = "policy: state: f: a function cannot be kept (a number, a text, true, false or a table)",
      ['state = { t = ("x"):rep(20000) }'] = "policy: state: it takes more than 16384 bytes (it is for a few figures)",
      ["state = 5"] = "policy: state: expected names with first values (like state = { alarms = 0 })",
    } do
      local decl, message = of(text)
      assert.is_nil(decl)
      assert.equal("p.lua:1: " .. expected, message)
    end
  end)
end)
