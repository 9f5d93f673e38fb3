-- SPDX-License-Identifier: Apache-2.0
--
-- Loads a policy's file twice: first in a child that can be killed, so that a file that never ends, or takes all
-- memory, is an error like any other; then, when that went well, here.
--
-- The first load is the slower one: it runs without JIT and notes each line that it enters, so that an error can name
-- the line whatever ended the child, be it in the middle of a string.find. So what it took is more than the second one
-- will take.

local confine = require "perilune.core.confine"
local limits = require "perilune.policy.limits"
local loop = require "perilune.core.loop"
local objects = require "perilune.probe.objects"
local units = require "perilune.base.units"

local trial = {}

local OWN = debug.getinfo(1, "S").source:match("^(@.*/)policy/")
-- And how many seconds it took, and what has to be compiled for the load here; anything else is what is wrong.
local DONE = "+"
local MOST_REPLY = 49152 -- bytes; CONFINE_MESSAGE

-- Requests of objects.lua as one text, and back; a text that was cut has none.
local function packed(seconds, requests)
  local parts = { ("%s%.6f"):format(DONE, seconds) }
  for _, one in ipairs(requests or {}) do
    for _, part in ipairs { one.name, one.source, table.concat(one.args, "\1") } do parts[#parts + 1] = part end
  end
  return table.concat(parts, "\0")
end

local function unpacked(reply)
  local parts, requests = {}, {}
  for part in (reply .. "\0"):gmatch "(%Z*)%z" do parts[#parts + 1] = part end
  for i = 2, #reply < MOST_REPLY and #parts or 0, 3 do
    local args = {}
    for arg in (parts[i + 2] .. "\1"):gmatch "([^\1]*)\1" do args[#args + 1] = arg end
    requests[#requests + 1] = { name = parts[i], source = parts[i + 1], args = args }
  end
  return tonumber(parts[1]:sub(#DONE + 1)), requests
end

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
      if value then return packed(os.clock() - begun, type(value) == "table" and value.requests) end
      return table.concat({ wrong, unpack(spec.sources or {}) }, "\0")
    end,
  }
end

local function tell(text) io.stderr:write(text) end

-- The child has answered, or ended: seconds that it took, and what is to be compiled | nil, message, code. On failure
-- spec.sources are the files that it had read by then, if that is known.
local function judge(child, spec, reply, message, code)
  if reply and reply:sub(1, #DONE) == DONE then
    child:close()
    spec.say = quiet -- it was printed by the trial
    return unpacked(reply)
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

-- Compiles what the load here will ask for, on the loop, so that it finds it in the cache; what is wrong with it, that
-- load says. fn() when all is done. Returns what to call when nobody waits for it.
local function compile(requests, fn)
  local under_way
  local function next_one(i)
    local request = requests[i]
    if not request then
      under_way = nil
      return fn()
    end
    under_way = objects.start(request, function() next_one(i + 1) end)
    if not under_way then fn() end
  end
  next_one(1)
  return function()
    requests = {}
    if under_way then under_way:cancel() end
  end
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
  local cancel = function() end
  local function release()
    watch:close()
    limit:close()
  end
  local function answered(...)
    release()
    local seconds, found, failure = judge(child, spec, ...)
    if not seconds then return done(nil, found, failure) end
    cancel = compile(spec.bundle and {} or found, unless_over(function() lull(seconds, unless_over(here)) end))
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
    cancel()
    child:close()
  end
end

return trial
