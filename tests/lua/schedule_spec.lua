-- SPDX-License-Identifier: Apache-2.0
-- Parts of schedules, and how they claim levels. Years of them are held against another implementation in
-- tests/replay/test_schedules.py.
local civil = require "perilune.calendar.civil"
local cron = require "perilune.calendar.cron"
local policy = require "perilune.policy"
local schedule = require "perilune.calendar.schedule"
local schedules = require "perilune.engine.schedules"
local zone = require "perilune.calendar.zone"
local zone_rule = require "perilune.calendar.zone_rule"

local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local templates = dofile(HERE .. "/fake_templates.lua")

-- µs of a UTC date and time.
local function at(year, month, day, hour, minute)
  return (civil.day(year, month, day) * 86400 + hour * 3600 + minute * 60) * 1e6
end

local function load(text)
  return policy.load { name = "p.lua", templates = templates, source = ([[return policy "p" {
    always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {}, level "siege" {} },
    schedules = { %s } }]]):format(text) }
end

describe("the calendar", function()
  it("knows dates and days of the week", function()
    assert.same({ 0, 4 }, { civil.day(1970, 1, 1), civil.weekday(0) })
    assert.same({ 2024, 2, 29 }, { civil.date(civil.day(2024, 2, 29)) })
    assert.equal(civil.day(2100, 3, 1), civil.day(2100, 2, 28) + 1)
    for day = -800000, 800000, 997 do assert.equal(day, civil.day(civil.date(day))) end
    assert.equal(6, civil.weekday(civil.day(2026, 2, 28))) -- a Saturday
  end)
end)

describe("a zone's rule", function()
  it("is read in all that POSIX and RFC 8536 allow", function()
    local rule = zone_rule.parse "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"
    assert.same({ 37800, 39600 }, { rule.standard, rule.saving })
    rule = zone_rule.parse "<-02>2<-01>,M3.5.0/-1,M10.5.0/0"
    assert.same({ -7200, -3600, -3600 }, { rule.standard, rule.saving, rule.begins.time })
    rule = zone_rule.parse "IST-1GMT0,M10.5.0,M3.5.0/1" -- winter time is the saved one
    assert.same({ 3600, 0 }, { rule.standard, rule.saving })
    assert.same({ 0, 3600 }, { rule:offset(civil.day(2040, 1, 1) * 86400), rule:offset(civil.day(2040, 7, 1) * 86400) })
    assert.equal(10800, zone_rule.parse("<+03>-3"):offset(0))
    assert.equal(19800, zone_rule.parse("IST-5:30"):offset(0))
  end)

  it("may count days with and without 29 February", function()
    local rule = zone_rule.parse "EST5EDT,J60/0,59/0"
    assert.same({ civil.day(2024, 3, 1), civil.day(2025, 3, 1) }, { rule.begins.day(2024), rule.begins.day(2025) })
    assert.same({ civil.day(2024, 2, 29), civil.day(2025, 3, 1) }, { rule.ends.day(2024), rule.ends.day(2025) })
  end)

  it("may last all year", function()
    local rule = zone_rule.parse "XXX3EDT4,0/0,J365/23"
    for month = 1, 12 do assert.equal(-4 * 3600, rule:offset(civil.day(2030, month, 1) * 86400)) end
    for hour = -30, 30 do assert.equal(-4 * 3600, rule:offset(civil.day(2031, 1, 1) * 86400 + hour * 3600)) end
  end)

  it("is nothing else", function()
    for _, text in ipairs { "", "A1", "CET", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0",
      "CET-1CEST,M3.5.0,M10.5.0/3x", "CET-1CEST,J0,J365", "<+1", "CET-1CEST,366,1" } do
      assert.is_nil(zone_rule.parse(text), text)
    end
  end)
end)

describe("a zone", function()
  it("is not made of broken files", function()
    local file = assert(io.open("/usr/share/zoneinfo/Europe/Berlin", "rb"))
    local bytes = file:read "*a"
    file:close()
    assert.truthy(zone.parse(bytes, "whole"))
    for length = 0, #bytes - 30, 7 do
      local found = zone.parse(bytes:sub(1, length), "cut")
      assert.is_nil(found, length)
    end
    assert.is_nil((zone.parse("TZif2" .. ("\255"):rep(400), "mad")))
  end)

  it("is found by name, and by nothing that leads elsewhere", function()
    assert.equal(3600, zone.open("Europe/Berlin"):offset(1767225600))
    for _, name in ipairs { "Europe/Berln", "", "/etc/localtime", "../zoneinfo/UTC", "Europe//Berlin", "Europe/", "Europe" } do
      local found, message = zone.open(name)
      assert.is_nil(found, name)
      assert.truthy(message:find(name, 1, true), name)
    end
    assert.truthy(zone.open())
  end)

  it("says which local times are skipped or repeated", function()
    local berlin = zone.open "Europe/Berlin"
    local march, october = civil.day(2026, 3, 29) * 86400, civil.day(2026, 10, 25) * 86400
    local times, skip = berlin:utc(march + 2.5 * 3600)
    assert.same({ {}, march + 3600, 3600, 7200 }, { times, skip.at, skip.before, skip.after })
    assert.same({ october + 1800, october + 5400 }, (berlin:utc(october + 2.5 * 3600)))
    assert.same({ march + 3600 }, (berlin:utc(march + 3 * 3600)))
    assert.same({ march + 3599 }, (berlin:utc(march + 2 * 3600 - 1)))
  end)
end)

describe("an expression of cron", function()
  it("says what is wrong with it", function()
    for text, expected in pairs {
      ["* * * *"] = '"* * * *" has 4 fields, not 5',
      ["* 24 * * *"] = 'hour: "24" is no hour',
      ["* * 0 * *"] = 'day of the month: "0" is no day of the month',
      ["* * * foo *"] = 'month: "foo" is no month',
      ["* * * * 8"] = 'day of the week: "8" is no day of the week',
      ["*/0 * * * *"] = 'minute: the step of "*/0" is not a number from 1',
      ["5/10 * * * *"] = 'minute: "5/10" has a step without a range',
      ["9-3 * * * *"] = 'minute: "9-3" runs backwards',
      ["1,,2 * * * *"] = 'minute: "" is no minute',
      ["@reboot"] = 'there is no "@reboot"',
      ["0 0 31 4,6,9,11 *"] = '"0 0 31 4,6,9,11 *" is never: there is no such day',
    } do
      local parsed, message = cron.parse(text)
      assert.is_nil(parsed, text)
      assert.equal(expected, message)
    end
  end)

  it("knows 29 February, Sunday twice, names in ranges, and shorter words", function()
    assert.truthy(cron.parse "0 0 29 2 *")
    assert.same(cron.parse("0 0 * * 0").weekdays, cron.parse("0 0 * * 7").weekdays)
    assert.same({ [1] = true, [2] = true, [3] = true }, cron.parse("0 0 * * MON-wed").weekdays)
    assert.same({ 0 }, cron.parse("@weekly").times)
  end)

  it("takes either kind of days where both are restricted", function()
    local either, both = cron.parse "0 0 13 * fri", cron.parse "0 0 */2 * fri"
    assert.is_true(either:on(civil.day(2026, 1, 13))) -- a Tuesday
    assert.is_true(either:on(civil.day(2026, 1, 16)))
    assert.is_false(either:on(civil.day(2026, 1, 15)))
    assert.is_false(both:on(civil.day(2026, 1, 16)))
    assert.is_true(both:on(civil.day(2026, 1, 23)))
  end)
end)

describe("a schedule", function()
  it("begins and ends to the µs, and says when to look again", function()
    local night = schedule.new({ name = "night", between = { 22 * 3600, 6 * 3600 }, zone = "UTC" }, "p")
    assert.same({ false, at(2026, 5, 1, 22, 0) }, { night:at(at(2026, 5, 1, 22, 0) - 1) })
    assert.same({ true, at(2026, 5, 2, 6, 0) }, { night:at(at(2026, 5, 1, 22, 0)) })
    assert.is_true((night:at(at(2026, 5, 2, 6, 0) - 1)))
    assert.is_false((night:at(at(2026, 5, 2, 6, 0))))
  end)

  it("of a night belongs to the day it begins", function()
    local friday = schedule.new({ name = "n", between = { 22 * 3600, 6 * 3600 }, zone = "UTC", days = { [5] = true } }, "p")
    assert.is_true((friday:at(at(2026, 5, 2, 5, 59)))) -- Saturday morning
    assert.is_false((friday:at(at(2026, 5, 1, 5, 59)))) -- Friday morning
  end)

  it("that is rare is looked for in years to come", function()
    local rare = schedule.new({ name = "r", cron = "0 0 29 2 *", lasting = 60, zone = "UTC", days = { [0] = true } }, "p")
    local _, again = rare:at(at(2026, 1, 1, 0, 0))
    assert.equal(at(2032, 2, 29, 0, 0), again)
    local never = schedule.new({ name = "r", cron = "0 0 29 2 *", lasting = 60, zone = "UTC" }, "p")
    assert.equal(at(2104, 2, 29, 0, 0), (select(2, never:at(at(2096, 3, 1, 0, 0))))) -- 2100 is no leap year
  end)
end)

describe("schedules", function()
  it("claim their level while they are active, also when the clock is set back", function()
    local decl = assert(load [[
      schedule "night" { between = { "22:00", "06:00" }, zone = "UTC", hold = "alert" },
      schedule "lunch" { cron = "0 12 * * *", lasting = "1h", zone = "UTC", cap = "calm" },
    ]])
    local all, log = schedules.new(decl), {}
    local function see(time)
      all:see(time, function(who, claim) log[#log + 1] = { who, claim.hold or claim.cap, claim.cut, claim.why } end)
      local now = log
      log = {}
      return now
    end
    assert.same({}, see(at(2026, 1, 1, 11, 59)))
    assert.equal(at(2026, 1, 1, 12, 0), all:again())
    assert.same({ { "schedule lunch", "calm", "schedule", "cron 0 12 * * * for 1h, UTC" } }, see(at(2026, 1, 1, 12, 0)))
    assert.equal(at(2026, 1, 1, 13, 0), all:again())
    assert.same({ { "schedule night", "alert", "schedule", "22:00 to 06:00, UTC" },
      { "schedule lunch", nil, "schedule", "schedule lunch has ended" } }, see(at(2026, 1, 1, 23, 0)))
    assert.same({ { "schedule night", nil, "schedule", "schedule night has ended" },
      { "schedule lunch", "calm", "schedule", "cron 0 12 * * * for 1h, UTC" } }, see(at(2026, 1, 1, 12, 30)))
    assert.is_nil(schedules.new(assert(load "")))
  end)

  it("are declared as plain data, with zones of the machine unless they name one", function()
    local decl = assert(load [[schedule "s" { every = "1h", lasting = "5m", days = { "mon-wed", "sat" }, jitter = "30s", hold = "siege" }]])
    local s = decl.schedules[1]
    assert.same({ 3600, 300, 30, "siege" }, { s.every, s.lasting, s.jitter, s.hold })
    assert.same({ [1] = true, [2] = true, [3] = true, [6] = true, text = "mon-wed, sat" }, s.days)
    assert.equal("every 1h for 5m on mon-wed, sat", s.text)
  end)
end)
