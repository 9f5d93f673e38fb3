-- SPDX-License-Identifier: Apache-2.0
-- Warnings of what a policy may say but hardly means: each with its line.
local advise = require "perilune.policy.advise"
local policy = require "perilune.policy"
local template = require "perilune.probe.template"

local templates = template.registry({ "templates" }, function() return { "counter", "flows" } end)

local TEXT = [[
local to = flows "to" { key = "dst", features = { "tcp_flags" } }
local from = flows "from" { key = "src", features = { "tcp_flags" } }
return policy "p" {
  attach = { iface = "lo", hook = "xdp" }, always = { counter "all" { features = { "tcp_flags" } } },
  levels = { level "calm" {}, level "alert" { to }, level "siege" { to, from } },
  rules = {
%s
  },
%s
}]]

local SURGE = '    rule "surge" { when = rate("all.syn"):above "100/s", clear = rate("all.syn"):below "10/s", hold = "alert" },\n'
local VICTIM = '    rule "victim" { per = "to.dst", when = rate("to.syn"):above "100/s", clear = rate("to.syn"):below "10/s", '
  .. 'hold = "siege" },\n'

-- The warnings of a policy with these rules, as "line: message".
local function warnings(rules, more)
  local decl = assert(policy.load { source = TEXT:format(rules, more or ""), name = "p.lua", templates = templates })
  local out = {}
  for i, one in ipairs(advise.policy(decl)) do
    assert.equal("p.lua", one.file)
    assert.truthy(one.hint)
    out[i] = ("%d: %s"):format(one.line, one.message)
  end
  return out
end

describe("check warns of", function()
  it("nothing in a policy that is meant", function()
    assert.same({}, warnings(SURGE .. VICTIM))
    for _, name in ipairs { "syn_flood", "packet_counter" } do
      local decl = policy.load { file = ("examples/%s.lua"):format(name), templates = templates }
      assert.same({}, decl and advise.policy(decl) or {})
    end
  end)

  it("levels that nothing leads to", function()
    assert.same({ '5: nothing leads to level "siege": no rule and no schedule holds it' }, warnings(SURGE))
    assert.same({}, warnings(SURGE, 'schedules = { schedule "night" { between = { "22:00", "06:00" }, hold = "siege" } },'))
  end)

  it("rules whose probes only run where nothing leads", function()
    assert.same({ '5: nothing leads to level "alert": no rule and no schedule holds it',
      '7: rule "victim" can never fire: its probes run at alert, siege only, to which nothing leads that can happen before' },
      warnings(VICTIM))
    local apart = '    rule "odd" { when = all { rate("to.syn"):above "1/s", rate("from.syn"):above "1/s" }, act = { log } },\n'
    assert.same({}, warnings(SURGE .. VICTIM .. apart))
  end)

  it("thresholds that cannot be passed", function()
    local function rule(when, clear)
      return SURGE .. VICTIM .. ('    rule "odd" { when = %s, %s act = { log } },\n'):format(when,
        clear and "clear = " .. clear .. "," or "")
    end
    assert.same({ '9: rule "odd" can never fire: share all.syn/all.packets is never above 100 %' },
      warnings(rule 'share("all.syn", "all.packets"):above "100%"'))
    assert.same({ '9: rule "odd" can never fire: rate all.syn is never below 0/s' },
      warnings(rule 'rate("all.syn"):below("0/s"):lasting "5s"'))
    assert.same({ '9: rule "odd" can never fire: rate all.syn is never below 0/s' },
      warnings(rule 'all { rate("all.packets"):above "5/s", rate("all.syn"):below "0/s" }'))
    assert.same({}, warnings(rule 'any { rate("all.packets"):above "5/s", rate("all.syn"):below "0/s" }'))
    assert.same({ '9: rule "odd" can never clear: rate all.packets is never below 0/s' },
      warnings(rule('rate("all.packets"):above "5/s"', 'rate("all.packets"):below "0/s"')))
    assert.same({}, warnings(rule '(rate("all.packets") - rate("all.syn")):below "0/s"'))
  end)

  it("conditions that hold while their clear does", function()
    local function rule(when, clear)
      return SURGE .. VICTIM .. ('    rule "odd" { when = %s, clear = %s, act = { log } },\n'):format(when, clear)
    end
    assert.same({ '9: rule "odd" would fire and clear in turn: both conditions hold with rate all.syn between 10/s and 50/s' },
      warnings(rule('rate("all.syn"):above "10/s"', 'rate("all.syn"):below("50/s"):lasting "1s"')))
    assert.same({ '9: rule "odd" would fire and clear in turn: both conditions hold with rate all.syn above 50/s' },
      warnings(rule('rate("all.syn"):above "10/s"', 'rate("all.syn"):above "50/s"')))
    assert.same({}, warnings(rule('rate("all.syn"):above "50/s"', 'rate("all.syn"):below "50/s"')))
    assert.same({}, warnings(rule('rate("all.syn"):above "10/s"', 'rate("all.packets"):below "50/s"')))
    assert.same({}, warnings(rule('function(w) return true end', 'rate("all.packets"):below "50/s"')))
    assert.same({ '9: rule "odd" would fire and clear in turn: both conditions hold with rate all.syn between 10/s and 50/s' },
      warnings(rule('all { rate("all.syn"):above "10/s", rate("all.packets"):above "5/s" }', 'rate("all.syn"):below "50/s"')))
  end)
end)
