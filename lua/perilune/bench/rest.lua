-- SPDX-License-Identifier: Apache-2.0
-- perilune bench rest: how long the daemon takes to answer, when it has nothing else to do and while somebody
-- reads a map of a million entries through it; all the time, a policy's windows end ten times a second.
--
--   quiet   one request after the other, on one connection
--   busy    the same, while another client reads the map, again and again
--
-- Requests of the two ways take turns. /v1/policies is what the daemon knows itself, /v1/policies/NAME asks the
-- policy's process, /metrics all of them. Every answer is whole, and so is every reading of the map: so many
-- rows as it has.
local bench = require "perilune.core.bench"
local child = require "perilune.core.child"
local loop = require "perilune.core.loop"
local measurement = require "perilune.build.measurement"
local stream = require "perilune.core.stream"
local task = require "perilune.base.task"

local rest = { summary = "the daemon's answers, while a map of a million entries is read and windows end" }

local ENTRIES = 1000000
local ROUNDS, REQUESTS = 5, 60 -- of each path and way in a round
local PATHS = { "/v1/policies", "/v1/policies/bench", "/metrics" }
local POLICY = [[return policy "bench" { attach = { iface = "lo", hook = "tc.ingress" }, window = "100ms",
  always = { counter "totals" {}, flows "from" { key = "src" } },
  exports = { metrics "totals" { "packets", "bytes" }, metrics "from" { "packets" } } }
]]
local PATIENCE = 30 -- seconds for the daemon to start

-- ---------------------------------------------------------------------------------------------- a client

local Client = {}
Client.__index = Client

local function connect(path)
  local self = setmetatable({ text = "" }, Client)
  self.stream = task.check(stream.connect {
    path = path,
    bytes = function(bytes) self:take(bytes) end,
    ended = function(message) self:over(nil, message or "the daemon has closed the connection") end,
  })
  return self
end

function Client:over(...)
  local done = self.done
  self.done = nil
  if done then done(...) end
end

-- An answer with a length is there when all of it is; one in chunks is only counted, to its last.
function Client:take(bytes)
  self.text = self.text .. bytes
  if not self.length and not self.chunked then
    local head, rest_of = self.text:match "^(.-\r\n\r\n)(.*)$"
    if not head then return end
    if not head:find "^HTTP/1.1 200" then return self:over(nil, head:match "^[^\r]*") end
    self.length, self.chunked = tonumber(head:match "Content%-Length: (%d+)"), head:find "chunked" ~= nil
    self.text = rest_of
  end
  if self.chunked then
    self:take_chunks()
  elseif #self.text >= self.length then
    self:over(true)
  end
end

local KEY = '"key":'

-- Counts the rows in a piece of the body; one may have been cut in two.
function Client:count(piece)
  piece = self.cut .. piece
  self.rows = self.rows + select(2, piece:gsub(KEY, ""))
  self.cut = piece:sub(-#KEY + 1)
end

-- Whole chunks: their length in hex, what is in them, a line's end. The last is empty.
function Client:take_chunks()
  local from = 1
  while true do
    local _, head_end, hex = self.text:find("^(%x+)\r\n", from)
    local size = hex and tonumber(hex, 16)
    if not size or #self.text < head_end + size + 2 then break end
    if size == 0 then return self:over(true) end
    self:count(self.text:sub(head_end + 1, head_end + size))
    from = head_end + size + 3
  end
  self.text = self.text:sub(from)
end

--- Asks; done(true) when the answer is whole.
function Client:ask(target, done)
  self.text, self.length, self.chunked, self.rows, self.cut, self.done = "", nil, nil, 0, "", done
  local ok, message = self.stream:write(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(target))
  if not ok then self:over(nil, message) end
end

-- ---------------------------------------------------------------------------------------------- a daemon

-- at: how the names of its files begin. daemon: gets its process, and its end.
local function start_daemon(t, program, at, daemon)
  local file = assert(io.open(at .. ".lua", "w"))
  file:write(POLICY)
  file:close()
  t:await(function(done)
    local message, code
    local finished = false
    local function once(...)
      if finished then return end
      finished = true
      done(...)
    end
    local text = ""
    daemon.process, message, code = child.start({
      argv = { "env", ("PERILUNE_STATE=%s.state"):format(at), program, "serve",
        "--listen", ("unix:%s.socket"):format(at), "--log", "info:text", ("bench=%s.lua"):format(at) },
      output = function(_, bytes)
        text = text .. bytes
        if text:find "policy attached" then once(true) end
        if text:find "not started" then once(nil, "the daemon's policy: " .. text) end
      end,
    }, function()
      daemon.ended = true
      once(nil, "the daemon ended: " .. text)
      if daemon.on_end then daemon.on_end(true) end
    end)
    if not daemon.process then return nil, message, code end
    local late = loop.timer(function() once(nil, "the daemon did not start in time") end)
    late:start(loop.now() + PATIENCE)
    return daemon.process
  end)
end

local function stop_daemon(t, daemon)
  if daemon.ended then return end
  t:await(function(done)
    daemon.on_end = done
    daemon.process:signal "SIGTERM"
    return true
  end)
end

local function timed(t, client, target)
  local begun = loop.now()
  t:await(function(done)
    client:ask(target, done)
    return true
  end)
  return (loop.now() - begun) * 1000
end

-- Reads the map again and again until told to stop; counts how often it was read whole.
local function keep_reading(path, id, entries)
  local reader = { whole = 0, client = connect(path) }
  local function next(ok, message)
    if not ok then
      reader.failure = message
    elseif ok ~= "first" then
      if reader.client.rows ~= entries then
        reader.failure = ("a map of %d entries was read as %d"):format(entries, reader.client.rows)
      end
      reader.whole = reader.whole + 1
    end
    if reader.failure then return end
    if reader.stopping then return reader.stopped and reader.stopped(true) end
    reader.client:ask(("/v1/maps/%d"):format(id), next)
  end
  next "first"
  return reader
end

local function stop_reading(t, reader)
  t:await(function(done)
    if reader.failure then return nil, reader.failure end
    reader.stopping, reader.stopped = true, done
    return true
  end)
  if reader.failure then error({ message = reader.failure }, 0) end
  reader.client.stream:close()
end

local function measure(t, path, id, entries)
  local client, figures, read = connect(path), {}, 0
  for _, target in ipairs(PATHS) do figures[target] = { quiet = {}, busy = {} } end
  for _ = 1, ROUNDS do
    for _, way in ipairs { "quiet", "busy" } do
      local reader = way == "busy" and keep_reading(path, id, entries)
      while reader and reader.whole == 0 and reader.client.rows == 0 and not reader.failure do
        timed(t, client, "/v1/health") -- until the first rows come
      end
      for _ = 1, REQUESTS do
        for _, target in ipairs(PATHS) do table.insert(figures[target][way], timed(t, client, target)) end
      end
      if reader then
        stop_reading(t, reader)
        read = read + reader.whole
      end
    end
  end
  return figures, read
end

local KEYS = { "bench", "path", "way", "entries", "reads", "rounds", "ms", "p99_ms" }

local function report(context, json, figures, entries, read)
  if not json then
    context.out(("a map of %s entries was read %d times; ms an answer"):format(measurement.grouped(entries), read))
    context.out "                          median    99th percentile"
  end
  for _, target in ipairs(PATHS) do
    for _, way in ipairs { "quiet", "busy" } do
      local list = figures[target][way]
      local median, p99 = measurement.median(list), measurement.quantile(list, 0.99)
      if json then
        context.out(measurement.json("measurement", { bench = "rest", path = target, way = way, entries = entries,
          reads = way == "busy" and read or nil, rounds = #list, ms = median, p99_ms = p99 }, KEYS))
      else
        context.out(("  %-20s %-5s %6.2f   %6.2f"):format(target, way, median, p99))
      end
    end
  end
end

local function entries_of(parsed)
  if not parsed.entries then return ENTRIES end
  local entries = tonumber(parsed.entries)
  if entries and entries >= 1000 and entries <= 1e7 and entries % 1 == 0 then return entries end
end

function rest.run(parsed, context)
  local entries = entries_of(parsed)
  if not entries then
    return context.fail(("--entries %s: expected a number from 1000 to 10000000"):format(parsed.entries))
  end
  local program, message, code = child.program()
  if not program then return context.broke(message, code) end
  local map
  map, message, code = bench.table("hash", entries)
  if not map then return context.broke(message, code) end
  local ok
  ok, message, code = map:fill()
  if not ok then return context.broke(message, code) end
  local at, daemon = os.tmpname(), {}
  local ended
  ok, message, code, ended = task.run(function(t)
    start_daemon(t, program, at, daemon)
    local figures, read = measure(t, at .. ".socket", map:id(), entries)
    report(context, parsed.json, figures, entries, read)
    stop_daemon(t, daemon)
  end)
  if daemon.process and not daemon.ended then daemon.process:kill() end
  for _, suffix in ipairs { "", ".lua", ".socket", ".state" } do os.remove(at .. suffix) end
  map:close()
  if ok then return context.exit.done end
  return ended or context.broke(message, code)
end

return rest
