-- SPDX-License-Identifier: Apache-2.0
-- Audit logs: random runs of the stages are logged, evaluated again, and tampered with; and what can be wrong with a file.
local audit = require "perilune.audit"
local audit_condition = require "perilune.audit.condition"
local audit_file = require "perilune.audit.file"
local audit_read = require "perilune.audit.read"
local audit_verify = require "perilune.audit.verify"
local cjson = require "cjson"
local decide = require "perilune.engine.decide"
local event = require "perilune.event"
local explain = require "perilune.audit.explain"
local json_read = require "perilune.base.json_read"
local levels = require "perilune.engine.levels"

local STAGES = { decide = decide.new, levels = levels.new }

local function rate(probe, field)
  return { kind = "rate", probe = probe, field = field, unit = "rate", text = ("rate %s.%s"):format(probe, field) }
end
local function number(value) return { kind = "number", value = value, unit = "rate", text = tostring(value) } end
local function above(measure, value) return { kind = "above", measure = measure, threshold = number(value) } end
local function below(measure, value) return { kind = "below", measure = measure, threshold = number(value) } end
local function lasting(cond, seconds) return { kind = "lasting", cond = cond, seconds = seconds } end

-- A policy with everything that remembers: timers, instances, sets with a ttl, a longest level, a function.
local function policy()
  local per = { probe = "to", field = "dst" }
  local fn = function(window) return window.seq % 7 < 3 end
  return {
    name = "p", file = "p.lua", options = { { name = "surge", value = 1000 }, { name = "iface", value = "eth0" } },
    probes = { { name = "all" }, { name = "to" } },
    levels = { { name = "calm", window = 1, probes = { "all" } }, { name = "alert", window = 0.1, probes = { "all", "to" } },
      { name = "siege", window = 0.1, probes = { "all", "to" }, longest = 3 } },
    sets = { { name = "victims", of = "dst", max = 3, ttl = 1.5, members = { "10.9.9.9" } } },
    rules = {
      { name = "surge", when = { kind = "any", above(rate("all", "syn"), 50), lasting(above(rate("all", "syn"), 30), 0.3) },
        clear = lasting(below(rate("all", "syn"), 20), 0.5), probes = { "all" }, hold = "alert", line = 3 },
      { name = "victim", per = per, probes = { "to" }, hold = "siege", act = { { kind = "add", set = "victims" } },
        when = { kind = "all", above(rate("to", "syn"), 40), lasting(above(rate("to", "packets"), 30), 0.2) },
        clear = lasting(below(rate("to", "syn"), 25), 0.4) },
      { name = "odd", when = { kind = "all", { kind = "function", fn = fn, line = 9 }, above(rate("all", "packets"), 10) },
        probes = { "all" } },
      { name = "once", per = per, when = lasting(above(rate("to", "syn"), 35), 0.25), probes = { "to" } },
    },
  }
end

-- Runs the stages as the engine does, on random counters, and gives the log's lines.
local function run(seed, windows, options)
  math.randomseed(seed)
  options = options or {}
  local decl, lines, mono, seq, changes = policy(), {}, 100.25, 0, 0
  local file = { write = function(_, text)
    if options.broken and options.broken(#lines) then return nil, "no space left" end
    lines[#lines + 1] = text:sub(1, -2)
    return true
  end, full = function() return options.full and options.full(#lines) or false end }
  function file.rotate()
    options.rotated = (options.rotated or 0) + 1
    return true
  end
  local recorder = audit.new { decl = decl, file = file }
  local decider, ladder = decide.new(decl, { notice = recorder:noticer(), instances = 4 }), levels.new(decl.levels)
  recorder.failed = function(message) options.said = (options.said or "") .. message end
  local function wall() return math.floor(mono * 1e6 + 0.5) end
  recorder:begin(decider, ladder, wall())
  local function told(name, fields)
    fields.event, fields.policy, fields.time = name, "p", wall()
    recorder:event(fields)
  end
  local heat, keys = {}, { "\1\2", "\10\3", "\0\4", "\255\1", "\7\7" }
  for _ = 1, windows do
    seq = seq + 1
    local index = ladder:index()
    local level = decl.levels[index]
    local cut = math.random() < 0.1
    local seconds = cut and 0.01 or level.window * (1 + math.random() * 0.05)
    for i = 1, #keys + 1 do
      if math.random() < 0.1 then heat[i] = math.random(0, 70) end
    end
    if math.random() < 0.03 then
      local claim = math.random() < 0.5 and { cap = "alert", why = "hot", values = { cost = 1 / 3 } }
        or { hold = "alert", expires = mono + 1 }
      ladder:claim("budget", claim, false)
      recorder:claimed("budget", claim, false, wall())
      recorder:reconsidered(mono + seconds / 2, wall())
      ladder:reconsider(mono + seconds / 2)
    end
    local rows = {}
    for i, raw in ipairs(keys) do
      if (heat[i] or 0) > 5 then rows[raw] = { n = 1, syn = heat[i] * seconds, packets = (heat[i] + 3) * seconds } end
    end
    local sum = (heat[#keys + 1] or 0) * seconds
    local closed = { seq = seq, level = level, cut = cut and "level" or "clock", decisive = not cut, mono = mono,
      seconds = seconds }
    local text = function(_, _, raw) return ("10.0.%d.%d"):format(raw:byte(1, 2)) end
    local result = decider:step {
      start = mono, finish = mono + seconds, seconds = seconds, level = level.name, decisive = not cut,
      observed = { all = true, to = index > 1 }, total = function() return sum end, rows = function() return 1 end,
      groups = function() return rows end, text = text, window = { seq = seq },
    }
    mono = mono + seconds
    recorder:judged(closed, mono, result, text, wall())
    for _, change in ipairs(result.rules) do
      told("rule", { seq = seq, rule = change.rule, key = change.key, state = change.state, reason = change.reason,
        values = change.values, why = change.why })
    end
    for _, action in ipairs(result.actions) do
      told("action", { seq = seq, act = "add", set = action.set, member = action.member, rule = action.rule, key = action.key,
        undo = action.undo })
    end
    local list = ladder:take()
    list[#list + 1] = ladder:judge(mono, result.holds, result.rules)
    for _, change in ipairs(list) do
      changes = changes + 1
      told("transition", { seq = seq, from = change.from, to = change.to, rule = change.rule, held_by = change.held_by,
        capped_by = change.capped_by, values = change.values, reason = change.reason })
    end
    recorder:closed(decider, ladder, wall())
  end
  recorder:tell()
  return lines, changes
end

local function records(lines)
  return audit_read.records { { name = "a.log", lines = audit_read.lines(table.concat(lines, "\n") .. "\n") } }
end

local function verify(lines) return audit_verify.run(STAGES, records(lines)) end

describe("an audit log", function()
  it("of a random run gives every change when it is evaluated again, and has few of its windows", function()
    local transitions, judged, windows = 0, 0, 0
    for seed = 1, 12 do
      local lines, changes = run(seed, 300)
      local counts, message = verify(lines)
      assert.truthy(counts, ("seed %d: %s"):format(seed, tostring(message)))
      assert.equal(changes, counts.transition)
      transitions, judged, windows = transitions + changes, judged + counts.judged, windows + 300
    end
    assert.is_true(transitions > 90, transitions .. " transitions")
    assert.is_true(judged < windows * 0.9, judged .. " windows of " .. windows)
  end)

  it("has lines that the events' declarations know, all of them numbered", function()
    for i, line in ipairs((run(3, 200))) do
      local e = cjson.decode(line)
      assert.truthy(event.fields[e.event])
      if e.n then assert.equal(i, e.n) end
    end
  end)

  it("goes on in another file with all that is remembered", function()
    for seed = 1, 8 do
      local options = { full = function(n) return n % 40 > 35 end }
      local lines, changes = run(seed, 300, options)
      assert.is_true(options.rotated > 2)
      local counts, message = verify(lines)
      assert.truthy(counts, ("seed %d: %s"):format(seed, tostring(message)))
      assert.equal(changes, counts.transition)
      -- The newest file by itself is enough.
      local last = 1
      for i, line in ipairs(lines) do
        if line:find '"event":"audit"' then last = i end
      end
      counts, message = verify { unpack(lines, last) }
      assert.truthy(counts, ("seed %d, last file: %s"):format(seed, tostring(message)))
    end
  end)

  it("says that lines are lost, once, and goes on when it can", function()
    local refused = 0
    local options = { broken = function(n)
      refused = refused + (n == 60 and 1 or 0)
      return n == 60 and refused < 5
    end }
    local lines = run(5, 300, options)
    assert.equal("no space left", options.said)
    local counts, message = verify(lines)
    assert.truthy(counts, message)
    assert.equal(2, counts.audit)
    local e = cjson.decode(lines[61])
    assert.equal("audit", e.event)
    assert.is_true(e.lost >= 4)
  end)

  it("that was tampered with is noticed", function()
    local function change(e)
      if e.event == "transition" then
        e.to = e.to == "calm" and "siege" or "calm"
      elseif e.event == "rule" then
        e.state = e.state == "firing" and "cleared" or "firing"
      elseif e.event == "action" then
        e.member = "10.1.1.1"
      elseif e.event == "judged" and #e.inputs > 0 then
        for _, input in ipairs(e.inputs) do
          for i, value in ipairs(input.values) do input.values[i] = type(value) == "number" and 1e6 - value or not value end
        end
      else
        return nil
      end
      return cjson.encode(e)
    end
    local lines = run(11, 50)
    local changed, noticed, removed = 0, 0, 0
    for i = 2, #lines do
      local kept = table.remove(lines, i)
      if verify(lines) == nil then removed = removed + 1 end
      table.insert(lines, i, kept)
      local e = cjson.decode(kept)
      local other = #(e.inputs or { 1 }) > 0 and change(e)
      if other then
        lines[i] = other:gsub('"held_by":{}', '"held_by":[]'):gsub('"capped_by":{}', '"capped_by":[]')
        changed = changed + 1
        if verify(lines) == nil then noticed = noticed + 1 end
      end
      lines[i] = kept
    end
    assert.is_true(changed > 30)
    assert.is_true(noticed > changed * 0.95, noticed .. " of " .. changed) -- a figure may change and nothing come of it
    assert.is_true(removed >= #lines - 2, removed .. " of " .. #lines) -- that its end is missing, a log cannot say
  end)

  it("says the line at which it is not what it should be", function()
    local lines = run(2, 60)
    local function wrong(edited)
      local got, message = verify(edited)
      assert.is_nil(got)
      return message
    end
    assert.equal("a.log:1: no JSON: a value expected (byte 1)", wrong { "hello" })
    assert.equal("a.log:1: not an event of perilune (perilune run --audit FILE writes such logs)", wrong { "5" })
    assert.truthy(wrong { lines[2] }:find("a.log:1: the log does not begin with an audit event", 1, true))
    local newer = lines[1]:gsub('"format":1', '"format":2')
    assert.equal("a.log:1: it is of a newer version (events 1, format 2) (this perilune reads 1 and 1)", wrong { newer })
    local other = lines[2]:gsub('"event":"[a-z]+"', '"event":"surprise"')
    assert.truthy(wrong { lines[1], other }:find('a.log:2: there is no event "surprise"', 1, true))
    assert.truthy(wrong { lines[1], lines[2]:sub(1, 40), lines[3] }:find("a.log:2: no JSON", 1, true))
    local missing = lines[1]:gsub('"rules":', '"rulez":')
    assert.equal("a.log:1: the field rules is missing", wrong { missing })
    local broken = lines[1]:gsub('"kind":"above"', '"kind":"abuv"')
    assert.truthy(wrong { broken }:find("a.log:1: the policy cannot be made of this line", 1, true))
  end)

  it("may end in half a line, or have one before it begins anew: a crash does that", function()
    local lines = run(2, 60)
    local half = lines[#lines]:sub(1, 30)
    lines[#lines] = half
    assert.truthy(verify(lines))
    for _, line in ipairs((run(2, 30))) do lines[#lines + 1] = line end
    local counts, message = verify(lines)
    assert.truthy(counts, message)
    assert.equal(2, counts.audit)
  end)

  it("is read from its oldest file on", function()
    assert.same({ "d/a.log.10", "d/a.log.2", "d/a.log.1", "d/a.log" },
      audit_file.all("d/a.log", { "a.log", "a.log.1", "a.log.10", "a.log.2", "a.log.old", "b.log.3", "a.log.x1" }))
  end)
end)

describe("a condition", function()
  it("is told in words, and made again of its data", function()
    local node = { kind = "any", { kind = "all", above(rate("to", "syn"), 500), { kind = "function", fn = print, line = 4 } },
      lasting(below(rate("all", "syn"), 10), 30) }
    local data = audit_condition.data(node, { n = 0 })
    assert.equal("(rate to.syn above 500/s and function of line 4) or rate all.syn below 10/s for 30s", audit_condition.text(data))
    assert.same({ kind = "recorded", slot = 2, text = "function of line 4" }, audit_condition.node(data)[1][2])
    assert.equal(3, audit_condition.node(data)[2].cond.measure.slot)
  end)
end)

describe("a story", function()
  it("has a moment for all that happened at once, and says why", function()
    local told = {}
    local story = explain.new(function(moment) told[#told + 1] = moment end)
    for record in records((run(4, 200))) do story:take(record) end
    story:finish()
    local changes = 0
    for _, moment in ipairs(told) do
      for _, t in ipairs(moment.transitions) do
        changes = changes + 1
        local lines = {}
        for i, line in ipairs(explain.lines(moment)) do lines[i] = line[1] end
        local text = table.concat(lines, "\n")
        assert.truthy(text:find(("%s → %s"):format(t.from, t.to), 1, true))
        assert.truthy(text:find("because " .. t.reason, 1, true))
        if t.rule then assert.is_true(explain.concerns(moment, t.rule)) end
      end
      for _, e in ipairs(explain.events(moment)) do assert.truthy(event.encode(e)) end
      assert.is_false(explain.concerns(moment, "nobody"))
    end
    assert.is_true(changes > 5)
  end)
end)

describe("JSON", function()
  it("is read as others read it", function()
    for _, text in ipairs { '{"a":[1,-2.5e3,true,false,"x\\u00e9\\n\\ud83d\\ude00"],"b":{}}', ' [ ] ', '"\127"', "0", "-0.5E-2",
      '[[[{"x":"\\"\\\\\\/"}]]]' } do
      assert.same(cjson.decode("[" .. text .. "]")[1], json_read.decode(text))
    end
    assert.equal(json_read.null, json_read.decode "null")
    assert.equal(math.huge, json_read.decode "1e999")
  end)

  it("that is none is refused, with the byte", function()
    for text, at in pairs { [""] = 1, ["{"] = 2, ["[1,]"] = 4, ['{"a":1,"a":2}'] = 8, ["01"] = 1, ["1 2"] = 3, ['"\n"'] = 2, ["nul"] = 1,
      ['"\\x"'] = 2, ['"\\ud800"'] = 4, ["{a:1}"] = 2, ["[1"] = 3, ["+1"] = 1, ["1."] = 2, ['{"a" 1}'] = 6, ["[}"] = 2 } do
      local value, what, byte = json_read.decode(text)
      assert.is_nil(value, text)
      assert.equal("string", type(what))
      assert.equal(at, byte, text)
    end
    assert.is_nil((json_read.decode(("["):rep(100))))
  end)
end)
