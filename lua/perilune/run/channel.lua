-- SPDX-License-Identifier: Apache-2.0
--
-- How the daemon and the processes of its policies talk. Each policy is a `perilune run` of its own, so that neither a
-- client of the daemon nor another policy can delay its windows; it is spoken to by its standard input and answers on
-- its standard output, in lines. What it writes to standard error is for people, and becomes the daemon's log.
--
-- Down, one JSON object a line:
--
--   {"id":7,"do":"show"}                            what it is and how it stands
--   {"id":8,"do":"level","level":"alert","seconds":600}   that level and no other; without seconds until "unpin"
--   {"id":9,"do":"unpin"}
--   {"id":10,"do":"records"}                        the next window that closes, with its records
--   {"id":11,"do":"drain"}                          the same, and the window closes at once
--   {"id":14,"do":"members","set":"attackers"}      who is in a set
--   {"id":12,"do":"metrics"}                        its metrics (exposition.lua)
--   {"do":"want","records":true}                    from now on, whether events of records are made at all
--   {"id":13,"do":"reload","file":PATH,"set":{"iface":"eth0"}}   this file takes its place, as reload.lua has it
--   {"do":"stop"}
--   {"do":"told","mark":7}                          all that came before that mark is handed on
--
-- Up:
--
--   event NAME {…}        an event, as `perilune run --json` prints it
--   answer ID ok {…}      of a command with an id: its value
--   answer ID no {…}      why not: {"message":…,"code":…}
--   mark N                asks to be told (above) once what came before is handed on: of policies that are pinned
--   loaded {…}            compiled, loaded and verified; what that took
--
-- Every command with an id is answered once, in whatever order. The end of standard input ends the run, and so does the
-- end of the daemon (child.follow).
local json = require "perilune.base.json"

local channel = {}

-- Longest line, in bytes: the records of a window can be large, commands are not.
channel.LONGEST = { up = 64 * 1024 * 1024, down = 1024 * 1024 }

--- The line of a command.
function channel.command(id, verb, arguments)
  local object = { id = id, ["do"] = verb }
  for name, value in pairs(arguments or {}) do object[name] = value end
  return json.encode(object) .. "\n"
end

function channel.event(name, text) return ("event %s %s\n"):format(name, text) end

function channel.answer(id, value) return ("answer %d ok %s\n"):format(id, json.encode(value)) end

function channel.refusal(id, message, code)
  return ("answer %d no %s\n"):format(id, json.encode { message = message, code = code })
end

function channel.mark(number) return ("mark %d\n"):format(number) end

function channel.loaded(info) return ("loaded %s\n"):format(json.encode(info)) end

--- A line of the policy's, taken apart: "event", name, JSON text; "ok" or "no", id, JSON text; "mark", number;
--- "loaded", nil, JSON text. nil when it is none.
function channel.take(line)
  local name, text = line:match "^event ([%l_]+) ({.*)$"
  if name then return "event", name, text end
  local id, how
  id, how, text = line:match "^answer (%d+) (%l%l) ([%[{].*)$"
  if how == "ok" or how == "no" then return how, tonumber(id), text end
  id = line:match "^mark (%d+)$"
  if id then return "mark", tonumber(id) end
  text = line:match "^loaded ({.*)$"
  if text then return "loaded", nil, text end
end

--- function(bytes) that calls take(line) for every whole line; false once a line is longer than `longest`.
function channel.lines(take, longest)
  local kept, size = {}, 0
  return function(bytes)
    local from = 1
    while true do
      local at = bytes:find("\n", from, true)
      if not at then break end
      kept[#kept + 1] = bytes:sub(from, at - 1)
      local line = table.concat(kept)
      kept, size = {}, 0
      from = at + 1
      take(line)
    end
    kept[#kept + 1] = bytes:sub(from)
    size = size + #bytes - from + 1
    return size <= longest
  end
end

return channel
