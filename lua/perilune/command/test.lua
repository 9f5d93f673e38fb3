-- SPDX-License-Identifier: Apache-2.0
-- perilune test: the tests that an operator writes for a policy, each a replay that is judged.
local capture = require "perilune.core.capture"
local event = require "perilune.event"
local format = require "perilune.base.format"
local loop = require "perilune.core.loop"
local policy = require "perilune.policy"
local replay_driver = require "perilune.run.replay"
local session = require "perilune.run.session"
local test_judge = require "perilune.test.judge"
local test_language = require "perilune.test.language"
local test_story = require "perilune.test.story"
local traffic = require "perilune.test.traffic"
local trial = require "perilune.policy.trial"

local command = {
  usage = "perilune test POLICY_test.lua … [--match TEXT] [--costs FILE] [--timeline] [--json] [--trusted]",
  summary = "run the tests of a policy: captures that it is to find, or to leave alone",
  options = { match = "text", costs = "text", timeline = "flag", json = "flag", trusted = "flag" },
  help = [[
A file of tests names a policy, and for each test traffic, made of captures on one clock, and what is expected:

  return tests "syn_flood.lua" {
    test "found and left" {
      set     = { surge = "2k/s" },
      traffic = { pcap "ordinary.pcap", pcap("flood.pcap", { at = "60s", speed = 0.1 }) },
      expect  = { level("siege", { by = "60.5s", rule = "victim" }), level("calm", { by = "80s" }),
                  members("attackers", { exactly = { "172.16.0.5" } }) },
    },
    test "quiet" { traffic = { pcap "ordinary.pcap" }, expect = { only "calm" } },
  }

Paths are relative to the file. Every test is a replay of the policy; nothing is attached.

  pcap(FILE, { … })   at, from, lasting: when it begins, what is left out before, how long it goes on; speed (0.1:
                      a tenth) or pps; count, loop: how many frames, again and again; src, dst =
                      { "198.18.0.0/15", 1000 }: other addresses, in turn; as: a name for `within`
  level("l", { … })   it comes to that level by, after, by rule, within = { FRAMES, FILE }; one after the other
  only, never         levels it may only, or must never, be at
  rule("r", { … })    it fires: key, by, after, within, times
  members("s", { … }) exactly, includes, excludes, at_least, at_most: who was in the set, ever, by, within, or at
  act("log", { … })   something was done: rule, key, text, by, after, within, times; "budget": a step of the budget's
  fails "text"        an error says so; any other error fails a test
  test                set (options), lasting, start (what the clock shows at 0 s), inside (networks, as --local of
                      replay)

  --match TEXT        only tests whose name contains TEXT
  --costs FILE        what levels cost, of perilune check --record: the budget gives up and back by that, as in a
                      replay. Without it the budget is not judged
  --timeline          what happened in each test, not only in those that fail
  --json              one JSON object for each test, and one at the end
  --trusted           policies have all of Lua (io, os, ffi …), and no limits of time and memory]],
}

local EXCERPT, ALL = 14, 1e6 -- lines of a timeline

local function entries_of(test)
  local list = {}
  for i, one in ipairs(test.traffic) do
    list[i] = {
      name = one.name, at = one.at, from = one.from, lasting = one.lasting, speed = one.speed, pps = one.pps,
      count = one.count, loop = one.loop, src = one.src, dst = one.dst,
      open = function() return capture.open(one.path) end,
    }
  end
  return list
end

-- The policy under the test's options, with all that the test names in it: decl | nil, message.
local function load_policy(file, test, parsed, context)
  local spec, why, failure = session.spec(file.policy, { set = test.set, trusted = parsed.trusted }, context)
  if not spec then return nil, why, failure end
  local decl, message, code = trial.load(policy.load, spec)
  if not decl then return nil, message, code end
  local ok
  ok, message = test_judge.check(test.expect, decl)
  if not ok then return nil, message, "EINVAL" end
  return decl
end

-- Runs one test: its story | nil, exit status.
local function run_test(file, test, parsed, context)
  local decl, message, code = load_policy(file, test, parsed, context)
  if not decl then return nil, context.fail(message, code) end
  local costs
  costs, message = session.costs(parsed, decl)
  if message then return nil, context.fail(message) end
  local source
  source, message, code = traffic.merge(entries_of(test), test.start)
  if not source then return nil, context.fail(("%s:%d: %s"):format(file.file, test.line, message), code) end
  local story = test_story.new(decl, function() return source:before() end)
  local stopped = false
  local status = session.drive(function(finished)
    local driver = replay_driver.new {
      decl = decl, share = context.share, sink = story, source = source, file = file.file, local_net = test.inside,
      seconds = test.lasting, least_seconds = test_judge.horizon(test.expect), finished = finished,
      costs = costs,
    }
    return {
      start = function() driver:start() end,
      stop = function()
        stopped = true
        driver:stop()
      end,
    }
  end, context)
  source:close()
  if stopped then return nil, context.exit.interrupted end
  if status ~= context.exit.done then return nil, status end
  return story
end

local Text, Json = {}, {}
Text.__index, Json.__index = Text, Json

function Text:file(file) self.out(("%s: %s"):format(format.clean(file.file), format.clean(file.policy))) end

function Text:indented(lines, indent)
  for _, line in ipairs(lines) do self.out(indent .. line) end
end

function Text:test(file, test, story, failures)
  self.out(("  %s  %s  %s packets in %s"):format(#failures == 0 and "ok    " or "FAILED", format.clean(test.name),
    format.count(story.packets), format.duration(story.seconds)))
  for _, failure in ipairs(failures) do
    self.out(("    %s:%d: expected %s"):format(format.clean(file.file), failure.line or test.line,
      format.clean(failure.expected)))
    self.out("      but " .. format.clean(failure.instead))
  end
  if #failures > 0 or self.timeline then
    if #failures > 0 then self.out "    what happened:" end
    self:indented(story:timeline(self.timeline and ALL or EXCERPT), "    ")
  end
end

function Text:finish(passed, failed)
  self.out(("%d test%s, %s"):format(passed + failed, passed + failed == 1 and "" or "s",
    failed == 0 and "all as expected" or ("%d failed"):format(failed)))
end

local function emit(self, e)
  e.time = loop.wall()
  self.out(event.encode(e))
end

function Json.file() end

function Json:test(file, test, story, failures)
  emit(self, { event = "test", policy = story.policy, file = file.file, line = test.line, test = test.name,
    passed = #failures == 0, packets = story.packets, seconds = story.seconds, transitions = story.transitions or 0,
    failures = failures, timeline = (#failures > 0 or self.timeline) and story:timeline(ALL) or nil })
end

function Json:finish(passed, failed) emit(self, { event = "tests", passed = passed, failed = failed }) end

local function matches(test, parsed)
  return not parsed.match or test.name:find(parsed.match, 1, true) ~= nil
end

-- All tests of one file: how many passed and failed | nil, exit status of what keeps them from being run.
local function run_file(path, parsed, context, report)
  local file, message, code = trial.load(test_language.load, { file = path })
  if not file then return nil, context.fail(message, code) end
  report:file(file)
  local passed, failed = 0, 0
  for _, test in ipairs(file.tests) do
    if matches(test, parsed) then
      local story, status = run_test(file, test, parsed, context)
      if not story then return nil, status end
      local failures = test_judge.judge(test.expect, story)
      report:test(file, test, story, failures)
      if #failures == 0 then passed = passed + 1 else failed = failed + 1 end
    end
  end
  return passed, failed
end

function command.run(parsed, context)
  if #parsed == 0 then return context.fail "test needs a file of tests (perilune test --help shows one)" end
  local report = setmetatable({ out = context.out, timeline = parsed.timeline }, parsed.json and Json or Text)
  local passed, failed = 0, 0
  for _, path in ipairs(parsed) do
    local ok, bad = run_file(path, parsed, context, report)
    if not ok then return bad end
    passed, failed = passed + ok, failed + bad
  end
  if passed + failed == 0 then
    return context.fail(("no test's name contains %q"):format(parsed.match))
  end
  report:finish(passed, failed)
  return failed == 0 and context.exit.done or context.exit.failed
end

return command
