-- SPDX-License-Identifier: Apache-2.0
-- perilune bench swap: what it costs to end a window, by every way, against compiling and loading the programs anew.
--
--   flip      one store, for template maps
--   twin_tcx  the program of a TCX link is replaced by the other instance's
--   twin_xdp  the same on XDP, in the driver
--   recompile clang, load, attach, detach the one before: what frameworks without windows do for a change
--
-- All sit on one veth interface in a network namespace of the process's own, which goes with it, however it ends. The
-- ways take turns; before each, packets from SOURCES addresses fill the maps.
local bench = require "perilune.core.bench"
local loop = require "perilune.core.loop"
local measurement = require "perilune.build.measurement"
local probe = require "perilune.core.probe"
local task = require "perilune.base.task"
local twin = require "perilune.core.twin"

local swap = { summary = "ending a window: the epoch flip, the twin over TCX and over XDP, a recompile" }

local WAYS = { "flip", "twin_tcx", "twin_xdp", "recompile" }
local ROUNDS = { flip = 100, twin_tcx = 100, twin_xdp = 100, recompile = 12 }
local SOURCES = 256
local PARTS = { "swap", "call", "grace", "read" } -- of a window's end, in seconds

local FLIP = [[
#include <perilune.h>
struct counts { __u64 packets, bytes; };
WINDOWED_HASH(rows, __u32, struct counts);
static __always_inline void level_base(struct packet *p, void *ctx)
{
	struct counts fresh = {}, *value;
	__u32 source;

	(void)ctx;
	if (p->ip_version != 4) /* neighbour discovery */
		return;
	source = p->src.octets[14] << 8 | p->src.octets[15];
	value = half__row(&rows, p->half, &source, &fresh);
	if (value)
		count__shared(value->packets, 1);
}
LEVEL_TC(tc_level_base, NEED_BASE, level_base)
SEC("tc") int tc_root(struct __sk_buff *ctx)
{
	union ctl_state state = hook__state();

	LEVEL(tc_level_base, ctx, state, ingress);
	return TC_PASS;
}
char LICENSE[] SEC("license") = "Dual BSD/GPL";
]]

local FOREIGN = [[
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct counts { __u64 packets, bytes; };
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct counts);
	__uint(max_entries, 1024);
} rows SEC(".maps");
static __always_inline void count(void *data, void *end)
{
	struct counts fresh = {}, *value;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	__u32 source;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(0x0800))
		return;
	source = bpf_ntohl(ip->saddr) & 0xffff;
	bpf_map_update_elem(&rows, &source, &fresh, BPF_NOEXIST);
	value = bpf_map_lookup_elem(&rows, &source);
	if (value)
		__sync_fetch_and_add(&value->packets, 1);
}
SEC("tc") int watch(struct __sk_buff *skb)
{
	count((void *)(long)skb->data, (void *)(long)skb->data_end);
	return -1;
}
SEC("xdp") int watch_xdp(struct xdp_md *xdp)
{
	count((void *)(long)xdp->data, (void *)(long)xdp->data_end);
	return 2;
}
char LICENSE[] SEC("license") = "GPL";
]]

local check = task.check

local Run = {}
Run.__index = Run

function Run:await(start) return self.task:await(start) end

function Run:compile(source)
  return self.task:compile {
    name = "<bench swap>", source = source, args = { "-I" .. self.share .. "/bpf" }, cache = "",
  }
end

function Run:attach(to, program, hook)
  local _, _, call = self:await(function(done)
    return to:attach({ program = program, hook = hook, ifindex = self.net:interface(),
      mode = hook == "xdp" and "native" or "tcx" }, done)
  end)
  return call
end

function Run:new_twin(object, program, hook)
  local t = check(twin.open(object, "<bench swap>"))
  check(t:use(program, hook))
  self:await(function(done) return t:load(done) end)
  self:attach(t, program, hook)
  self:await(function(done) return t:windows({ { map = "rows" } }, done) end)
  return t
end

function Run:prepare()
  self.flip = check(probe.open(self:compile(FLIP), "<bench swap>"))
  check(self.flip:entries("rows", 1024))
  self:await(function(done) return self.flip:load(done) end)
  check(self.flip:windows {
    { map = "hook_totals", kind = "array", entries = 2, index = "direction" }, { map = "rows", kind = "map" },
  })
  self:attach(self.flip, "tc_root", "tc.ingress")
  local foreign = self:compile(FOREIGN)
  self.twin_tcx = self:new_twin(foreign, "watch", "tc.ingress")
  self.twin_xdp = self:new_twin(foreign, "watch_xdp", "xdp")
end

-- way → function(run) → cost by part; the rows' number must be what was sent.
local ends = {}

function ends.flip(run)
  local began = loop.now()
  check(run.flip:flip(0))
  local flipped = loop.now() - began
  local batches, cost, call = run:await(function(done) return run.flip:drain({ true, true }, done) end)
  return { swap = cost.swap, call = flipped + call, grace = cost.grace, read = cost.read }, batches[2]
end

local function end_of_twin(run, of)
  local batches, cost, call = run:await(function(done) return of:swap({ true }, done) end)
  return { swap = cost.swap, call = call, grace = cost.grace, read = cost.read }, batches[1]
end

function ends.twin_tcx(run) return end_of_twin(run, run.twin_tcx) end
function ends.twin_xdp(run) return end_of_twin(run, run.twin_xdp) end

function ends.recompile(run)
  local began = loop.now()
  local object, calls = run:compile(FOREIGN)
  local compiled = loop.now()
  local fresh = check(twin.open(object, "<bench swap>"))
  check(fresh:use("watch", "tc.ingress"))
  local _, _, call = run:await(function(done) return fresh:load(done) end)
  local loaded = loop.now()
  calls = calls + call + run:attach(fresh, "watch", "tc.ingress")
  local finish = loop.now()
  if run.last then run.last:close() end
  run.last = fresh
  return { swap = finish - began, call = calls, compile = compiled - began, load = loaded - compiled,
    attach = finish - loaded }
end

function Run:round(i)
  for _, way in ipairs(WAYS) do
    if i <= ROUNDS[way] then
      check(self.net:send(SOURCES))
      local cost, batch = ends[way](self)
      if batch and batch:count() ~= SOURCES then
        error({ message = ("%s: %d rows of %d sources"):format(way, batch:count(), SOURCES) }, 0)
      end
      if i > 0 then -- the first one warms up
        for part, seconds in pairs(cost) do
          local list = self.seconds[way][part] or {}
          list[#list + 1] = seconds
          self.seconds[way][part] = list
        end
      end
    end
  end
end

function Run:measure()
  self:prepare()
  for i = 0, ROUNDS.flip do self:round(i) end
end

-- way → part → { median =, p99 = }, µs; and `rounds`
local function figures_of(seconds)
  local figures = {}
  for _, way in ipairs(WAYS) do
    figures[way] = { rounds = #seconds[way].swap }
    for part, list in pairs(seconds[way]) do
      figures[way][part] = { median = measurement.median(list) * 1e6, p99 = measurement.quantile(list, 0.99) * 1e6 }
    end
  end
  return figures
end

local function ratio(figures, way) return figures.recompile.swap.median / figures[way].swap.median end

local function print_json(out, figures)
  local parts = { "swap", "call", "grace", "read", "compile", "load", "attach" }
  for _, way in ipairs(WAYS) do
    local record, keys = { bench = "swap", way = way, rounds = figures[way].rounds }, { "bench", "way", "rounds" }
    for _, part in ipairs(parts) do
      local found = figures[way][part]
      record[part .. "_us"], record[part .. "_p99_us"] = found and found.median, found and found.p99
      keys[#keys + 1], keys[#keys + 2] = part .. "_us", part .. "_p99_us"
    end
    out(measurement.json("measurement", record, keys))
  end
  for _, way in ipairs(WAYS) do
    if way ~= "recompile" then
      out(measurement.json("ratio", { bench = "swap", name = way .. ":recompile", value = ratio(figures, way) },
        { "bench", "name", "value" }))
    end
  end
end

local function cell(found)
  if not found then return "-" end
  local format = found.median < 10 and "%.1f (%.1f)" or "%.0f (%.0f)"
  return format:format(found.median, found.p99)
end

local function print_table(out, figures)
  out(("ending a window with %d rows, µs: median (99th percentile)"):format(SOURCES))
  out(("  %-10s %18s %18s %18s %18s"):format("", "swap", "loop stands still", "grace period", "read and clear"))
  for _, way in ipairs(WAYS) do
    local cells = {}
    for i, part in ipairs(PARTS) do cells[i] = cell(figures[way][part]) end
    out(("  %-10s %18s %18s %18s %18s"):format(way, unpack(cells)))
  end
  local r = figures.recompile
  out(("  a recompile is clang %.0f ms, load %.1f ms, attach %.1f ms; its swap takes longer than that of"):format(
    r.compile.median / 1e3, r.load.median / 1e3, r.attach.median / 1e3))
  for _, way in ipairs(WAYS) do
    if way ~= "recompile" then out(("    %-9s %s times"):format(way, measurement.grouped(ratio(figures, way)))) end
  end
end

function swap.run(parsed, context)
  if parsed.entries then return context.fail "bench swap has no --entries" end
  local net, message, code = bench.net()
  if not net then return context.broke(message, code) end
  local run = setmetatable({ net = net, share = context.share, seconds = {} }, Run)
  for _, way in ipairs(WAYS) do run.seconds[way] = {} end
  local ok, status
  ok, message, code, status = task.run(function(t)
    run.task = t
    run:measure()
  end)
  for _, part in ipairs { "flip", "twin_tcx", "twin_xdp", "last" } do
    if run[part] then run[part]:close() end
  end
  if status then return status end
  if not ok then return context.broke(message, code) end
  local show = parsed.json and print_json or print_table
  show(context.out, figures_of(run.seconds))
  return context.exit.done
end

return swap
