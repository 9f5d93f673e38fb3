-- SPDX-License-Identifier: Apache-2.0
-- Networks in CIDR notation, for saying which side of a capture is ours.
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
