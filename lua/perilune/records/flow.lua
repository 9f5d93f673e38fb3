-- SPDX-License-Identifier: Apache-2.0
--
-- Flows as members of sets and as keys of rules (per = "probe.flow"): five fields of a probe's key, as one text.
--
--   10.0.0.1:40000 > 10.0.0.2:443 tcp      a flow: packets from the first end to the second
--   [fd00::1]:53 <> [fd00::2]:40000 udp    a biflow: both ways, first the end whose address, then port, is lower
--   10.0.0.1 > 10.0.0.2 icmp               without ports

local net = require "perilune.base.net"

local flow = {}

flow.NAME = "flow" -- in the place of a field
flow.FIELDS = { "src", "dst", "sport", "dport", "proto" }

--- Whether rows with this key say which flow they are of.
function flow.in_key(key)
  local has = {}
  for _, field in ipairs(key or {}) do has[field] = true end
  for _, field in ipairs(flow.FIELDS) do
    if not has[field] then return false end
  end
  return true
end

--- Whether the rows of a probe with these features are of both ways.
function flow.both_ways(features)
  for _, feature in ipairs(features) do
    if feature == "biflow" then return true end
  end
  return false
end

local function end_text(address, port, ports)
  if not ports then return address end
  return (address:find(":", 1, true) and "[%s]:%s" or "%s:%s"):format(address, port)
end

--- The text of a flow from the texts of its fields; both: whether its rows are of both ways.
function flow.text(fields, both)
  local src, dst, sport, dport, proto = unpack(fields)
  local ports = sport ~= "0" or dport ~= "0"
  return ("%s %s %s %s"):format(end_text(src, sport, ports), both and "<>" or ">", end_text(dst, dport, ports), proto)
end

-- Address as net.address has it, port (a number), or nil.
local function parse_end(text)
  local address, port = text:match "^%[(.*)%]:(%d+)$"
  if not address then address, port = text:match "^([%d.]+):(%d+)$" end
  if not address then address, port = text:match "^%[(.*)%]$" or text, "0" end
  address, port = net.address(address), tonumber(port)
  if not address or port > 65535 then return nil end
  return address, port
end

-- Whether the first end is the higher one.
local function is_turned(a, a_port, b, b_port)
  for i = 1, #a.words do
    if a.words[i] ~= b.words[i] then return a.words[i] > b.words[i] end
  end
  return a_port > b_port
end

--- What somebody has written, as flow.text would; nil when it is no flow, or not of that kind.
function flow.canonical(text, both)
  local from, way, to, proto = text:match "^%s*(%S+)%s+(<?>)%s+(%S+)%s+([%w-]+)%s*$"
  if not from or (way == "<>") ~= both then return nil end
  local src, sport = parse_end(from)
  local dst, dport = parse_end(to)
  if not src or not dst or src.v4 ~= dst.v4 then return nil end
  if both and is_turned(src, sport, dst, dport) then src, sport, dst, dport = dst, dport, src, sport end
  return flow.text({ src.text, dst.text, ("%d"):format(sport), ("%d"):format(dport), proto:lower() }, both)
end

return flow
