-- SPDX-License-Identifier: Apache-2.0
local auth = require "perilune.serve.auth"
local channel = require "perilune.run.channel"
local json = require "perilune.base.json"
local log = require "perilune.serve.log"
local ring = require "perilune.serve.ring"
local settings = require "perilune.serve.settings"
local target = require "perilune.serve.target"

describe("json", function()
  it("is the same text every time", function()
    assert.equal('{"a":[],"b":1,"c":{},"d":[1,"x"]}', json.encode { b = 1, a = json.array {}, c = {}, d = { 1, "x" } })
    assert.equal('{"z":1,"a":null}', json.encode(json.object { { "z", 1 }, { "nothing", nil }, { "a", json.null } }))
    assert.equal('"\\"\\\\\\n\\u0001"', json.encode '"\\\n\1')
    assert.equal("9007199254740992", json.encode(2 ^ 53))
    assert.equal("0.1", json.encode(0.1))
    assert.equal("null", json.encode(0 / 0))
  end)

  it("refuses what is too deep, too large or no JSON", function()
    assert.same({ a = { 1, 2 } }, json.decode '{"a":[1,2]}')
    for _, text in ipairs { "", "{", "nan", "[1e999]", ("["):rep(1000), '{"a":}', "\0", '{"a":0x10}' } do
      local value, message = json.decode(text)
      assert.is_nil(value)
      assert.is_string(message)
    end
  end)
end)

describe("the log", function()
  local said
  local function lines(format)
    said = {}
    return log.new { format = format, write = function(text) said[#said + 1] = text end,
      clock = function() return "2026-01-31T06:00:00.000Z" end }
  end

  it("is one line each, whatever somebody has to say", function()
    for _, format in ipairs { "text", "journal", "json" } do
      lines(format):warn("it says a\n06:00:01.000  info   all is well\r\27[2J", { by = "x\ny", bad = "\194\155\255" })
      local text = said[1]
      assert.equal("\n", text:match "%c", format)
      assert.equal(#text, text:find "%c", format)
      assert.is_nil(text:find("\255", 1, true), format)
      assert.matches("it says a.*all is well", text)
    end
    assert.matches('by="x\\ny"', (lines "text":info("x", { by = "x\ny" }) or said[1]))
  end)
end)

describe("a request's target", function()
  it("is taken apart", function()
    local segments, query = target.parse "/v1/policies/a%20b/?limit=3&x=%2F+y&z"
    assert.same({ "v1", "policies", "a b" }, segments)
    assert.same({ limit = "3", x = "/ y", z = "" }, query)
    assert.same({}, (target.parse "/"))
  end)

  it("is refused when it could be read in two ways", function()
    for _, text in ipairs { "", "x", "http://h/v1", "*", "/a//b", "//", "/a/../b", "/a/%2e%2e/b", "/.", "/a%2fb", "/%",
      "/%4", "/%zz", "/a%00b", "/a%0ab", "/a#b", "/a?b=%", "/a?b=1&b=2", "/" .. ("a"):rep(5000) } do
      local segments, message = target.parse(text)
      assert.is_nil(segments, text)
      assert.is_string(message)
    end
  end)
end)

describe("credentials", function()
  -- Hashes that are their own text, reversed: the spec needs no cryptography.
  local secret = {
    sha256 = function(text) return (text:reverse() .. ("0"):rep(64)):sub(1, 64) end,
    equal = function(a, b) return a == b end,
  }
  local function line(name, role, token) return ("token %s %s %s\n"):format(name, role, secret.sha256(token)) end
  local text = "# who\n\n" .. line("ann", "read", "aa") .. line("bob", "admin", "bb") .. "certificate web-3 operate # x\n"
  local who = auth.new { credentials = assert(auth.parse(text, "file")), secret = secret, uid = 7 }

  it("say who somebody is", function()
    assert.same({ name = "ann", role = "read", by = "token" }, who:identify({}, {}, "Bearer aa"))
    assert.same({ name = "bob", role = "admin", by = "token" }, who:identify({}, {}, "bearer  bb"))
    assert.same({ name = "web-3", role = "operate", by = "certificate" }, who:identify({}, { subject = "web-3" }))
    assert.equal("admin", who:identify({ role = "read" }, { uid = 0 }).role)
    assert.equal("admin", who:identify({ role = "read" }, { uid = 7 }).role)
    assert.equal("read", who:identify({ role = "read" }, { uid = 8 }).role)
    assert.equal("admin", who:identify({ no_auth = true }, {}).role)
    assert.is_nil(who:identify({}, { address = "127.0.0.1:1" }))
  end)

  it("that are wrong are nobody's, whatever else is shown", function()
    for _, header in ipairs { "Bearer cc", "Bearer", "Bearer ", "Basic YTpi", "aa", "Bearer aa bb", "" } do
      assert.is_nil(who:identify({ no_auth = true }, { uid = 0 }, header), header)
    end
    assert.is_nil(who:identify({}, { subject = "web-4" }))
  end)

  it("have roles that contain one another", function()
    assert.is_true(auth.may(nil, "none"))
    assert.is_false(auth.may(nil, "read"))
    assert.is_true(auth.may("admin", "read"))
    assert.is_true(auth.may("operate", "operate"))
    assert.is_false(auth.may("operate", "admin"))
  end)

  it("are read strictly", function()
    for _, wrong in ipairs { "token ann read", "token ann root " .. ("0"):rep(64), "password x read", "token ann",
      "token a/b read " .. ("0"):rep(64), "certificate x read y", "token ann read " .. ("g"):rep(64) } do
      local found, message = auth.parse("\n" .. wrong, "file")
      assert.is_nil(found, wrong)
      assert.matches("^file:2: ", message)
    end
  end)
end)

describe("a policy's process", function()
  local now, start, worker = 100, nil, nil
  local core = { "perilune.core.child", "perilune.core.loop", "perilune.serve.worker" }

  setup(function()
    package.loaded["perilune.core.child"] = {
      program = function() return "/usr/bin/perilune" end, start = function(...) return start(...) end,
    }
    package.loaded["perilune.core.loop"] = { now = function() return now end, pid = function() return 1 end }
    worker = require "perilune.serve.worker"
  end)
  teardown(function() for _, name in ipairs(core) do package.loaded[name] = nil end end)

  it("that could not be begun is tried again, unless somebody waits for it", function()
    local mute = setmetatable({}, { __index = function() return function() end end })
    local one = worker.new { name = "one", file = "one.lua", log = mute, on_event = function() end }
    local said
    start = function() return nil, "there are too many processes", "EAGAIN" end
    one:start(function(...) said = { ... } end)
    assert.same({ nil, "there are too many processes", "EAGAIN" }, said)
    assert.is_nil(one.again)
    one:start_later()
    for _ = 1, 3 do
      now = one.again
      one:tick(now)
      assert.equal("failed", one.state)
      assert.is_true(one.again > now)
    end
    start = function() return { write = function() return true end } end
    now = one.again
    one:tick(now)
    assert.equal("starting", one.state)
    assert.is_nil(one.again)
  end)
end)

describe("the service manager", function()
  local heard, full, manager

  setup(function()
    package.loaded["perilune.core.service"] = {
      open = function()
        return {
          watchdog = function() end,
          tell = function(_, text)
            if full then return nil, "its queue is full", "EAGAIN" end
            heard[#heard + 1] = text
            return true
          end,
        }
      end,
    }
    manager = require "perilune.serve.manager"
  end)
  teardown(function()
    package.loaded["perilune.core.service"], package.loaded["perilune.serve.manager"] = nil, nil
  end)

  it("is told again what it did not take", function()
    local states = { { state = "running" } }
    local policies = { each = function(_, fn) for _, one in ipairs(states) do fn(one) end end }
    local one = manager.new { policies = policies, log = { debug = function() end }, now = function() return 0 end }
    local function ticks(is_full)
      heard, full = {}, is_full
      for now = 1, 3 do one:tick(now) end
      return heard
    end
    assert.same({}, ticks(true))
    assert.same({ "READY=1\nSTATUS=1 policy" }, ticks(false))
    states[2] = { state = "running" }
    assert.same({}, ticks(true))
    assert.same({ "STATUS=2 policies" }, ticks(false))
    full = true
    one:reloaded()
    assert.same({ "READY=1\nSTATUS=2 policies" }, ticks(false))
    assert.same({}, ticks(false))
  end)
end)

describe("a web page", function()
  local secret = { sha256 = function(text) return text end, equal = function(a, b) return a == b end }
  local known = { tokens = { { name = "bob", role = "admin", hash = "bb" } }, certificates = { ann = "admin" } }
  local router

  setup(function()
    package.loaded["perilune.core.http"] = { is_loopback = function(host) return host == "127.0.0.1" end }
    router = require("perilune.serve.router").new {
      routes = { { method = "POST", path = "/v1/reload", role = "admin", answers = {} } },
      auth = auth.new { credentials = known, secret = secret, uid = 7 }, over = function() end,
      context = { now = function() return 0 end, log = { error = error } },
    }
  end)
  teardown(function() package.loaded["perilune.core.http"], package.loaded["perilune.serve.router"] = nil, nil end)

  -- The status that the head alone is answered with; nil: it may go on.
  local function status(listener, peer, headers)
    local answered
    router:head({
      header = function(_, name) return headers[name] end, target = function() return "/v1/reload" end,
      peer = function() return peer end, method = function() return "POST" end, too_long = function() return false end,
      long_head = function() return false end,
      on_gone = function() end, is_open = function() return true end,
      answer = function(_, code)
        answered = code
        return true
      end,
    }, listener)
    return answered
  end

  it("does nothing in the place of who looks at it", function()
    for listener, peer in pairs { [{}] = { subject = "ann" }, [{ no_auth = true }] = {} } do
      local function with(name, value) return status(listener, peer, { Host = "127.0.0.1:9443", [name] = value }) end
      assert.is_nil(with("Accept", "*/*"))
      assert.is_nil(with("Sec-Fetch-Site", "none"))
      assert.equal(403, with("Origin", "https://evil.example"))
      assert.equal(403, with("Origin", "null"))
      assert.equal(403, with("Sec-Fetch-Site", "cross-site"))
      assert.equal(403, with("Sec-Fetch-Site", "same-origin"))
    end
    assert.is_nil(status({}, {}, { Authorization = "Bearer bb", Origin = "https://dashboard.example" }))
  end)
end)

describe("where the daemon listens", function()
  local files = { credentials = "token ann read " .. ("0"):rep(64), none = "", cert = "CERT", key = "KEY" }
  local options = {
    default_socket = "/run/x.sock",
    read = function(path)
      if files[path] then return files[path] end
      return nil, path .. ": not there"
    end,
    is_loopback = function(host) return host == "127.0.0.1" or host == "::1" end,
  }
  local function resolve(flags, config, env)
    return settings.resolve(flags, function(name) return (env or {})[name] end, config or {}, options)
  end
  local function refused(flags, config)
    local found, message = resolve(flags, config)
    assert.is_nil(found)
    return message
  end

  it("is a Unix socket by default", function()
    local found = resolve {}
    assert.equal("/run/x.sock", found.listen[1].path)
    assert.equal("read", found.listen[1].role)
  end)

  it("is loopback without TLS, or elsewhere with it, and never without a credential", function()
    assert.matches("nobody has a credential", refused { listen = "127.0.0.1:9000" })
    assert.matches("nobody has a credential", refused { listen = "127.0.0.1:9000", credentials = "none" })
    assert.matches("not without TLS", refused { listen = "0.0.0.0:9000", credentials = "credentials" })
    assert.matches("not without TLS", refused { listen = "10.0.0.1:9000", credentials = "credentials" })
    assert.matches("on loopback only", refused { listen = "0.0.0.0:9000", ["no-auth"] = true })
    local tls = { listen = { { tcp = "0.0.0.0:9000", certificate = "cert", key = "key" } } }
    assert.matches("nobody has a credential", refused({}, tls))
    assert.truthy(resolve({ listen = "127.0.0.1:9000", credentials = "credentials" }))
    assert.is_true(resolve({ listen = "[::1]:9000", ["no-auth"] = true }).listen[1].no_auth)
    local found = resolve({ credentials = "credentials" }, tls)
    assert.same({ certificate = "CERT", key = "KEY" }, found.listen[1].tls)
    assert.equal("0.0.0.0", found.listen[1].host)
    -- Somebody's no-auth is not a Unix socket's.
    assert.is_nil(resolve({ listen = "unix:/a,127.0.0.1:1", ["no-auth"] = true }).listen[1].no_auth)
  end)

  it("is said by the command line, else the environment, else the configuration", function()
    local config = { listen = { { unix = "/c" } }, host = "c", site = "c", log = { level = "warn" } }
    assert.equal("/c", resolve({}, config).listen[1].path)
    assert.equal("/e", resolve({}, config, { PERILUNE_LISTEN = "unix:/e" }).listen[1].path)
    assert.equal("/f", resolve({ listen = "unix:/f" }, config, { PERILUNE_LISTEN = "unix:/e" }).listen[1].path)
    local found = resolve({ host = "f", log = "debug:json" }, config, { PERILUNE_HOST = "e", PERILUNE_SITE = "e" })
    assert.same({ host = "f", site = "e" }, found.labels)
    assert.same({ level = "debug", format = "json" }, found.log)
    assert.equal("warn", resolve({}, config).log.level)
  end)

  it("and what cannot be understood is refused", function()
    for _, listen in ipairs { "9000", "localhost:", "127.0.0.1:70000", "unix:", ":9000" } do
      refused { listen = listen, ["no-auth"] = true }
    end
    assert.matches("not there", refused { credentials = "missing" })
    assert.matches("no level", refused { log = "loud" })
    assert.matches("no format", refused { log = "info:xml" })
  end)
end)

describe("the channel", function()
  it("cuts what comes into lines", function()
    local got = {}
    local take = channel.lines(function(line) got[#got + 1] = line end, 20)
    assert.is_true(take "one\ntw")
    assert.is_true(take "o\n\nth")
    assert.is_true(take "ree")
    assert.same({ "one", "two", "" }, got)
    assert.is_false(take(("x"):rep(30)))
  end)

  it("says what a line is", function()
    assert.same({ "event", "window", '{"a":1}' }, { channel.take 'event window {"a":1}' })
    assert.same({ "ok", 7, "[]" }, { channel.take(channel.answer(7, json.array {}):sub(1, -2)) })
    local kind, id, text = channel.take(channel.refusal(8, "no\nway", "EINVAL"):sub(1, -2))
    assert.same({ "no", 8, { message = "no\nway", code = "EINVAL" } }, { kind, id, json.decode(text) })
    assert.is_nil(channel.take "hello")
    assert.is_nil(channel.take "answer x ok {}")
  end)
end)

describe("a ring", function()
  it("keeps the newest", function()
    local kept = ring.new(3)
    assert.same({}, kept:list())
    for i = 1, 10 do kept:add(i) end
    assert.same({ 8, 9, 10 }, kept:list())
    assert.same({ 9, 10 }, kept:list(2))
    assert.equal(10, kept:newest())
  end)
end)
