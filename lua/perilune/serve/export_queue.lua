-- SPDX-License-Identifier: Apache-2.0
--
-- Lines that wait for one who takes them: what fits is sent in order, what does not is lost and counted. Pure.
--
-- send(text) → true | nil, message, code, bytes sent. "EAGAIN": not now, the rest later. Another code: the end of this
-- connection; the line that was under way begins anew with the next. "EMSGSIZE": never, this line is lost.
local queue = {}
local Queue = {}
Queue.__index = Queue

--- ceiling: bytes that may wait.
function queue.new(ceiling)
  return setmetatable({ ceiling = ceiling, first = 1, last = 0, bytes = 0, offset = 0, sent = 0, lost = 0 }, Queue)
end

--- Puts a line behind the others; false when it is lost. An empty queue takes any.
function Queue:put(line)
  if self.bytes > 0 and self.bytes + #line > self.ceiling then
    self.lost = self.lost + 1
    return false
  end
  self.last = self.last + 1
  self[self.last] = line
  self.bytes = self.bytes + #line
  return true
end

local function drop_first(self)
  self.bytes = self.bytes - #self[self.first]
  self[self.first] = nil
  self.first, self.offset = self.first + 1, 0
end

--- How many lines wait.
function Queue:waiting() return self.last - self.first + 1 end

--- Sends what is taken: true when nothing waits any more; false when something does; nil, message, code when the
--- connection has ended.
function Queue:flush(send)
  while self.first <= self.last do
    local line = self[self.first]
    local ok, message, code, bytes = send(self.offset > 0 and line:sub(self.offset + 1) or line)
    if ok then
      self.sent = self.sent + 1
      drop_first(self)
    elseif code == "EMSGSIZE" then
      self.lost = self.lost + 1
      drop_first(self)
    elseif code == "EAGAIN" then
      self.offset = self.offset + (bytes or 0)
      return false
    else
      self.offset = 0
      return nil, message, code
    end
  end
  return true
end

--- Nobody will take what waits: it is lost.
function Queue:give_up()
  self.lost = self.lost + self:waiting()
  while self.first <= self.last do drop_first(self) end
end

return queue
