-- SPDX-License-Identifier: Apache-2.0
-- perilune bench escalate: how fast a deeper level is in force once a packet has tripped a trigger, on an interface
-- that packets come in on from every CPU, in one run:
--
--   kernel     the trigger raises the level: how many packets later, on its CPU, the deeper program runs, and when
--   lua        the trigger only tells: from the packet that trips to the store, decided by a policy's engine (live.lua)
--   recompile  what frameworks that generate code do: the deeper program is compiled, loaded and attached then
--
-- All sit on one veth interface in a network namespace of the process's own, which goes with it, however it ends.
local bench = require "perilune.core.bench"
local build = require "perilune.build"
local live = require "perilune.run.live"
local loop = require "perilune.core.loop"
local measurement = require "perilune.build.measurement"
local policy = require "perilune.policy"
local probe = require "perilune.core.probe"
local task = require "perilune.base.task"
local view = require "perilune.records.view"

local escalate = { summary = "from the packet that trips to a deeper level: by the kernel, by Lua, by a recompile" }

local ROUNDS = { kernel = 300, lua = 200, recompile = 8 }
local WAYS = { "kernel", "lua", "recompile" }
-- A second and core; and marked ones, which trip the triggers, so many so often.
local LOAD = { packets = 40000, marked = 30, milliseconds = 150 }

-- The first packet that the deeper level sees on the CPU that has tripped says how many packets of that CPU are between
-- (1: it is the next), and how long it took.
local KERNEL = [[
#define HOOK_TRIGGERS
#include <perilune.h>
struct counts { __u64 packets; };
struct mark { __u64 number, tripped, at; };
struct first { __u64 packets, ns; };
struct first *const first_in_btf = 0;
WINDOWED_ARRAY(counts, struct counts, 2);
SCRATCH(marks, struct mark);
RING(firsts, 65536);
static __always_inline bool busy_holds(const struct trigger_sums *sums)
{
	return (__s64)sums->by[0] > 20;
}
TRIGGER(busy, early, .index = 0, .fields = 1, .slice = 5000000, .to = 1)
static __always_inline void count(struct packet *p)
{
	struct counts *value = half__value(&counts, p->half, 2, p->direction);

	if (value)
		count__own(value->packets, 1);
}
static __always_inline void base(struct packet *p, void *ctx)
{
	struct trigger_sums more = {.by = {1}};
	struct mark *mark = scratch__value(&marks);

	(void)ctx;
	count(p);
	if (!mark)
		return;
	mark->number++;
	if (busy_count(&more, p->half, 0)) {
		mark->tripped = mark->number;
		mark->at = bpf_ktime_get_ns();
	}
}
static __always_inline void deep(struct packet *p, void *ctx)
{
	struct mark *mark = scratch__value(&marks);
	struct first first;

	(void)ctx;
	count(p);
	if (!mark)
		return;
	mark->number++;
	if (!mark->tripped)
		return;
	first = (struct first){mark->number - mark->tripped, bpf_ktime_get_ns() - mark->at};
	mark->tripped = 0;
	ring__send(&firsts, &firsts_lost, p->half, &first, sizeof(first));
}
LEVEL_TC(tc_level_base, NEED_NOTHING, base)
LEVEL_TC(tc_level_deep, NEED_NOTHING, deep)
SEC("tc") int tc_root(struct __sk_buff *ctx)
{
	union ctl_state state = hook__state();

	if (state.level)
		LEVEL(tc_level_deep, ctx, state, ingress);
	else
		LEVEL(tc_level_base, ctx, state, ingress);
	return TC_PASS;
}
char LICENSE[] SEC("license") = "Dual BSD/GPL";
]]

-- Up by the marked packets, and down again with the first window that is judged.
local POLICY = [[
return policy "escalate" {
  attach = { iface = "bench1", hook = "tc.ingress" }, window = "1s",
  always = { counter "totals" {}, counter "marked" { filter = "udp dst port 9" } },
  levels = { level "calm" {}, level "deep" { flows "to" { key = "dst" }, window = "10ms" } },
  rules = { rule "marked" { trigger = "50ms", when = rate("marked.packets"):above "200/s",
                            clear = rate("marked.packets"):below "100/s", hold = "deep" } },
}]]

local check = task.check

local Run = {}
Run.__index = Run

function Run:await(start) return self.task:await(start) end

-- The list of what a way took, one more.
function Run:took(way, part, value)
  local list = self.figures[way][part] or {}
  list[#list + 1] = value
  self.figures[way][part] = list
end

function Run:load_kernel()
  local object = self.task:compile {
    name = "<bench escalate>", source = KERNEL, args = { "-I" .. self.share .. "/bpf" }, cache = "",
  }
  local p = check(probe.open(object, "<bench escalate>"))
  self:await(function(done) return p:load(done) end)
  check(p:windows {
    { map = "hook_totals", kind = "array", entries = 2, index = "direction" },
    { map = "counts", kind = "array", entries = 2, index = "direction" },
    { map = "trigger_events_lost", kind = "array", entries = 1 }, { map = "firsts_lost", kind = "array", entries = 1 },
  })
  self:await(function(done)
    return p:attach({ program = "tc_root", hook = "tc.ingress", ifindex = self.net:interface(), mode = "tcx" }, done)
  end)
  return p
end

-- Ends the window and reads it, as often as it takes until the base level runs.
local function go_back(run, p)
  repeat
    local _, _, began = p:flip(0)
    local batches = run:await(function(done) return p:drain({ true, true, true, true }, done) end)
    for _, batch in pairs(batches) do batch:close() end
  until began.level == 0
end

function Run:kernel()
  local p = self:load_kernel()
  local came, waiting = {}, nil
  local firsts = check(p:events("firsts", "first", function(batch)
    for _, row in view.new(batch, {}):rows() do came[#came + 1] = { packets = row.packets, ns = row.ns } end
    batch:close()
    if waiting and #came > 0 then waiting(true) end
  end))
  local trips = check(p:events("trigger_events", "trigger_event", function(batch) batch:close() end))
  local limit = loop.timer(function() -- which also keeps the loop running: events alone do not
    if waiting then waiting(nil, "no packet has tripped the trigger") end
  end)
  for _ = 1, ROUNDS.kernel do
    came = {}
    limit:start(loop.now() + 10)
    self:await(function(done)
      waiting = done
      p:arm(1, 1)
      return true
    end)
    waiting = nil
    limit:stop()
    p:arm(0, 0)
    self:took("kernel", "packets", came[1].packets)
    self:took("kernel", "ns", came[1].ns)
    go_back(self, p)
  end
  limit:close()
  firsts:close()
  trips:close()
  self:await(function(done) return p:detach(done) end)
  p:close()
end

-- A sink that hears nothing.
local DEAF = { event = function() return true end, status = function() end }

function Run:lua()
  local decl = check(policy.load { source = POLICY, name = "<bench escalate>", set = {}, templates = self.templates })
  local bench_run, rounds, tripped, woken = self, 0, nil, nil
  self:await(function(done)
    local run = live.new {
      decl = decl, share = self.share, sink = DEAF, interfaces = { { name = "bench1", index = self.net:interface() } },
      finished = function(message, code)
        if message then done(nil, message, code) else done(true) end
      end,
    }
    local driver = getmetatable(run).__index
    -- The trigger tells, and leaves the level to the engine.
    function run:arm() self.probe:arm(self.engine:triggers(), 0) end
    function run:tripped(list)
      tripped, woken = list[1].mono, loop.now()
      driver.tripped(self, list)
    end
    function run:settle(flipped, ...)
      if flipped.cut == "trigger" and tripped then
        bench_run:took("lua", "us", (flipped.mono - tripped) * 1e6)
        bench_run:took("lua", "decided_us", (flipped.mono - woken) * 1e6)
        rounds, tripped = rounds + 1, nil
      end
      driver.settle(self, flipped, ...)
      if rounds == ROUNDS.lua then self:stop() end
    end
    run:start()
    return true
  end)
end

function Run:recompile()
  local text = POLICY:gsub('level "calm" {}, ', ""):gsub("rules = .*", "}")
  local decl = check(policy.load { source = text, name = "<bench escalate>", set = {}, templates = self.templates })
  local planned = check(build.plan(decl, { share = self.share }))
  local last
  for _ = 1, ROUNDS.recompile do
    local began = loop.now()
    local object = self.task:compile {
      name = "<bench escalate>", source = planned.source, args = planned.args, cache = "",
    }
    local compiled = loop.now()
    local p = check(probe.open(object, "<bench escalate>"))
    for _, map in ipairs(planned.entries) do check(p:entries(map.map, map.entries)) end
    self:await(function(done) return p:load(done) end)
    self:await(function(done)
      return p:attach({ program = planned.roots[1].program, hook = "tc.ingress", ifindex = self.net:interface(),
        mode = "tcx" }, done)
    end)
    local finish = loop.now()
    self:took("recompile", "us", (finish - began) * 1e6)
    self:took("recompile", "compile_us", (compiled - began) * 1e6)
    if last then last:close() end
    last = p
  end
  last:close()
end

function Run:measure()
  check(self.net:load(LOAD))
  local began = loop.now()
  for _, way in ipairs(WAYS) do self[way](self) end
  self.pace = self.net:unload() / (loop.now() - began)
end

-- way → { rounds, median, p99 } of its time, in µs; of the kernel how often it was the next packet; of lua the 99th
-- percentile of what is left when the time until the process has a CPU is not counted.
local function summary_of(figures)
  local out = {}
  for _, way in ipairs(WAYS) do
    local list, unit = figures[way].us or figures[way].ns, figures[way].us and 1 or 1e-3
    out[way] = { rounds = #list, median = measurement.median(list) * unit }
    out[way].p99 = measurement.quantile(list, 0.99) * unit
  end
  out.kernel.next = 0
  for _, packets in ipairs(figures.kernel.packets) do
    if packets == 1 then out.kernel.next = out.kernel.next + 1 end
  end
  out.lua.decided_p99 = measurement.quantile(figures.lua.decided_us, 0.99)
  out.recompile.compile = measurement.median(figures.recompile.compile_us)
  return out
end

local function print_json(out, of, pace)
  for _, way in ipairs(WAYS) do
    out(measurement.json("measurement", {
      bench = "escalate", way = way, rounds = of[way].rounds, us = of[way].median, p99_us = of[way].p99,
      next_packet = of[way].next, decided_p99_us = of[way].decided_p99, compile_us = of[way].compile,
      packets_per_second = pace,
    }, { "bench", "way", "rounds", "us", "p99_us", "next_packet", "decided_p99_us", "compile_us",
      "packets_per_second" }))
  end
  out(measurement.json("ratio", {
    bench = "escalate", name = "recompile:lua", value = of.recompile.median / of.lua.median,
  }, { "bench", "name", "value" }))
end

local function print_table(out, of, pace)
  out(("from the packet that trips to the deeper level, under %s packets/s, µs: median (99th percentile)"):format(
    measurement.grouped(pace)))
  out(("  kernel      %8.1f (%.1f)   the next packet of that CPU in %d of %d"):format(of.kernel.median, of.kernel.p99,
    of.kernel.next, of.kernel.rounds))
  out(("  lua         %8.0f (%.0f)   to the store; %d times; once perilune has a CPU, 99 in 100 take at most %.0f")
    :format(of.lua.median, of.lua.p99, of.lua.rounds, of.lua.decided_p99))
  local r = of.recompile
  out(("  recompile   %8.0f (%.0f)   of which clang %.0f; %d times, %s times as long as lua"):format(r.median, r.p99,
    r.compile, r.rounds, measurement.grouped(r.median / of.lua.median)))
end

function escalate.run(parsed, context)
  if parsed.entries then return context.fail "bench escalate has no --entries" end
  local net, message, code = bench.net()
  if not net then return context.broke(message, code) end
  local run = setmetatable({
    net = net, share = context.share, templates = context.templates,
    figures = { kernel = {}, lua = {}, recompile = {} },
  }, Run)
  local ok, status
  ok, message, code, status = task.run(function(t)
    run.task = t
    run:measure()
  end)
  net:unload()
  if status then return status end
  if not ok then return context.broke(message, code) end
  local show = parsed.json and print_json or print_table
  show(context.out, summary_of(run.figures), run.pace)
  return context.exit.done
end

return escalate
