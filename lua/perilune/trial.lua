-- SPDX-License-Identifier: Apache-2.0
--
-- Loads a policy's file twice: first in a child that can be killed, so that a file that never ends, or takes all
-- memory, is an error like any other; then, when that went well, here.
--
-- The first load is the slower one: it runs without JIT and notes each line that it enters, so that an error can name
-- the line whatever ended the child, be it in the middle of a string.find.

local confine = require "perilune.core.confine"
local limits = require "perilune.limits"
local units = require "perilune.units"

local trial = {}

local OWN = debug.getinfo(1, "S").source:match("^@.*/")
local DONE = "+"

local function quiet() end

-- print in the child, cut after limits.output bytes.
local function limited_say()
  local room = limits.output
  return function(text)
    room = room - #text
    if room >= 0 then confine.say(text) end
  end
end

-- What ended the child, in words: what, what to do.
local function ending(code, text)
  if code == "ETIME" then
    return ("the policy did not finish loading within %s"):format(units.print(limits.load.seconds, "duration")),
      "is there a loop without an end?"
  elseif code == "ENOMEM" then
    return ("the policy needs more than %s of memory to load"):format(units.print(limits.load.memory, "size")),
      "is there a table or a text that grows without an end?"
  end
  return ("loading the policy ended in %s"):format(text), "this is no fault of the policy's"
end

local function place(child, spec)
  local file, line = child:line()
  return file and ("%s:%d"):format(file, line) or spec.file
end

--- load(spec) → value | nil, message, code: policy.load or policy.options, under limits (unless spec.trusted).
function trial.load(load, spec)
  if spec.trusted then return load(spec) end
  local child, message, code = confine.fork {
    memory = limits.load.memory, seconds = limits.load.seconds, files = true, own = OWN,
    serve = function()
      spec.say = limited_say()
      local value, wrong = load(spec)
      return value and DONE or wrong
    end,
  }
  if not child then return nil, spec.file .. ": " .. message, code end
  local reply
  reply, message, code = child:ask("load", limits.load.patience, function(text) io.stderr:write(text) end)
  if reply == DONE then
    child:close()
    spec.say = quiet -- it was printed by the trial
    return load(spec)
  end
  if not reply then
    local what, remedy = ending(code, message)
    message = ("%s: %s (%s)"):format(place(child, spec), what, remedy)
  end
  child:close()
  return nil, reply or message, "EINVAL"
end

return trial
