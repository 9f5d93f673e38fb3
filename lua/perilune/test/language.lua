-- SPDX-License-Identifier: Apache-2.0
--
-- The language of a policy's tests (`perilune test`): words that build data, in the same sandbox as policies.
--
--   return tests "syn_flood.lua" {                        -- the policy; paths are relative to this file
--     test "found and left" {
--       set     = { surge = "2k/s" },                     -- its options
--       traffic = { pcap "ordinary.pcap", pcap("flood.pcap", { at = "60s", speed = 0.1 }) },
--       expect  = { level("siege", { by = "60.5s", rule = "victim" }), level("calm", { by = "80s" }),
--                   members("attackers", { exactly = { "172.16.0.5" } }) },
--     },
--   }
--
-- test: set, traffic, expect, and
--   lasting   how long it takes; as long as its traffic, and until the last moment that is expected, if not given
--   start     what the clock shows at 0 s ("2026-03-29T00:55:00Z"); if not given, the time of the first capture's first
--             frame
--   inside    networks whose frames are outgoing ("10.0.0.0/8"), as --local of replay
-- pcap(file, { … }): at, from, lasting, speed, pps, count, loop, src, dst as in traffic.lua, and
--   as        a name for `within` other than the file's
-- What is expected: see test/judge.lua.

local form = require "perilune.base.form"
local moment = require "perilune.base.moment"
local net = require "perilune.base.net"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local test_judge = require "perilune.test.judge"
local units = require "perilune.base.units"

local test_language = {}

local Capture = {}
Capture.__tostring = function(capture) return ('pcap "%s"'):format(capture.name) end

local FASTEST = 1e9 -- frames a second

local function speed(value)
  if type(value) == "number" and value > 0 and value <= 1e6 then return value end
  return nil, "expected how many times as fast", "like speed = 0.1"
end

local function pps(value)
  local number = type(value) == "number" and value or units.parse(value, "rate", true)
  if number and number > 0 and number <= FASTEST then return number end
  return nil, "expected a number of frames a second", 'like pps = 500 or pps = "2k/s"'
end

-- "192.0.2.1", "198.18.0.0/15", { "198.18.0.0/15", 1000 }: → { first address, how many }
local function addresses(value)
  if type(value) == "string" then value = { value } end
  local first, size
  if type(value) == "table" and type(value[1]) == "string" then first, size = net.range(value[1]) end
  local wanted = first and (value[2] or size)
  if not first or type(wanted) ~= "number" or wanted < 1 or wanted > size or wanted ~= math.floor(wanted) then
    return nil, "expected an address, or a network and how many of its addresses",
      'like src = "192.0.2.1" or src = { "198.18.0.0/15", 1000 }'
  end
  return { first, wanted }
end

local PCAP = schema.new {
  what = "pcap",
  keys = {
    at = { type = "duration" }, from = { type = "duration" }, lasting = { type = "duration" }, speed = { type = speed },
    pps = { type = pps }, count = { type = "count", min = 1 }, loop = { type = "bool" }, src = { type = addresses },
    dst = { type = addresses }, as = { type = "text" },
  },
}

local function pcap(file, body)
  if type(file) ~= "string" or file == "" then
    sandbox.fail(nil, "pcap takes the name of a file", 'like pcap "flood.pcap"')
  end
  local title = ('pcap "%s"'):format(file)
  local values = form.parse(PCAP, body or {}, nil, title)
  if values.loop and not values.count and not values.lasting then
    sandbox.fail(nil, title .. ": loop would never end", 'say for how long: lasting = "10s", or count = 5000')
  end
  if values.speed and values.pps then
    sandbox.fail(nil, title .. ": speed and pps are two paces", "leave one out")
  end
  values.file, values.name, values.place = file, values.as or file, sandbox.here()
  return setmetatable(values, Capture)
end

local function list_of(meta, noun, example)
  return function(value)
    if type(value) == "table" and getmetatable(value) == meta then value = { value } end
    if type(value) ~= "table" then return nil, ("expected a list of %s"):format(noun), example end
    local count = 0
    for key, one in pairs(value) do
      if type(key) ~= "number" or type(one) ~= "table" or getmetatable(one) ~= meta then
        return nil, ("expected a list of %s"):format(noun), example
      end
      count = math.max(count, key)
    end
    if count == 0 then return nil, "the list is empty", example end
    for i = 1, count do
      if value[i] == nil then return nil, ("entry %d is nil"):format(i), "is a name misspelt?" end
    end
    return value
  end
end

local function options(value)
  if type(value) ~= "table" then return nil, "expected a table", 'like set = { surge = "2k/s" }' end
  local out = {}
  for name, given in pairs(value) do
    local kind = type(given)
    if type(name) ~= "string" or kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      return nil, ("expected NAME = VALUE, got %s"):format(tostring(name)), 'like set = { surge = "2k/s" }'
    end
    out[name] = tostring(given)
  end
  return out
end

local function start(value)
  local us = type(value) == "string" and moment.parse(value)
  if not us then return nil, ("%s is no time"):format(units.quote(value)), 'like start = "2026-03-29T00:55:00Z"' end
  return us
end

local function inside(value)
  local ok, message
  if type(value) == "string" then ok, message = net.matcher(value) end
  if not ok then return nil, message or "expected networks", 'like inside = "10.0.0.0/8"' end
  return value
end

local TEST = schema.new {
  what = "test",
  keys = {
    set = { type = options, default = {} },
    traffic = { type = list_of(Capture, "captures", 'like traffic = { pcap "flood.pcap" }'), required = true,
      help = 'like traffic = { pcap "flood.pcap" }' },
    expect = { type = list_of(test_judge.Expectation, "expectations", 'like expect = { only "calm" }'),
      required = true, help = 'like expect = { only "calm" }' },
    lasting = { type = "duration" }, start = { type = start }, inside = { type = inside },
  },
}

-- Two captures of one name cannot be told apart where one of them is meant.
local function check_within(test)
  local known, twice = {}, {}
  for _, capture in ipairs(test.values.traffic) do
    twice[capture.name] = known[capture.name]
    known[capture.name] = true
  end
  for _, expectation in ipairs(test.values.expect) do
    local name = expectation.within and expectation.within[2]
    if name and (not known[name] or twice[name]) then
      sandbox.fail(expectation.place, ('%s: within: %s capture "%s"'):format(tostring(expectation),
        twice[name] and "there is more than one" or "there is no", name),
        twice[name] and 'name them: pcap("x.pcap", { as = "one" })' or "name one of the traffic, as written there")
    end
  end
end

local function words_of()
  local known = {
    pcap = pcap,
    test = form.word("test", function(name, body, at)
      local values = form.parse(TEST, body, at, ('"%s"'):format(name))
      local test = form.new { form = "test", name = name, at = at, values = values }
      check_within(test)
      return test
    end, { free = true }),
    tests = form.word("tests", function(name, body, at)
      local list, message, remedy = form.list "test"(body)
      if not list then sandbox.fail(at, ('tests "%s": %s'):format(name, message), remedy) end
      if #list == 0 then sandbox.fail(at, ('tests "%s": there is none'):format(name), 'write test "name" { … }') end
      return form.new { form = "tests", name = name, at = at, list = list }
    end, { free = true }),
  }
  for word, make in pairs(test_judge.words) do known[word] = make end
  return known
end

local function beside(file, path)
  if path:sub(1, 1) == "/" then return path end
  return (file:match "^(.*/)" or "") .. path
end

-- Plain data: { file, policy, tests = { { name, line, set, traffic, expect, lasting, start, inside }, … } }.
local function declared(value, file)
  if form.kind_of(value) ~= "tests" or select(2, form.kind_of(value)) then
    sandbox.fail({ file = file }, "the file does not return tests",
      form.kind_of(value) == "policy" and "this is a policy: perilune check, run and replay take it"
        or 'end it with return tests "POLICY.lua" { test "name" { … } }')
  end
  local out, names = { file = file, policy = beside(file, value.name), tests = {} }, {}
  for i, test in ipairs(value.list) do
    if names[test.name] then
      sandbox.fail(test.at, ('there are two tests "%s"'):format(test.name),
        ("the first is in line %d"):format(names[test.name]))
    end
    names[test.name] = test.at.line
    for _, capture in ipairs(test.values.traffic) do capture.path = beside(file, capture.file) end
    out.tests[i] = test.values
    test.values.name, test.values.line = test.name, test.at.line
  end
  return out
end

--- test_language.load { file =, say = } → what a file of tests declares | nil, message, "EINVAL".
function test_language.load(spec)
  local text, message, remedy = sandbox.read(spec.file)
  if not text then return nil, ("%s: %s (%s)"):format(spec.file, message, remedy), "EINVAL" end
  local box = sandbox.new { file = spec.file, words = words_of(), say = spec.say }
  local value, wrong = box:run(function() return declared(box:compile(text, spec.file)(), spec.file) end)
  if not value then return nil, wrong, "EINVAL" end
  return value
end

return test_language
