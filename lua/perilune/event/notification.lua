-- SPDX-License-Identifier: Apache-2.0
--
-- The body of a notification: JSON on one line, of the form that Prometheus Alertmanager sends to webhooks (version 4),
-- so that whatever understands that understands this. notification.schema.json describes it. In short:
--
--   { "version": "4", "receiver": "soc", "status": "firing" | "resolved",     resolved: all alerts are
--     "groupKey", "groupLabels", "commonLabels", "commonAnnotations", "externalURL": "",
--     "truncatedAlerts": 0,        instances that the receiver is not told of, for lack of room, since its last message
--     "alerts": [ {
--       "status": "firing" | "resolved",
--       "labels": { "alertname": rule, "policy", "instance": host, "key" of a rule with `per` },
--       "annotations": { "summary": why it fires, "resolved": why no longer },
--       "values": { measure: number },                    what decided, when it began
--       "startsAt": RFC 3339, "endsAt": RFC 3339,         0001-01-01T00:00:00Z while it fires
--       "generatorURL": "", "fingerprint": the same for the same labels } ] }
--
-- A notification is sent again when it is not known to have arrived: who must not act twice goes by fingerprint, status
-- and startsAt.

local bit = require "bit"
local event_json = require "perilune.event.json"
local format = require "perilune.base.format"

local notification = {}

local NEVER = "0001-01-01T00:00:00Z"

-- FNV-1a of 32 bits; `seed` makes it one of several.
local function hash(text, seed)
  local value = bit.bxor(0x811c9dc5, seed)
  for i = 1, #text do
    value = bit.bxor(value, text:byte(i))
    -- times 16777619, which a double would round
    value = bit.tobit(value + bit.lshift(value, 1) + bit.lshift(value, 4) + bit.lshift(value, 7)
      + bit.lshift(value, 8) + bit.lshift(value, 24))
  end
  return bit.tohex(value)
end

local function fingerprint(labels)
  local text = table.concat({ labels.policy, labels.alertname, labels.key or "", labels.instance }, "\0")
  return hash(text, 0) .. hash(text, 0x5bd1e995)
end

local function alert_of(alert, about)
  local labels = { alertname = alert.rule, policy = about.policy, instance = about.host, key = alert.key }
  return {
    status = alert.state, labels = labels, annotations = { summary = alert.reason, resolved = alert.over },
    values = alert.values, startsAt = format.rfc3339(alert.start),
    endsAt = alert.finish and format.rfc3339(alert.finish) or NEVER, generatorURL = "",
    fingerprint = fingerprint(labels),
  }
end

--- The body of a message of notify.lua. about: { policy, receiver, host }.
function notification.body(message, about)
  local alerts = {}
  for i, alert in ipairs(message.alerts) do alerts[i] = alert_of(alert, about) end
  local common = { policy = about.policy, instance = about.host }
  return event_json.value {
    version = "4", receiver = about.receiver, status = message.firing > 0 and "firing" or "resolved",
    groupKey = ("{}:{policy=%q}"):format(about.policy), groupLabels = { policy = about.policy }, commonLabels = common,
    commonAnnotations = {}, externalURL = "", truncatedAlerts = message.dropped, alerts = alerts,
  }
end

return notification
