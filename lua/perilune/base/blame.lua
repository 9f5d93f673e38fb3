-- SPDX-License-Identifier: Apache-2.0
--
-- Errors that point at the line of whoever misused the library, however deep inside they are found.

local blame = {}

local own = debug.getinfo(1, "S").source:match("^(@.*/)base/") or "@"

local function is_own(source)
  return source:sub(1, #own) == own or source:find("^=perilune%.") ~= nil
end

-- error(), with the place of the nearest caller that is not one of perilune's own files.
function blame.fail(message, ...)
  if select("#", ...) > 0 then message = message:format(...) end
  for level = 2, 200 do
    local info = debug.getinfo(level, "S")
    if not info then break end
    if info.what ~= "C" and not is_own(info.source) then error(message, level) end
  end
  error(message, 0)
end

return blame
