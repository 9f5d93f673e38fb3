-- SPDX-License-Identifier: Apache-2.0
-- Work that waits for the loop, written down in a row: a coroutine that is resumed when what it awaits is done.
--
--   local ok, message, code, status = task.run(function(t)
--     local object = t:compile { name =, source =, args =, cache = }
--     local net = task.check(bench.net())
--   end)
--
-- SIGINT, SIGTERM and SIGHUP end it at the next await; `status` is what to exit with then.
local compile = require "perilune.core.compile"
local loop = require "perilune.core.loop"

local task = {}

local ENDS = { SIGINT = 130, SIGTERM = 143, SIGHUP = 129 }

local Task = {}
Task.__index = Task

--- Passes on value, message; nil, message, code ends the task and comes out of task.run.
function task.check(value, message, code)
  if not value then error({ message = message, code = code }, 0) end
  return value, message
end

--- Calls start(done), which begins something, and gives what done is called with; and the seconds that start took, in
-- which the loop stood still.
function Task:await(start)
  local result, waiting
  local began = loop.now()
  self.under_way = task.check(start(function(...)
    result = { n = select("#", ...), ... }
    if waiting then self:resume() end
  end))
  local call = loop.now() - began
  if not result then
    waiting = true
    coroutine.yield()
  end
  if self.ended_by then error({}, 0) end
  task.check(result[1], result[2], result[3])
  return result[1], result[2], call
end

--- A BPF object; `request` as perilune.core.compile takes it.
function Task:compile(request)
  local object, _, call = self:await(function(done)
    self.compilation = compile.start(request, done)
    return self.compilation
  end)
  self.compilation = nil
  return object, call
end

function Task:resume()
  local ok, failure = coroutine.resume(self.thread, self)
  if not ok then self.failure = type(failure) == "table" and failure or { message = failure } end
  if coroutine.status(self.thread) == "dead" then loop.stop() end
end

--- Runs body(task) on the loop. true | nil, message, code | nil, nil, nil, status after a signal.
function task.run(body)
  local self = setmetatable({ thread = coroutine.create(body) }, Task)
  local signals = {}
  for name in pairs(ENDS) do
    signals[#signals + 1] = loop.signal(name, function()
      self.ended_by = self.ended_by or name
      if self.compilation then self.compilation:cancel() end
    end)
  end
  local start = loop.timer(function() self:resume() end)
  start:start(loop.now())
  loop.run()
  start:close()
  for _, handle in ipairs(signals) do handle:close() end
  if self.ended_by then return nil, nil, nil, ENDS[self.ended_by] end
  if self.failure then return nil, self.failure.message, self.failure.code end
  return true
end

return task
