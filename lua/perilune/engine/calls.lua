-- SPDX-License-Identifier: Apache-2.0
--
-- Calls of a policy's own functions, in a child that can be killed. It is forked at the first call in a window and so
-- sees the window's records without any copying; it ends with the window.
--
--   whatever a function changes (locals around it, tables) is gone when the window ends; but for w.state, which comes
--   back with the answer
--   w.sets are as they were at the window's first call
--   print goes to standard error, at most limits.output bytes a window
--
-- The engine waits for a call at most limits.time, for all of a window limits.total (limits = { … }). A function
-- that runs over its time is killed and is not called again.

local confine = require "perilune.core.confine"
local limits = require "perilune.policy.limits"
local loop = require "perilune.core.loop"
local pack = require "perilune.base.pack"
local sandbox = require "perilune.base.sandbox"
local units = require "perilune.base.units"

local calls = {}

local Calls = {}
Calls.__index = Calls

local CUT = ("perilune: print: more than %s in one window, the rest is left out\n")
  :format(units.print(limits.output, "size"))

-- Every node with a function in a condition.
local function visit(condition, take)
  if condition.kind == "function" then take(condition) end
  if condition.cond then visit(condition.cond, take) end
  for _, child in ipairs(condition) do visit(child, take) end
end

-- The functions of a policy's rules: function → number, and the list of them.
local function functions_of(decl)
  local numbers, list = {}, {}
  local function take(node)
    if numbers[node.fn] then return end
    list[#list + 1] = node.fn
    numbers[node.fn] = #list
  end
  for _, rule in ipairs(decl.rules) do
    visit(rule.when, take)
    if rule.clear then visit(rule.clear, take) end
    for _, act in ipairs(rule.act) do
      if act.kind == "call" then take(act) end
    end
  end
  return numbers, list
end

--- For one run of a policy; nil when nothing has to be confined: it has no functions, or is trusted with its own.
function calls.new(decl)
  local numbers, list = functions_of(decl)
  if decl.trusted or #list == 0 then return nil end
  return setmetatable({ numbers = numbers, list = list, limits = decl.limits, used = 0, overrun = false,
    room = limits.output }, Calls)
end

-- print in the child. Whole lines only, since standard error is shared.
local function limited_say(room)
  return function(text)
    if room < 0 then return end
    room = room - #text
    confine.say(room >= 0 and text or CUT)
  end
end

function Calls:start(window)
  local list, room = self.list, self.room
  local state = self.state
  local known, unfinished = state and state:text(), false -- unfinished: a function failed, and changes nothing
  local diverted = false
  return confine.fork {
    memory = self.limits.memory,
    seconds = 2 * self.limits.total, -- in case we cannot kill it
    serve = function(message)
      if not diverted then
        sandbox.divert(limited_say(room))
        diverted = true
      end
      local number, given, key = message:match "^(%d+)(=?)(.*)$"
      if unfinished then state:put(known) end
      unfinished = state ~= nil
      local truth = list[tonumber(number)](window, given ~= "" and key or nil) and "1" or "0"
      if not state then return truth end
      local text = state:text()
      unfinished = false
      if text == known then return truth end
      known = text
      return truth .. text
    end,
  }
end

local function ms(seconds) return units.print(math.floor(seconds * 1000 + 0.5) / 1000, "duration") end

-- The frames below the policy's function are ours.
local function policy_frames(traceback)
  local kept = {}
  for line in traceback:gmatch "[^\n]+" do
    if line:find("perilune/engine/calls.lua", 1, true) then break end
    kept[#kept + 1] = line
  end
  return table.concat(kept, "\n")
end

-- What is to be said of a call that gave no answer: why, whether it is worth another try. One that waited for the
-- processor most of the time is not at fault, nor one that had only the time that another has left it.
function Calls:blame(allowed, message, code, had)
  if code == "ECANCELED" then return policy_frames(message), false end
  if code == "ENOMEM" then
    return ("the function needs more than %s of memory"):format(units.print(self.limits.memory, "size")), false
  elseif code == "ECHILD" then
    return "the function ended in " .. message, false
  elseif code ~= "ETIME" then
    return message, true
  elseif had < allowed / 2 then
    self.overrun = true
    return ("the function had the processor for %s of the %s it may take: the machine is too busy"):format(ms(had),
      ms(allowed)), true
  elseif allowed < self.limits.time then
    return ("the functions of this window took more than %s in all; this one was running"):format(
      ms(self.limits.total)), self.overrun
  end
  self.overrun = true
  return ("the function did not return within %s"):format(ms(allowed)), false
end

-- Asks the child, with a clock on it.
function Calls:ask(node, key, allowed)
  local begun = loop.now()
  local reply, message, code, had = self.child:ask(self.numbers[node.fn] .. (key and "=" .. key or ""), allowed,
    function(text)
      self.room = text == CUT and -1 or self.room - #text
      io.stderr:write(text)
    end)
  self.used = self.used + loop.now() - begun
  if reply then
    if #reply > 1 then self.state:take((pack.decode(reply:sub(2)))) end
    return reply:sub(1, 1) == "1"
  end
  if code ~= "ECANCELED" then self:close() end
  return nil, self:blame(allowed, message, code, had)
end

--- The function of `node` ({ fn = }) on a window: its truth | nil, why there is none, whether to ask again.
function Calls:call(node, window, key)
  local allowed = math.min(self.limits.time, self.limits.total - self.used)
  if allowed <= 0 then
    return nil, ("no time is left of the %s for the functions of a window"):format(ms(self.limits.total)), true
  end
  if not self.child then
    local child, message = self:start(window)
    if not child then return nil, "the function cannot be called: " .. message, true end
    self.child = child
  end
  return self:ask(node, key, allowed)
end

--- What decide.new wants as `call`.
function Calls:caller()
  return function(node, window, key) return self:call(node, window, key) end
end

function Calls:close()
  if self.child then self.child:close() end
  self.child = nil
end

--- The window has been judged.
function Calls:finish()
  self:close()
  self.used, self.overrun, self.room = 0, false, limits.output
end

return calls
