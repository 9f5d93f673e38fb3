-- SPDX-License-Identifier: Apache-2.0
-- What a policy's code finds: which parts of Lua, which it is told it cannot have, and the records it is given.
local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local fake = dofile(HERE .. "/fake_templates.lua")
local policy = require "perilune.policy"

describe("the sandbox", function()
  local function condition(body)
    local decl = assert(policy.load {
      source = [[
        local p = flows "p" { key = "src" }
        return policy "x" { always = { p }, rules = { rule "r" { when = function(w) ]] .. body .. [[ end, act = { log } } } }
      ]], name = "x.lua", set = {}, templates = fake,
    })
    return decl.rules[1].when.fn
  end

  it("walks over records by __ipairs and rows by __pairs", function()
    local records = setmetatable({}, { __ipairs = function() return ipairs { "a", "b" } end,
      __pairs = function() return pairs { src = "10.0.0.1" } end })
    assert.equal(2, condition "local n = 0 for _ in ipairs(w) do n = n + 1 end return n" (records))
    assert.equal("src", condition "for k in pairs(w) do return k end" (records))
  end)

  it("leaves plain tables as they are", function()
    assert.equal(6, condition "local n = 0 for _, v in ipairs(w) do n = n + v end return n" { 1, 2, 3 })
    assert.equal("k", condition "for k in pairs(w) do return k end" { k = 1 })
  end)

  local function load_text(text, trusted)
    return policy.load { source = text, name = "p.lua", templates = fake, trusted = trusted }
  end

  local GOOD = ' return policy "x" { always = { flows "p" { key = "src" } } }'

  local function complaint(text)
    local decl, message = load_text(text .. GOOD)
    assert.is_nil(decl, text)
    return message
  end

  -- Runs where policies are loaded, which is what comes after `\n`: line 2.
  local function runs(text) return assert(load_text("\n" .. text .. GOOD)) end

  local WITHHELD = { "io", "os", "ffi", "jit", "debug", "load", "loadstring", "loadfile", "dofile", "getfenv", "setfenv",
    "rawget", "rawset", "rawequal", "setmetatable", "getmetatable", "package", "collectgarbage", "gcinfo", "newproxy", "module",
    "_G" }

  it("says of each part of Lua that it withholds why, and what to do", function()
    for _, name in ipairs(WITHHELD) do
      assert.matches(("^p.lua:2: %s is not available in a policy: .* %%(%%-%%-trusted gives it"):format(name),
        complaint("\nlocal x = " .. name))
    end
    assert.matches("^p.lua:2: os is not available", complaint '\nos.execute "true"')
    assert.matches('^p.lua:1: unknown name "iow" %(', complaint "local x = iow")
  end)

  it("says so of libraries that are required, unless the policy has such a file", function()
    for _, name in ipairs { "ffi", "io", "jit", "os", "debug" } do
      assert.matches(("^p.lua:1: %s is not available in a policy"):format(name), complaint(('local x = require "%s"'):format(name)))
    end
    assert.matches('^p.lua:1: module "bit"', complaint 'local x = require "bit"')
    assert.matches('^p.lua:1: module "jit.util"', complaint 'local x = require "jit.util"')
    assert.matches('^p.lua:1: module "perilune.core.vm"', complaint 'local x = require "perilune.core.vm"')
  end)

  it("has no use for bytecode, by whatever name it is reached", function()
    for _, way in ipairs { "string.dump(print)", '("").dump(print)', "local s = 'x' s.dump(function() end)",
      "local s = string local x = s.dump(print)" } do
      assert.matches("^p.lua:2: string.dump is not available in a policy: .*bytecode", complaint("\n" .. way))
    end
    assert.is_string(string.dump(function() end)) -- the program's own
  end)

  it("keeps the string functions of the program from the policy's hands", function()
    local rep, format = string.rep, string.format
    runs "string.rep = nil string.format = function() return 'mine' end"
    assert.matches("^p.lua:1: ", complaint '("x").rep = nil')
    assert.equal(rep, string.rep)
    assert.equal(format, string.format)
    assert.equal("xx", ("x"):rep(2))
  end)

  it("gives no access to the class of an error that is caught", function()
    runs [[local ok, problem = pcall(function() return nothing_of_that_name end)
      assert(not ok and problem.message and problem.__tostring == nil and problem.__index == nil)]]
  end)

  it("has coroutines", function()
    runs [[local made = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) error("got " .. b) end)
      assert(made(1) == 2)
      local ok, why = pcall(made, "b")
      assert(not ok and why:find "p.lua:2: got b")
      local co = coroutine.create(function() coroutine.yield() end)
      assert(coroutine.status(co) == "suspended" and coroutine.resume(co) and coroutine.resume(co))
      assert(coroutine.status(co) == "dead" and coroutine.running() == nil)]]
    assert.matches("^p.lua:3: io is not available", complaint '\nlocal c = coroutine.wrap(function()\nreturn io end) c()')
  end)

  it("has xpcall, with a handler of the policy's", function()
    runs [[local ok, why = xpcall(function() error("x", 0) end, function(e) return e .. "y" end)
      assert(not ok and why == "xy")]]
  end)

  it("is open for a policy that is trusted", function()
    local decl = assert(load_text([[
      local ffi = require "ffi"
      assert(ffi.sizeof "int" == 4 and io.open and os.time() > 0 and debug.getinfo and require "bit")
      assert(getmetatable("").__index.dump and type(string.dump(function() end)) == "string" and load "return 1"() == 1)
    ]] .. GOOD, true))
    assert.is_true(decl.trusted)
    assert.is_false(runs "".trusted)
    local _, message = load_text("leak = 1" .. GOOD, true)
    assert.matches('^p.lua:1: "leak" would be a global', message)
  end)
end)

describe("limits", function()
  local function limits(text)
    local decl, message = policy.load { name = "p.lua", templates = fake,
      source = ('return policy "x" { limits = %s, always = { flows "p" { key = "src" } } }'):format(text) }
    return decl and decl.limits, message
  end

  it("have defaults, which follow what is given", function()
    assert.same({ time = 0.2, total = 0.5, memory = 64e6 }, limits "{}")
    assert.same({ time = 0.05, total = 0.5, memory = 64e6 }, limits '{ time = "50ms" }')
    assert.same({ time = 2, total = 2, memory = 64e6 }, limits '{ time = "2s" }')
    assert.same({ time = 0.1, total = 0.1, memory = 64e6 }, limits '{ total = "100ms" }')
    assert.same({ time = 0.2, total = 0.3, memory = 2 ^ 24 }, limits '{ time = "200ms", total = "300ms", memory = "16MiB" }')
  end)

  it("are checked", function()
    for text, expected in pairs {
      ['{ tme = "1s" }'] = 'limits has no key "tme" %(did you mean "time"',
      ['{ time = "1s", total = "500ms" }'] = "limits: total: 500ms is less than the 1s of one call",
      ['{ memory = "1kB" }'] = "limits: memory: 1 kB is too small",
      ['{ time = "1m" }'] = "limits: time: .* is too large",
    } do
      assert.matches("^p.lua:1: " .. expected, select(2, limits(text)))
    end
  end)
end)
