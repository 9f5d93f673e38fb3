-- SPDX-License-Identifier: Apache-2.0
--
-- Reads server-sent events (the HTML standard's event streams) as they come in: name and data of each; comments are
-- there to be heard, and dropped.
--
--   sse.new(function(name, data)) → take;  take(bytes) → true | nil, message
local sse = {}

local LONGEST = 64 * 1024 * 1024 -- bytes of one event

function sse.new(fn)
  local waiting, size = {}, 0 -- pieces of a line that has not ended
  local name, data, length = nil, {}, 0

  local function dispatch()
    if #data > 0 then fn(name or "message", table.concat(data, "\n")) end
    name, data, length = nil, {}, 0
  end

  local function line(text)
    if text == "" then return dispatch() end
    local field, value = text:match "^([^:]*):? ?(.*)$"
    if field == "event" then
      name = value
    elseif field == "data" then
      data[#data + 1] = value
      length = length + #value
    end
  end

  return function(bytes)
    local at = 1
    while true do
      local stop = bytes:find("\n", at, true)
      if not stop then break end
      waiting[#waiting + 1] = bytes:sub(at, stop - 1)
      line((table.concat(waiting):gsub("\r$", "")))
      waiting, size, at = {}, 0, stop + 1
    end
    if at <= #bytes then
      waiting[#waiting + 1] = bytes:sub(at)
      size = size + #bytes - at + 1
    end
    if size + length > LONGEST then return nil, "an event that is too long" end
    return true
  end
end

return sse
