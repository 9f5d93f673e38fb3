-- SPDX-License-Identifier: Apache-2.0
-- Frames to measure programs on: for every template one that it is for.
local frames = {}

local function be16(number) return string.char(math.floor(number / 256) % 256, number % 256) end

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("%x%x", function(two) return string.char(tonumber(two, 16)) end))
end

local function ethernet(kind, rest) return bytes "020000000002 020000000001" .. be16(kind) .. rest end

-- 10.0.0.1 → 10.0.0.2
local function ipv4(proto, rest)
  return ethernet(0x0800, bytes "4500" .. be16(20 + #rest) .. bytes "0001 4000 40" .. string.char(proto)
    .. bytes "0000 0a000001 0a000002" .. rest)
end

local function tcp(sport, dport, payload)
  return ipv4(6, be16(sport) .. be16(dport) .. bytes "00000001 00000001 5018 ffff 0000 0000" .. payload)
end

local function udp(sport, dport, payload)
  return ipv4(17, be16(sport) .. be16(dport) .. be16(8 + #payload) .. bytes "0000" .. payload)
end

-- A query for the address of www.example.com.
local DNS = bytes "1234 0100 0001 0000 0000 0000" .. "\3www\7example\3com\0" .. bytes "0001 0001"

-- A ClientHello of TLS 1.2 for www.example.com with two ciphers.
local function hello()
  local name = "www.example.com"
  local sni = be16(0) .. be16(#name + 5) .. be16(#name + 3) .. "\0" .. be16(#name) .. name
  local body = bytes "0303" .. ("\1"):rep(32) .. "\0" .. bytes "0004 c02f c030 0100" .. be16(#sni) .. sni
  local handshake = "\1\0" .. be16(#body) .. body
  return bytes "160301" .. be16(#handshake) .. handshake
end

-- An Initial of QUIC version 1.
local QUIC = bytes "c0 00000001 08 0102030405060708 00 00 4496" .. ("\170"):rep(1176)

local made = {
  dns = udp(40000, 53, DNS),
  tls = tcp(40000, 443, hello()),
  quic = udp(40000, 443, QUIC),
  http = tcp(40000, 80, "GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: bench\r\n\r\n"),
  icmp = ipv4(1, bytes "0800 0000 0001 0001" .. ("\170"):rep(56)),
  arp = ethernet(0x0806, bytes "0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002" .. ("\0"):rep(18)),
}

-- TCP with 64 octets of payload, for templates that take everything.
local ANY = tcp(40000, 443, ("\170"):rep(64))

function frames.of(template) return made[template] or ANY end

return frames
