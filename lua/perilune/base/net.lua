-- SPDX-License-Identifier: Apache-2.0
-- Addresses and networks in CIDR notation, as people write them.
local net = {}

local function v4_words(text)
  local a, b, c, d = text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  if not a then return nil end
  a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
  if a > 255 or b > 255 or c > 255 or d > 255 then return nil end
  return { a * 256 + b, c * 256 + d }
end

local function groups(text, out)
  if text == "" then return out end
  for group in (text .. ":"):gmatch "([^:]*):" do
    if not group:match "^%x%x?%x?%x?$" then return nil end
    out[#out + 1] = tonumber(group, 16)
  end
  return out
end

local function v6_words(text)
  local head, tail = text:match "^(.-)::(.*)$"
  if not head then
    local words = groups(text, {})
    return words and #words == 8 and words or nil
  end
  local words, rest = groups(head, {}), groups(tail, {})
  if not words or not rest or #words + #rest > 7 then return nil end
  while #words + #rest < 8 do words[#words + 1] = 0 end
  for _, word in ipairs(rest) do words[#words + 1] = word end
  return words
end

local function words_of(text)
  return v4_words(text) or v6_words(text)
end

local function v4_text(high, low)
  return ("%d.%d.%d.%d"):format(math.floor(high / 256), high % 256, math.floor(low / 256), low % 256)
end

-- As inet_ntop of glibc has them: the first of the longest runs of two zeros or more is left out.
local function v6_text(words)
  local from, length = 0, 1
  for i = 1, 8 do
    local run = 0
    while words[i + run] == 0 do run = run + 1 end
    if run > length then from, length = i, run end
  end
  local text = {}
  for i, word in ipairs(words) do text[i] = ("%x"):format(word) end
  if from == 0 then return table.concat(text, ":") end
  if from == 1 and length == 6 then
    return "::" .. v4_text(words[7], words[8])
  end
  return table.concat(text, ":", 1, from - 1) .. "::" .. table.concat(text, ":", from + length)
end

--- { text, words, v4 } of an address: its one text, as records have it, eight words in which IPv4 is ::ffff:a.b.c.d,
--- and whether it is IPv4. nil for what is no address.
function net.address(text)
  local four = v4_words(text:match "^::[fF][fF][fF][fF]:(%d.*)$" or text)
  if four then
    local a, b = four[1], four[2]
    return { v4 = true, words = { 0, 0, 0, 0, 0, 0xffff, a, b },
      text = v4_text(a, b) }
  end
  local words = v6_words(text)
  return words and { v4 = false, words = words, text = v6_text(words) }
end

--- An address or a network in its one form: without bits behind its prefix, and an address without a prefix. nil
--- when it is neither.
function net.canonical(text)
  local before, bits = text:match "^([^/]+)/(%d+)$"
  local address = net.address(before or text)
  if not address or not before then return address and address.text end
  local most = address.v4 and 32 or 128
  bits = tonumber(bits)
  if bits > most then return nil end
  if bits == most then return address.text end
  local words = {}
  for i, word in ipairs(address.words) do
    local size = 2 ^ (16 - math.max(0, math.min(16, bits + 128 - most - (i - 1) * 16)))
    words[i] = word - word % size
  end
  if not address.v4 then return v6_text(words) .. "/" .. bits end
  return v4_text(words[7], words[8]) .. "/" .. bits
end

--- "198.18.0.0/15" → its first address as text, and how many it has; "192.0.2.1" → that one, 1. nil when it is neither.
function net.range(text)
  local network = net.canonical(text)
  if not network then return nil end
  local first, bits = network:match "^([^/]+)/(%d+)$"
  if not first then return network, 1 end
  return first, 2 ^ ((net.address(first).v4 and 32 or 128) - bits)
end

--- matcher("10.0.0.0/8, 2001:db8::/32") → function(address text) → boolean; nil, message when it is not a
--- list of networks.
function net.matcher(list)
  local networks = {}
  for part in list:gmatch "[^,%s]+" do
    local address, bits = part:match "^([^/]+)/?(%d*)$"
    local words = address and words_of(address)
    if not words then return nil, ("%s is not a network (write it like 10.0.0.0/8 or 2001:db8::/32)"):format(part) end
    bits = tonumber(bits) or #words * 16
    if bits > #words * 16 then return nil, ("%s: an address has %d bits"):format(part, #words * 16) end
    networks[#networks + 1] = { words = words, bits = bits }
  end
  if #networks == 0 then return nil, "names no network (write it like 10.0.0.0/8 or 2001:db8::/32)" end
  return function(text)
    local words = words_of(text)
    for _, network in ipairs(networks) do
      local same = words and #words == #network.words
      for i = 1, same and #words or 0 do
        local size = 2 ^ (16 - math.max(0, math.min(16, network.bits - (i - 1) * 16)))
        same = same and math.floor(words[i] / size) == math.floor(network.words[i] / size)
      end
      if same then return true end
    end
    return false
  end
end

return net
