-- SPDX-License-Identifier: Apache-2.0
-- perilune bench inject: what it costs to inject a counter of packets in Dynmon's dialect, against what it cannot do
-- without.
--
--   bare    libbpf's open, load and attach of the same object, and nothing else
--   cached  over the daemon's socket: created and attached, two requests; the object is in the cache
--   clang   the compiler alone, with the same arguments and headers
--   cold    as cached, with code that has never been seen
--
-- The daemon runs in a network namespace of the process's own, with a cache and a socket of its own. The ways take
-- turns.
local bench = require "perilune.core.bench"
local build = require "perilune.dynmon.build"
local child = require "perilune.core.child"
local client = require "perilune.client"
local compile = require "perilune.core.compile"
local loop = require "perilune.core.loop"
local measurement = require "perilune.build.measurement"
local task = require "perilune.base.task"
local translate = require "perilune.dynmon.translate"

local inject = {
  summary = "a counter in Dynmon's dialect: over the daemon, cached and cold, beside libbpf and clang alone",
}

local WAYS = { "bare", "cached", "clang", "cold" }
local ROUNDS = 21
local READY_SECONDS = 30
local NAME = "counter"

local CODE = [[
BPF_ARRAY(PACKETS, uint64_t, 1);
static __always_inline int handle_rx(struct CTXTYPE *ctx, struct pkt_metadata *md) {
  unsigned int key = 0;
  uint64_t *packets = PACKETS.lookup(&key);
  if (packets)
    *packets += 1;
  pcn_log(ctx, LOG_TRACE, "packets: %d", *packets);
  return RX_OK;
}
]]

local check = task.check

local Run = {}
Run.__index = Run

local function configuration(code)
  return { ["dataplane-config"] = {
    ["ingress-path"] = { name = "packets", code = code, ["metric-configs"] = { { name = "packets_total",
      ["map-name"] = "PACKETS" } } },
    ["egress-path"] = {},
  }, type = "TC", loglevel = "OFF" }
end

function Run:ask(method, path, body)
  return self.task:await(function(done)
    return self.daemon:ask(method, "/polycube/v1" .. path, body, function(value, failure)
      if failure then return done(nil, failure.message, failure.code) end
      done(value or "")
    end, 60)
  end)
end

-- Starts the daemon, and waits until it answers.
function Run:start(program)
  local said = ""
  self.process = check(child.start({ argv = {
      "env", "PERILUNE_STATE=" .. self.directory, "PERILUNE_CACHE=" .. self.directory .. "/cache", program, "serve",
      "--listen", "unix:" .. self.socket, "--log", "info:json",
    },
    output = function(_, bytes) said = (said .. bytes):sub(-4000) end }, function() self.ended = true end))
  self.daemon = client.new { path = self.socket, shown = self.socket }
  local late = loop.now() + READY_SECONDS
  while not said:find '"message":"listening"' do
    if self.ended or loop.now() > late then error({ message = "the daemon did not start: " .. said }, 0) end
    self.task:await(function(done)
      local timer
      timer = loop.timer(function()
        timer:close()
        done(true)
      end)
      timer:start(loop.now() + 0.01)
      return timer
    end)
  end
end

local ways = {}

function ways.bare(run) return (check(bench.bare(run.object, "dynmon_ingress", run.ifindex))) end

-- Created and attached, over the interface.
local function over_interface(run, code)
  local began = loop.now()
  run:ask("POST", "/dynmon/" .. NAME, configuration(code))
  run:ask("POST", "/attach", { cube = NAME, port = run.iface })
  local seconds = loop.now() - began
  run:ask("DELETE", "/dynmon/" .. NAME)
  return seconds
end

function ways.cached(run) return over_interface(run, CODE) end

function ways.cold(run)
  run.fresh = (run.fresh or 0) + 1
  return over_interface(run, ("%s/* %d */\n"):format(CODE, run.fresh))
end

function ways.clang(run)
  return (check(bench.child { run.clang, "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-idirafter", run.multiarch,
    "-I" .. run.share .. "/bpf", "-w", "-c", run.file, "-o", "/dev/null" }))
end

-- Where <asm/types.h> is, as clang for another machine does not look there.
local function multiarch()
  local pipe = assert(io.popen "uname -m")
  local machine = pipe:read "*l"
  pipe:close()
  return ("/usr/include/%s-linux-gnu"):format(machine)
end

function Run:prepare()
  local done = check(translate.code(CODE, { name = "ingress-path", program = "dynmon_ingress" }))
  local file = check(io.open(self.file, "w"))
  file:write(done.source)
  file:close()
  self.object = self.task:compile { name = "<bench inject>", source = done.source, cache = "",
    args = { "-I" .. self.share .. "/bpf", unpack(build.ARGUMENTS) } }
end

function Run:measure(program)
  self:prepare()
  self:start(program)
  for round = 0, ROUNDS do
    for _, way in ipairs(WAYS) do
      local seconds = ways[way](self)
      if round > 0 then table.insert(self.seconds[way], seconds * 1000) end -- the first one warms up
    end
  end
end

local function print_json(out, figures, ratios)
  for _, way in ipairs(WAYS) do
    local one = figures[way]
    out(measurement.json("measurement", { bench = "inject", way = way, rounds = ROUNDS, ms = one.median,
      least_ms = one.least, most_ms = one.most }, { "bench", "way", "rounds", "ms", "least_ms", "most_ms" }))
  end
  for _, ratio in ipairs(ratios) do
    out(measurement.json("ratio", { bench = "inject", name = ratio[1], value = ratio[2] },
      { "bench", "name", "value" }))
  end
end

local function print_table(out, figures, ratios)
  out "way       ms (median)    least     most"
  for _, way in ipairs(WAYS) do
    local one = figures[way]
    out(("%-8s %12.1f %8.1f %8.1f"):format(way, one.median, one.least, one.most))
  end
  out(("cached is bare and %.1f ms; cold is bare and %.2f times clang"):format(ratios[1][2], ratios[2][2]))
end

function inject.run(parsed, context)
  if parsed.entries then return context.fail "bench inject has no --entries" end
  local program, message, code = child.program()
  local clang, net
  if program then clang, message, code = compile.clang() end
  if clang then net, message, code = bench.net() end
  if not net then return context.broke(message, code) end
  local directory = os.tmpname()
  os.remove(directory)
  os.execute(("mkdir -m 0700 %s"):format(directory))
  local run = setmetatable({
    net = net, directory = directory, share = context.share, seconds = {}, clang = clang,
    file = directory .. "/counter.c",
    socket = directory .. "/socket", ifindex = net:interface(), iface = net:name(), multiarch = multiarch(),
  }, Run)
  for _, way in ipairs(WAYS) do run.seconds[way] = {} end
  local ok, status
  ok, message, code, status = task.run(function(t)
    run.task = t
    run:measure(program)
  end)
  if run.process then run.process:kill() end
  os.execute("rm -rf " .. directory)
  if status then return status end
  if not ok then return context.broke(message, code) end
  local figures = {}
  for _, way in ipairs(WAYS) do
    local list = run.seconds[way]
    figures[way] = { median = measurement.median(list), least = list[1], most = list[#list] }
  end
  local bare = figures.bare.median
  local ratios = { { "cached:bare_more_ms", figures.cached.median - bare },
    { "cold:clang", (figures.cold.median - bare) / figures.clang.median } }
  local show = parsed.json and print_json or print_table
  show(context.out, figures, ratios)
  return context.exit.done
end

return inject
