-- SPDX-License-Identifier: Apache-2.0
--
-- Loads a policy's file twice: first in a child that can be killed, so that a file that never ends, or takes all
-- memory, is an error like any other; then, when that went well, here.
--
-- The first load is the slower one: it runs without JIT and notes each line that it enters, so that an error can name
-- the line whatever ended the child, be it in the middle of a string.find. So what it took is more than the second one
-- will take.

local confine = require "perilune.core.confine"
local limits = require "perilune.limits"
local loop = require "perilune.core.loop"
local units = require "perilune.units"

local trial = {}

local OWN = debug.getinfo(1, "S").source:match("^@.*/")
local DONE = "+" -- and how many seconds it took; anything else is what is wrong

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

local function fork(load, spec)
  return confine.fork {
    memory = limits.load.memory, seconds = limits.load.seconds, files = true, own = OWN,
    serve = function()
      spec.say, spec.describe = limited_say(), false -- a child compiles nothing
      local begun = os.clock()
      local value, wrong = load(spec)
      if value then return ("%s%.6f"):format(DONE, os.clock() - begun) end
      return table.concat({ wrong, unpack(spec.sources or {}) }, "\0")
    end,
  }
end

local function tell(text) io.stderr:write(text) end

-- The child has answered, or ended: seconds that it took | nil, message, code. On failure spec.sources are the files
-- that it had read by then, if that is known.
local function judge(child, spec, reply, message, code)
  if reply and reply:sub(1, #DONE) == DONE then
    child:close()
    spec.say = quiet -- it was printed by the trial
    return tonumber(reply:sub(#DONE + 1))
  end
  if reply then
    local parts = {}
    for part in (reply .. "\0"):gmatch "(%Z*)%z" do parts[#parts + 1] = part end
    message = table.remove(parts, 1)
    spec.sources = parts
  else
    local what, remedy = ending(code, message)
    message = ("%s: %s (%s)"):format(place(child, spec), what, remedy)
  end
  child:close()
  return nil, message, "EINVAL"
end

--- load(spec) → value | nil, message, code: policy.load or policy.options, under limits (unless spec.trusted).
function trial.load(load, spec)
  if spec.trusted then return load(spec) end
  local child, message, code = fork(load, spec)
  if not child then return nil, spec.file .. ": " .. message, code end
  local seconds
  seconds, message, code = judge(child, spec, child:ask("load", limits.load.patience, tell))
  if not seconds then return nil, message, code end
  return load(spec)
end

--- The same while the loop goes on: done(value) | done(nil, message, code). lull(seconds, fn): calls fn when the loop
--- can spare it so long, for the load in this process. A file that is trusted has no child, and so no limit. Returns
--- what to call when nobody wants it any more.
function trial.start(load, spec, lull, done)
  local over, watch, limit = false, nil, nil
  local function unless_over(fn)
    return function(...)
      if not over then fn(...) end
    end
  end
  local function here() done(load(spec)) end
  if spec.trusted then
    lull(0, unless_over(here))
    return function() over = true end
  end
  local child, message, code = fork(load, spec)
  if not child then
    done(nil, spec.file .. ": " .. message, code)
    return function() end
  end
  local function release()
    watch:close()
    limit:close()
  end
  local function answered(...)
    release()
    local seconds, wrong, failure = judge(child, spec, ...)
    if not seconds then return done(nil, wrong, failure) end
    lull(seconds, unless_over(here))
  end
  limit = loop.timer(function() answered(nil, "no answer in time", "ETIME") end)
  limit:start(loop.now() + limits.load.patience)
  watch = loop.watch(child:fd(), function()
    local reply, why, failure = child:poll(tell)
    if reply or failure ~= "EAGAIN" then answered(reply, why, failure) end
  end)
  child:post "load"
  return function()
    over = true
    release()
    child:close()
  end
end

return trial
