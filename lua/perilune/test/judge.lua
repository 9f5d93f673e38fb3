-- SPDX-License-Identifier: Apache-2.0
--
-- What a policy's test expects, and whether it came so. Pure: a story (test/story.lua) of what happened is judged.
--
--   level("siege", { by =, after =, rule =, within = })       it comes to that level; of several, one after the other
--   only "calm", only { "calm", "alert" }                     at no time another level
--   never "siege"                                             never at that level
--   rule("victim", { key =, by =, after =, within =, times = })
--                                                             the rule fires; times = 0: never
--   members("attackers", { exactly =, includes =, excludes =, at_least =, at_most =, by =, within =, at = })
--                                                             who was in the set, ever (until then) or at that moment
--   act("log", { rule =, key =, text =, by =, after =, within =, times = })
--                                                             something was done ("budget": a step of the budget's);
--                                                             text: a part of what it says
--   fails "text"                                              an error says so; any other fails the test
--
-- by, after, at: on the test's clock, from 0 s. within = { 1000, "flood.pcap" }: before more of that capture's frames
-- have been run.

local form = require "perilune.base.form"
local format = require "perilune.base.format"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local test_story = require "perilune.test.story"
local words = require "perilune.base.words"

local test_judge = {}

local Expectation = {}
test_judge.Expectation = Expectation
Expectation.__tostring = function(e) return e.text end

local EPSILON = 1e-9

local function within(value)
  if type(value) == "table" and type(value[1]) == "number" and value[1] >= 1 and type(value[2]) == "string"
    and #value == 2 then return { value[1], value[2] } end
  return nil, "expected a number of frames and of which capture", 'like within = { 1000, "flood.pcap" }'
end

local function texts(value)
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" then return nil, "expected a list of texts" end
  local list = {}
  for key, text in pairs(value) do
    if type(key) ~= "number" or type(text) ~= "string" then return nil, "expected a list of texts" end
    list[key] = text
  end
  table.sort(list)
  return list
end

local MOMENT = { by = { type = "duration" }, after = { type = "duration" }, within = { type = within } }

local function with(keys)
  for key, rule in pairs(MOMENT) do keys[key] = rule end
  return keys
end

local SPECS = {
  level = with { rule = { type = "text" } },
  rule = with { key = { type = "text" }, times = { type = "count" } },
  act = with {
    rule = { type = "text" }, key = { type = "text" }, text = { type = "text" }, times = { type = "count" },
  },
  members = {
    exactly = { type = texts }, includes = { type = texts }, excludes = { type = texts }, at_least = { type = "count" },
    at_most = { type = "count" }, by = { type = "duration" }, at = { type = "duration" }, within = { type = within },
  },
}

-- `level("siege", { by = "10s" })` as it may be said again.
local function shown(kind, name, body)
  local parts = {}
  for _, key in ipairs(words.keys(body)) do
    local value = body[key]
    if type(value) == "table" then
      local items = {}
      for i, item in ipairs(value) do
        items[i] = type(item) == "string" and ('"%s"'):format(item) or tostring(item)
      end
      value = ("{ %s%s }"):format(table.concat(items, ", ", 1, math.min(4, #items)), #items > 4 and ", …" or "")
    elseif type(value) == "string" then
      value = ('"%s"'):format(value)
    end
    parts[#parts + 1] = ("%s = %s"):format(key, tostring(value))
  end
  if #parts == 0 then return ('%s "%s"'):format(kind, name) end
  return ('%s("%s", { %s })'):format(kind, name, table.concat(parts, ", "))
end

local function expectation(kind, fields)
  fields.kind, fields.place = kind, sandbox.here()
  return setmetatable(fields, Expectation)
end

local function named(kind, name)
  if type(name) ~= "string" or name == "" then
    sandbox.fail(nil, ("%s takes a name"):format(kind), ('like %s "calm"'):format(kind))
  end
end

-- Words that take a name and perhaps a table.
test_judge.words = {}
for kind, keys in pairs(SPECS) do
  local spec = schema.new { what = kind, keys = keys }
  test_judge.words[kind] = function(name, body)
    named(kind, name)
    local given = body or {}
    local values = form.parse(spec, given, nil, nil)
    values.name, values.part, values.text = name, values.text, shown(kind, name, given)
    return expectation(kind, values)
  end
end

function test_judge.words.only(names)
  local list = texts(names)
  if not list or #list == 0 then sandbox.fail(nil, "only takes the names of levels", 'like only "calm"') end
  return expectation("only", { names = list, text = ("only %s"):format(#list == 1 and ('"%s"'):format(list[1])
    or ("{ %s }"):format(words.quoted(list))) })
end

function test_judge.words.never(name)
  named("never", name)
  return expectation("never", { name = name, text = ('never "%s"'):format(name) })
end

function test_judge.words.fails(text)
  named("fails", text)
  return expectation("fails", { name = text, text = ('fails "%s"'):format(text) })
end

--- Whether all names that a test expects something of exist in the policy: true | nil, message, with the place.
function test_judge.check(expect, decl)
  local known = { level = {}, rule = {}, set = {} }
  for _, level in ipairs(decl.levels) do known.level[level.name] = true end
  for _, rule in ipairs(decl.rules) do known.rule[rule.name] = true end
  for _, set in ipairs(decl.sets) do known.set[set.name] = true end
  local function check(e, kind, name)
    if name and not known[kind][name] then
      return ('%s:%d: %s: %s has no %s "%s" (%s)'):format(e.place.file, e.place.line, e.text, decl.file, kind, name,
        words.suggest(name, words.keys(known[kind])))
    end
  end
  local KINDS = { level = "level", never = "level", rule = "rule", members = "set" }
  for _, e in ipairs(expect) do
    local wrong = KINDS[e.kind] and check(e, KINDS[e.kind], e.name)
    for _, name in ipairs(e.kind == "only" and e.names or {}) do wrong = wrong or check(e, "level", name) end
    wrong = wrong or e.kind ~= "rule" and check(e, "rule", e.rule)
    if wrong then return nil, wrong end
  end
  return true
end

--- The last moment that a test says something of, in seconds; 0 when it names none.
function test_judge.horizon(expect)
  local last = 0
  for _, e in ipairs(expect) do last = math.max(last, e.by or 0, e.at or 0, e.after or 0) end
  return last
end

local function at(seconds) return "at " .. test_story.clock(seconds) end

-- Why something that happened is not in time; nil when it is. `progress`: how many frames of each capture were run.
local function untimely(e, happened)
  if e.by and happened.at > e.by + EPSILON then
    return ("%s, %s after it should have"):format(at(happened.at), test_story.clock(happened.at - e.by))
  elseif e.after and happened.at < e.after - EPSILON then
    return ("%s, %s too early"):format(at(happened.at), test_story.clock(e.after - happened.at))
  elseif e.within and happened.progress[e.within[2]] > e.within[1] then
    return ("%s, after %s frames of %s"):format(at(happened.at), format.count(happened.progress[e.within[2]]),
      e.within[2])
  end
end

local judges = {}

-- The stays at levels follow one another; so do the levels that are expected.
function judges.level(e, story, state)
  local almost
  for i = state.stay or 1, #story.stays do
    local stay = story.stays[i]
    if stay.level == e.name then
      local why = untimely(e, stay)
      if not why and e.rule and stay.rule ~= e.rule then
        why = ("%s, by %s"):format(at(stay.at), stay.rule and "rule " .. stay.rule or "no rule")
      end
      if not why then
        state.stay = i
        return nil
      end
      almost = almost or why
    end
  end
  if almost then return ("%s was entered %s"):format(e.name, almost) end
  local last = story.stays[state.stay or 1]
  return ("%s was never entered%s"):format(e.name,
    (state.stay or 1) > 1 and (" after %s (%s)"):format(last.level, at(last.at)) or "")
end

function judges.only(e, story)
  local allowed = {}
  for _, name in ipairs(e.names) do allowed[name] = true end
  for _, stay in ipairs(story.stays) do
    if not allowed[stay.level] then
      return ("%s was entered %s%s"):format(stay.level, at(stay.at), stay.reason and ": " .. stay.reason or "")
    end
  end
end

function judges.never(e, story)
  for _, stay in ipairs(story.stays) do
    if stay.level == e.name then
      return ("%s was entered %s%s"):format(stay.level, at(stay.at), stay.reason and ": " .. stay.reason or "")
    end
  end
end

-- Of what happened: as often, or at least once, as and when it is expected. What happened otherwise is why not.
local function count(e, list, fits, verb)
  local found, almost = 0, nil
  for _, happened in ipairs(list) do
    if fits(happened) then
      local why = untimely(e, happened)
      if why then almost = almost or why else found = found + 1 end
    end
  end
  if e.times and found ~= e.times then
    return ("it %s %d time%s, not %d%s"):format(verb, found, found == 1 and "" or "s", e.times,
      almost and (" (and %s)"):format(almost) or "")
  elseif not e.times and found == 0 then
    return almost and ("it %s %s"):format(verb, almost) or ("it never %s"):format(verb)
  end
end

function judges.rule(e, story)
  return count(e, story.fired, function(fired)
    return fired.rule == e.name and (not e.key or fired.key == e.key)
  end, "fired")
end

function judges.act(e, story)
  return count(e, story.acts, function(done)
    return done.act == e.name and (not e.rule or done.rule == e.rule) and (not e.key or done.key == e.key)
      and (not e.part or (done.text or ""):find(e.part, 1, true))
  end, "was done")
end

function judges.fails(e, story)
  for _, failed in ipairs(story.errors) do
    if failed.message:find(e.name, 1, true) then
      failed.expected = true
      return nil
    end
  end
  return "no error says so"
end

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

local function differences(e, present)
  local missing, unwanted, wanted = {}, {}, e.exactly or e.includes or {}
  for _, name in ipairs(wanted) do
    if not present[name] then missing[#missing + 1] = name end
  end
  local allowed = e.exactly and set_of(e.exactly)
  local refused = set_of(e.excludes or {})
  for _, name in ipairs(words.keys(present)) do
    if refused[name] or allowed and not allowed[name] then unwanted[#unwanted + 1] = name end
  end
  return missing, unwanted
end

function judges.members(e, story)
  local present = story:members(e.name, function(entered)
    return not e.at and not untimely(e, entered)
  end, e.at)
  local number = #words.keys(present)
  local missing, unwanted = differences(e, present)
  local parts = {}
  if #missing > 0 then parts[1] = words.list(missing, 5) .. (#missing == 1 and " is" or " are") .. " missing" end
  if #unwanted > 0 then parts[#parts + 1] = ("%s should not be there"):format(words.list(unwanted, 5)) end
  if e.at_least and number < e.at_least or e.at_most and number > e.at_most then
    parts[#parts + 1] = ("there are %s"):format(format.count(number))
  end
  if #parts > 0 then return table.concat(parts, ", ") end
end

--- What did not come as expected: a list of { line, expected, instead }.
function test_judge.judge(expect, story)
  local failures, state = {}, {}
  for _, e in ipairs(expect) do
    local instead = judges[e.kind](e, story, state)
    if instead then
      failures[#failures + 1] = { line = e.place and e.place.line, expected = e.text, instead = instead }
    end
  end
  for _, failed in ipairs(story.errors) do
    if not failed.expected then
      failures[#failures + 1] = { expected = "no error", instead = ("%s: %s"):format(at(failed.at), failed.message) }
    end
  end
  return failures
end

return test_judge
