-- SPDX-License-Identifier: Apache-2.0
--
-- Things that are done one after the other, each of which waits for the loop: a queue of them, and a way to write each
-- down in a row.
--
--   local queue = steps.queue(16)
--   queue:add(function(await)
--     await(function(done) return twin:load(done) end)        -- what done() is given; nil, message, code ends it
--     return value
--   end, function(value, message, code) … end)
local steps = {}

local Queue = {}
Queue.__index = Queue

--- At most so many wait.
function steps.queue(most) return setmetatable({ waiting = {}, most = most, busy = false }, Queue) end

-- An error that is an answer: message and code go to whoever waits for it.
local function raise(message, code) error({ message = message, code = code }, 0) end

--- Ends the piece of work under way with this.
steps.raise = raise

--- value, … when there is one; nil, message, code ends the work.
function steps.check(value, message, code, ...)
  if value == nil or value == false and message then raise(message, code) end
  return value, message, code, ...
end

local function await_in(thread)
  return function(start)
    local result, waiting
    steps.check(start(function(...)
      result = { n = select("#", ...), ... }
      if waiting then waiting() end
    end))
    if not result then
      waiting = function() thread.resume() end
      coroutine.yield()
    end
    return steps.check(unpack(result, 1, result.n))
  end
end

--- Whether nothing is under way, and nothing waits.
function Queue:is_idle() return not self.busy and #self.waiting == 0 end

--- Does `work` when all before it is done; then done(what it returns) or done(nil, message, code).
--- nil, message, code when too much waits.
function Queue:add(work, done)
  if #self.waiting >= self.most then return nil, "too many are asking at once (try again)", "EAGAIN" end
  self.waiting[#self.waiting + 1] = { work = work, done = done }
  if not self.busy then self:next() end
  return true
end

function Queue:next()
  local one = table.remove(self.waiting, 1)
  if not one then
    self.busy = false
    return
  end
  self.busy = true
  local thread = {}
  local body = coroutine.create(function() return one.work(await_in(thread)) end)
  function thread.resume()
    local result = { coroutine.resume(body) }
    if coroutine.status(body) ~= "dead" then return end
    local ok, value, message, code = unpack(result, 1, 4)
    if not ok then
      local failure = value
      value, message, code = nil, tostring(failure), "EBUG"
      if type(failure) == "table" then message, code = failure.message, failure.code end
    end
    -- What comes next is not held up by what becomes of this.
    local fine, trouble = pcall(one.done, value, message, code)
    self:next()
    if not fine then error(trouble, 0) end
  end
  thread.resume()
end

return steps
