-- SPDX-License-Identifier: Apache-2.0
--
-- The daemon and its policies as tables for people. Pure: what the daemon answered goes in, lines come out.
local event = require "perilune.event"
local event_read = require "perilune.event.read"
local format = require "perilune.base.format"
local moment = require "perilune.base.moment"
local sink_text = require "perilune.show.sink_text"

local status_text = {}

local clean = format.clean
local WIDE = 1000 -- where nobody says how wide it is

-- Seconds from an RFC 3339 time to `now` (µs since the epoch).
local function age(text, now)
  local at = text and moment.parse(text)
  return at and format.age((now - at) / 1e6)
end

local function append(lines, more)
  for _, line in ipairs(more) do lines[#lines + 1] = line end
end

local function failure(lines, policy)
  if not policy.failure then return end
  for line in (policy.failure .. "\n"):gmatch "(.-)\n" do
    lines[#lines + 1] = ("%s: %s"):format(clean(policy.name), clean(line))
  end
end

--- `perilune 0.1.0  pid 4711  up 3d 04h  …` from GET /v1/service.
function status_text.service(service)
  local parts = { "perilune " .. clean(service.version), ("pid %.0f"):format(service.pid),
    "up " .. format.age(service.uptime_seconds) }
  for _, label in ipairs { "host", "site" } do
    if service[label] then parts[#parts + 1] = label .. " " .. clean(service[label]) end
  end
  parts[#parts + 1] = ("you are %s (%s)"):format(clean(service.you.name), clean(service.you.role))
  return table.concat(parts, "  ")
end

-- "eth0 tc.ingress" of the first places, and how many more there are.
local function places_of(policy, most)
  local out = {}
  for i, place in ipairs(policy.attachments or {}) do
    if i > most then
      out[i] = ("and %d more"):format(#policy.attachments - most)
      break
    end
    local netns = place.netns and clean(place.netns) .. " " or ""
    out[i] = ("%s%s %s"):format(netns, clean(place.iface), clean(place.hook))
  end
  return table.concat(out, ", ")
end

local COLUMNS = { { title = "policy" }, { title = "state" }, { title = "level" }, { title = "since", right = true },
  { title = "packets/s", right = true }, { title = "traffic", right = true }, { title = "loss", right = true },
  { title = "restarts", right = true }, { title = "attached" } }

-- Rates of a window's event, as decoded JSON; nothing of one that was not asked for.
local function rates(window)
  if not window then return "", "", "" end
  local per = window.seconds > 0 and 1 / window.seconds or 1
  local loss = event.loss(window)
  return format.count(window.packets * per), format.bits(window.bytes * per), format.count(loss)
end

--- policies: as GET /v1/policies lists them, each with `window` and `transition`: the last ones, or nil; now: µs since
--- the epoch.
function status_text.policies(policies, now, width)
  if #policies == 0 then return { "no policies (perilune serve POLICY.lua, or PUT /v1/policies/NAME)" } end
  local rows, lines = {}, {}
  for i, policy in ipairs(policies) do
    local packets, bits, loss = rates(policy.window)
    local running = policy.state == "running"
    rows[i] = { clean(policy.name), clean(policy.state), running and clean(policy.level or "") or "",
      running and age(policy.transition and policy.transition.time or policy.started, now) or "", packets, bits, loss,
      format.count(policy.restarts), places_of(policy, 2) }
  end
  append(lines, (format.table(COLUMNS, rows, width or WIDE)))
  for _, policy in ipairs(policies) do failure(lines, policy) end
  return lines
end

local LABEL = 10 -- columns

-- A line for each text, the label in front of the first.
local function labelled(lines, label, texts)
  for i, text in ipairs(texts) do lines[#lines + 1] = format.left(i == 1 and label or "", LABEL) .. text end
end

local function each(list, make)
  local out = {}
  for i, item in ipairs(list or {}) do out[i] = make(item) end
  return out
end

--- Monitors as GET /polycube/v1/dynmon lists them → { name, type, iface or nil } of each.
function status_text.monitors_of(list)
  return each(list, function(one)
    return { name = one.name, type = one.type, iface = type(one.parent) == "string" and one.parent or nil }
  end)
end

--- Lines for people; none where there is no monitor.
function status_text.monitors(list)
  local lines = {}
  labelled(lines, "monitors", each(status_text.monitors_of(list), function(one)
    local where = one.iface and clean(one.iface) or "attached nowhere"
    return ("%s  %s  %s (perilune extract %s)"):format(clean(one.name), where, clean(one.type), clean(one.name))
  end))
  return lines
end

local function claim(one)
  local left = one.seconds_left and (" for %s more"):format(format.duration(math.ceil(one.seconds_left))) or ""
  local what = one.hold and "holds " .. clean(one.hold) or "caps at " .. clean(one.cap)
  local who = one.who == "operator" and "somebody (perilune level)" or clean(one.who)
  return ("%s %s%s%s"):format(who, what, left, one.why and "  " .. clean(one.why) or "")
end

local function ladder(policy)
  local out = {}
  for i, level in ipairs(policy.levels or {}) do
    local name = clean(type(level) == "table" and level.name or level)
    out[i] = name == policy.level and "[" .. name .. "]" or name
  end
  return table.concat(out, "  ")
end

local function probe(one)
  local key = one.key and #one.key > 0 and " by " .. clean(table.concat(one.key, ", ")) or ""
  local features = #one.features > 0 and "  " .. clean(table.concat(one.features, " ")) or ""
  local rate = one.sample_rate > 1 and ("  one in %s"):format(format.count(one.sample_rate)) or ""
  return ("%s  %s%s%s%s"):format(clean(one.name), clean(one.template), key, features, rate)
end

local function rule(one)
  return ("%s%s%s"):format(clean(one.name), one.per and "  per " .. clean(one.per) or "",
    one.hold and "  holds " .. clean(one.hold) or "")
end

local function set(one)
  return ("%s  %s of at most %s (%s)"):format(clean(one.name), format.count(one.members), format.count(one.max),
    clean(one.of))
end

local function option(one) return ("%s = %s"):format(clean(one.name), clean(one.value or "nothing")) end

-- Events of a list of GET /v1/policies/NAME/…, the newest first.
local function told(list)
  local out = {}
  for i = #(list or {}), 1, -1 do
    local e = event_read.of(list[i])
    if e then out[#out + 1] = table.concat(sink_text.lines(e, {}), " ") end
  end
  return out
end

--- The ladder of a policy, and who holds it.
function status_text.ladder(policy)
  local lines = {}
  labelled(lines, "levels", { ladder(policy) })
  labelled(lines, "held", each(policy.claims, claim))
  return lines
end

--- policy: GET /v1/policies/NAME; more: windows, transitions, errors: lists of its last events.
function status_text.policy(policy, more, now)
  local lines = { ("%s  %s%s  origin %s  restarts %s"):format(clean(policy.name), clean(policy.state),
    policy.started and policy.state == "running" and " for " .. age(policy.started, now) or "", clean(policy.origin),
    format.count(policy.restarts)) }
  failure(lines, policy)
  if policy.state ~= "running" then return lines end
  append(lines, status_text.ladder(policy))
  labelled(lines, "attached", each(policy.attachments, function(one)
    return ("%s%s %s (%s)"):format(one.netns and clean(one.netns) .. " " or "", clean(one.iface), clean(one.hook),
      clean(one.mode))
  end))
  labelled(lines, "last", told(more.windows))
  labelled(lines, "probes", each(policy.probes, probe))
  labelled(lines, "rules", each(policy.rules, rule))
  labelled(lines, "sets", each(policy.sets, set))
  labelled(lines, "options", each(policy.options, option))
  labelled(lines, "changes", told(more.transitions))
  labelled(lines, "errors", told(more.errors))
  return lines
end

return status_text
