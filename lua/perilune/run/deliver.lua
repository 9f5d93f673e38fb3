-- SPDX-License-Identifier: Apache-2.0
--
-- Notifications on their way: a queue for each receiver (notify.lua), and children of the loop that deliver, with a
-- limit on their time. A window never waits for any of it.
--
-- A webhook is posted by curl: it verifies certificates, and knows proxies (https_proxy …) and authorities of one's own
-- (CURL_CA_BUNDLE, SSL_CERT_FILE). URL and headers are handed to it on a descriptor of its own, for what stands on a
-- command line can be read by everybody. A command gets the body on its standard input. Both end well with a 2xx, or an
-- exit status of 0; curl's failures and 408, 429 and 5xx are tried again, and so is a command that fails.

local child = require "perilune.core.child"
local loop = require "perilune.core.loop"
local notification = require "perilune.event.notification"
local notify = require "perilune.run.notify"
local sameness = require "perilune.policy.sameness"
local units = require "perilune.base.units"

local deliver = {}

local Deliver, Sender = {}, {}
Deliver.__index, Sender.__index = Deliver, Sender

local MOST_OUTPUT = 65536  -- bytes of a child's output that are kept
local SHOWN = 300          -- and of what it says of a failure, in an event
local LONGEST_SECRET = 16384
local MARGIN = 1           -- seconds beyond its own limit before curl is killed

local function host_name()
  local file = io.open "/proc/sys/kernel/hostname"
  local name = file and file:read "*l"
  if file then file:close() end
  return name or "localhost"
end

-- The value of a secret; nil, message.
local function reveal(secret)
  local value = secret.text
  if secret.env then
    value = os.getenv(secret.env)
    if not value then return nil, ("there is no %s in the environment"):format(secret.env) end
  elseif secret.file then
    local file, message = io.open(secret.file, "r")
    if not file then return nil, message end
    value, message = file:read(LONGEST_SECRET)
    file:close()
    if not value then return nil, ("%s: %s"):format(secret.file, message or "it is empty") end
    value = value:gsub("[\r\n]+$", "")
  end
  value = (secret.prefix or "") .. value
  if value:find "%c" then return nil, ("%s holds more than one line"):format(secret.file or secret.env) end
  return value
end

-- A line of curl's configuration.
local function line(option, value)
  return ('%s = "%s"\n'):format(option, (value:gsub('[\\"]', "\\%0")))
end

-- What is handed to curl, and the texts in it that must not be printed; nil, message.
local function configuration(receiver)
  local url, message = reveal(receiver.webhook)
  if not url then return nil, message end
  local out, secrets = { line("url", url) }, { not receiver.webhook.text and url or nil }
  for _, header in ipairs(receiver.headers) do
    local value
    value, message = reveal(header.value)
    if not value then return nil, ("header %s: %s"):format(header.name, message) end
    out[#out + 1] = line("header", header.name .. ": " .. value)
    if not header.value.text then secrets[#secrets + 1] = value:sub(#(header.value.prefix or "") + 1) end
  end
  return table.concat(out), secrets
end

local function seconds_text(seconds) return ("%.3f"):format(seconds) end

-- Redirects are not followed: headers would go along.
local function curl_of(receiver)
  return {
    "curl", "--disable", "--config", "/dev/fd/3", "--silent", "--show-error", "--globoff", "--proto", "=http,https",
    "--max-time", seconds_text(receiver.timeout), "--header", "Content-Type: application/json", "--header", "Expect:",
    "--data-binary", "@-", "--output", "/dev/null", "--write-out", "%{http_code}",
  }
end

-- How a webhook has ended: ok, why not, whether another try may help.
local function judge_webhook(status, signal, out, err)
  local code = tonumber(out:match "%d+$")
  if status == 0 and code and code >= 200 and code < 300 then return true end
  if status == 0 and code then
    return false, ("it answered %d"):format(code), code == 408 or code == 429 or code >= 500
  end
  if signal then return false, "curl was ended by " .. signal, true end
  -- 3: no URL; 1: a protocol that is not allowed
  return false, err ~= "" and err or ("curl ended with exit status %d"):format(status), status ~= 3 and status ~= 1
end

local function judge_command(status, signal, _, err)
  if status == 0 then return true end
  local how = signal and "it was ended by " .. signal or ("it ended with exit status %d"):format(status)
  return false, err ~= "" and ("%s: %s"):format(how, err) or how, true
end

-- ---------------------------------------------------------------------------------------------------- one receiver

local function new_sender(receiver, owner)
  local self = setmetatable({ receiver = receiver, owner = owner, queue = notify.new(receiver, loop.now()),
    dropped_told = 0 }, Sender)
  self.timer = loop.timer(function() self:go() end)
  self.limit = loop.timer(function()
    self.late = true
    if self.child then self.child:kill() end
  end)
  return self
end

function Sender:say(message, hint)
  self.owner.emit { event = "error", file = self.receiver.file, line = self.receiver.line, hint = hint,
    message = ('receiver "%s": %s'):format(self.receiver.name, message) }
end

-- A child's words in one short line, without what is secret.
function Sender:words(text)
  for _, secret in ipairs(self.secrets or {}) do
    local from, to = 1, 0
    while secret ~= "" and from do
      from, to = text:find(secret, to + 1, true)
      if from then
        text = text:sub(1, from - 1) .. "***" .. text:sub(to + 1)
        to = from + 2
      end
    end
  end
  return (text:gsub("^%s+", ""):gsub("%s+$", ""):gsub("%s*[\r\n]+%s*", ", "):sub(1, SHOWN))
end

-- What is to be started, or nil and why it cannot be.
function Sender:spec(message)
  local receiver = self.receiver
  local body = notification.body(message, { policy = self.owner.policy, receiver = receiver.name,
    host = self.owner.host })
  if receiver.command then return { argv = receiver.command, input = body } end
  local config, secrets = configuration(receiver)
  if not config then return nil, secrets end
  self.secrets = secrets
  return { argv = curl_of(receiver), input = body, handed = config }
end

function Sender:ended(ok, why, again)
  local message, now = self.queue.message, loop.now()
  local fate, wait = self.queue:done(ok, again, now)
  if fate == "told" then
    self.owner.emit { event = "delivery", receiver = self.receiver.name, firing = message.firing,
      resolved = message.resolved, attempts = message.attempt, seconds = now - self.begun,
      waiting = self.queue.waiting }
  elseif fate == "lost" then
    self:say(("%d notifications are lost: %s (%d attempts)"):format(#message.alerts, why, message.attempt))
  elseif message.attempt == 1 then
    self:say(("%d notifications did not arrive: %s"):format(#message.alerts, why),
      ("it is tried again in %s, and %d times at most"):format(units.print(wait, "duration"), self.receiver.retries))
  end
  self.owner:settle()
end

-- Sends a message. The loop goes on; `ended` is called when it is over.
function Sender:send(message)
  local receiver = self.receiver
  local kept, bytes = { {}, {} }, 0
  self.begun = message.attempt == 1 and loop.now() or self.begun
  self.late = false
  local spec, failure, code = self:spec(message)
  if spec then
    function spec.output(fd, text)
      bytes = bytes + #text
      if bytes <= MOST_OUTPUT then table.insert(kept[fd], text) end
    end
    self.child, failure, code = child.start(spec, function(status, signal)
      self.child = nil
      if self.owner.closed then return end
      self.limit:stop()
      if self.late then
        local why = ("it did not answer within %s"):format(units.print(receiver.timeout, "duration"))
        return self:ended(false, why, true)
      end
      local judge = receiver.command and judge_command or judge_webhook
      local ok, why, again = judge(status, signal, table.concat(kept[1]), self:words(table.concat(kept[2])))
      self:ended(ok, why, again)
    end)
  end
  if not self.child then
    if code == "ENOENT" and not receiver.command then failure = "curl is not installed" end
    return self:ended(false, failure, true)
  end
  self.limit:start(loop.now() + receiver.timeout + (receiver.command and 0 or MARGIN))
end

-- Sends what can go now, and comes back when more may.
function Sender:go()
  local now = loop.now()
  local queue = self.queue
  if queue.dropped > self.dropped_told then
    self:say(("%d notifications were dropped: %d instances fire or wait to be told"):format(
      queue.dropped - self.dropped_told, self.receiver.queue), "raise queue, or notify of fewer keys")
    self.dropped_told = queue.dropped
  end
  local message = not self.child and queue:next(now, loop.wall())
  if message then return self:send(message) end
  local due = queue:due(now)
  if due then self.timer:start(due) else self.timer:stop() end
end

function Sender:close()
  self.timer:close()
  self.limit:close()
  if self.child then self.child:kill() end
  local left = self.queue:left()
  if left > 0 then self:say(("%d notifications are lost: the time for the end is over"):format(left)) end
end

-- ------------------------------------------------------------------------------------------------ all of a policy's

-- The sender of another declaration's receiver that means the same, which comes over with all that waits; nil.
local function take_sender(self, before, receiver)
  local sender = before and before.senders[receiver.name]
  if not sender or not sameness.equal(sender.receiver, receiver) then return nil end
  before.senders[receiver.name] = nil
  for i, one in ipairs(before.list) do
    if one == sender then table.remove(before.list, i) break end
  end
  sender.owner, sender.receiver = self, receiver
  return sender
end

--- `decl`: a policy's declaration; `emit`: function(event). `before`, if there is one: of the declaration that this one
--- takes the place of; receivers that mean the same go on. nil when it has no receivers.
function deliver.new(decl, emit, before)
  if #(decl.receivers or {}) == 0 then return nil end
  local self = setmetatable({ policy = decl.name, emit = emit, host = host_name(), senders = {}, list = {} }, Deliver)
  for i, receiver in ipairs(decl.receivers) do
    local sender = take_sender(self, before, receiver) or new_sender(receiver, self)
    self.list[i], self.senders[receiver.name] = sender, sender
  end
  return self
end

--- An act `notify` begins or ends. action: as decide.lua hands it out; wall: when, µs.
function Deliver:perform(action, wall)
  local queue = self.senders[action.what.receiver].queue
  if action.undo then
    queue:clear(action.rule, action.key, wall, action.reason, loop.now())
  else
    queue:fire({ rule = action.rule, key = action.key, reason = action.reason, values = action.values, start = wall },
      loop.now(), wall)
  end
end

--- All of a window's acts are performed: what can be sent is.
function Deliver:flush()
  for _, sender in ipairs(self.list) do sender:go() end
end

-- After something has ended: more may go, or that was all.
function Deliver:settle()
  if self.closed then return end
  self:flush()
  if not self.finished then return end
  for _, sender in ipairs(self.list) do
    if sender.child or not sender.queue:is_empty() then return end
  end
  self:finish()
end

--- Ends it now; what is under way is stopped, what is left is lost.
function Deliver:finish()
  if self.closed then return end
  self.closed = true
  if self.bound then self.bound:close() end
  for _, sender in ipairs(self.list) do sender:close() end
  if self.finished then self.finished() end
end

--- Sends what is left, for at most `seconds`; then calls finished().
function Deliver:close(seconds, finished)
  self.finished = finished
  self.bound = loop.timer(function() self:finish() end)
  self.bound:start(loop.now() + seconds)
  for _, sender in ipairs(self.list) do sender.queue:close() end
  self:settle()
end

return deliver
