-- SPDX-License-Identifier: Apache-2.0
-- perilune bench packet: what templates and their features cost a packet, beside programs written by hand.
--
-- Every program runs on a frame in memory (BPF_PROG_TEST_RUN), net of one that only lets packets pass. The programs
-- take turns; a figure is the median of the rounds, and a ratio the median of the rounds' ratios. A frame is one that
-- the template is for, always the same, so the tables it is counted in are warm.
local cost = require "perilune.build.cost"
local frames = require "perilune.build.frames"
local measurement = require "perilune.build.measurement"
local task = require "perilune.base.task"

local packet = { summary = "ns and instructions a packet: each template and feature, beside programs written by hand" }

local ROUNDS, REPEAT = 15, 50000

-- What somebody would write who wants a row for every 5-tuple of IPv4 and IPv6 and nothing else. With WINDOWS, what a
-- probe promises beside: two halves that are swapped, and the hook's totals. IPV4: keys of 16 octets. PERCPU: values of
-- each CPU's own.
local BY_HAND = [[
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct key {
#ifdef IPV4
	__be32 src, dst;
#else
	__be32 src[4], dst[4];
#endif
	__be16 sport, dport;
	__u8 proto, version;
	__u16 unused;
};
struct value { __u64 packets, skbs, bytes; };
struct rows {
#ifdef PERCPU
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
#else
	__uint(type, BPF_MAP_TYPE_HASH);
#endif
	__type(key, struct key);
	__type(value, struct value);
	__uint(max_entries, 65536);
};
#ifdef PERCPU
#define ADD(TO, N) ((TO) += (N))
#else
#define ADD(TO, N) __sync_fetch_and_add(&(TO), N)
#endif
#ifdef WINDOWS
struct rows rows_0 SEC(".maps"), rows_1 SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct rows);
} rows SEC(".maps") = {.values = {&rows_0, &rows_1}};
struct totals { __u64 packets, skbs, bytes, frame_bytes; };
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct totals);
} totals SEC(".maps");
struct { __u32 epoch, level; __u64 lease; } state SEC(".data.state");
static __always_inline void *table(__u32 half)
{
	return bpf_map_lookup_elem(&rows, &half);
}
#else
struct rows rows SEC(".maps");
#define table(HALF) ((void)(HALF), (void *)&rows)
#endif
struct ports { __be16 source, dest; };
static __always_inline int parse(struct key *key, __u32 *bytes, void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct ports *ports;

	if ((void *)(eth + 1) > end)
		return 0;
	__builtin_memset(key, 0, sizeof(*key));
	if (eth->h_proto == bpf_htons(0x0800)) {
		if ((void *)(ip + 1) > end || ip->ihl < 5)
			return 0;
#ifdef IPV4
		key->src = ip->saddr;
		key->dst = ip->daddr;
#else
		key->src[2] = key->dst[2] = bpf_htonl(0xffff);
		key->src[3] = ip->saddr;
		key->dst[3] = ip->daddr;
#endif
		key->proto = ip->protocol;
		key->version = 4;
		*bytes = bpf_ntohs(ip->tot_len);
		ports = (void *)ip + ip->ihl * 4;
		if (ip->frag_off & bpf_htons(0x1fff))
			return 1;
	} else if (eth->h_proto == bpf_htons(0x86dd)) {
#ifdef IPV4
		return 0;
#else
		struct ipv6hdr *ip6 = data + sizeof(*eth);

		if ((void *)(ip6 + 1) > end)
			return 0;
		__builtin_memcpy(key->src, &ip6->saddr, 16);
		__builtin_memcpy(key->dst, &ip6->daddr, 16);
		key->proto = ip6->nexthdr;
		key->version = 6;
		*bytes = 40 + bpf_ntohs(ip6->payload_len);
		ports = (void *)(ip6 + 1);
#endif
	} else {
		return 0;
	}
	if (key->proto == 6 || key->proto == 17) {
		if ((void *)(ports + 1) > end)
			return 1;
		key->sport = ports->source;
		key->dport = ports->dest;
	}
	return 1;
}
SEC("xdp.frags") int by_hand(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct value fresh = {}, *value;
	struct key key;
	__u32 bytes = 0, half = 0;
	void *to;
#ifdef WINDOWS
	struct totals *all;
	__u32 slot;

	half = *(volatile __u32 *)&state.epoch & 1;
	slot = half * 2;
#endif
	if (!parse(&key, &bytes, data, end))
		return 2;
#ifdef WINDOWS
	all = bpf_map_lookup_elem(&totals, &slot);
	if (all) {
		all->packets++;
		all->skbs++;
		all->bytes += bytes;
		all->frame_bytes += bpf_xdp_get_buff_len(ctx);
	}
#endif
	to = table(half);
	if (!to)
		return 2;
	value = bpf_map_lookup_elem(to, &key);
	if (!value) {
		bpf_map_update_elem(to, &key, &fresh, 1);
		value = bpf_map_lookup_elem(to, &key);
		if (!value)
			return 2;
	}
	ADD(value->packets, 1);
	ADD(value->skbs, 1);
	ADD(value->bytes, bytes);
	return 2;
}
char LICENSE[] SEC("license") = "GPL";
]]

local HANDS = {
  { name = "by_hand", args = { "-DWINDOWS" } }, { name = "by_hand_bare", args = {} },
  { name = "by_hand_percpu", args = { "-DWINDOWS", "-DPERCPU" } },
  { name = "by_hand_ipv4", args = { "-DWINDOWS", "-DIPV4" } },
}

-- Several templates in one program, against one program each.
local FUSED = { "counter", "flows", "netflow" }

-- Rules that the kernel tests: on packets that change none of its counters, what every packet pays for it; and on ones
-- that change one.
local function trigger(name, when)
  return { name = name, template = "counter", features = { "tcp_flags" },
    rules = ('rule "surge" { trigger = "50ms", when = %s, act = log }'):format(when) }
end

local TRIGGERS = {
  trigger("trigger", '(rate "p1.syn" - rate "p1.syn_ack"):above "1k/s"'),
  trigger("trigger_counts", 'rate("p1.packets"):above "1G/s"'),
}

-- The ratios to print: { name, numerators, denominators }, the figures of which are added up.
local RATIOS = {
  { "flows:by_hand", { "flows" }, { "by_hand" } },
  { "flows:by_hand_bare", { "flows" }, { "by_hand_bare" } },
  { "percpu:shared", { "by_hand_percpu" }, { "by_hand" } },
  { "ipv4_key:common_key", { "by_hand_ipv4" }, { "by_hand" } },
  { "fused:separate", { "fused" }, FUSED },
  { "trigger:without", { "trigger" }, { "counter.tcp_flags" } },
  { "trigger_counts:without", { "trigger_counts" }, { "counter.tcp_flags" } },
}

-- All programs: { name, template, feature, source, args, frame }.
local function programs(context)
  local list = { { name = "empty", source = cost.EMPTY }, { name = "hook", source = cost.HOOK } }
  for _, hand in ipairs(HANDS) do
    list[#list + 1] = { name = hand.name, source = BY_HAND, args = hand.args }
  end
  for _, name in ipairs(context.templates:names()) do
    local manifest = task.check(context.templates:get(name))
    for _, variant in ipairs(cost.variants(manifest)) do list[#list + 1] = variant end
  end
  list[#list + 1] = { name = "fused", probes = FUSED }
  for _, one in ipairs(TRIGGERS) do list[#list + 1] = one end
  return list
end

local function measure(t, context)
  local list = programs(context)
  for _, program in ipairs(list) do
    program.frame = frames.of(program.template)
    cost.load(t, program, context)
  end
  cost.measure(t, list, { rounds = ROUNDS, times = REPEAT })
  return list
end

local function ratio_of(by_name, of)
  local values = {}
  for round = 1, ROUNDS do
    local sums = { 0, 0 }
    for i = 1, 2 do
      for _, name in ipairs(of[i + 1]) do sums[i] = sums[i] + by_name[name].net[round] end
    end
    values[round] = sums[1] / sums[2]
  end
  return measurement.median(values)
end

local KEYS = { "bench", "program", "template", "feature", "ns", "more_ns", "instructions", "more_instructions",
  "verified", "states", "map_bytes" }

local function print_json(out, list, ratios)
  for _, p in ipairs(list) do
    out(measurement.json("measurement", {
      bench = "packet", program = p.name, template = p.template, feature = p.feature, ns = p.ns, more_ns = p.more_ns,
      instructions = p.cost.instructions, more_instructions = p.more_instructions, verified = p.cost.verified,
      states = p.cost.states, map_bytes = p.cost.map_bytes,
    }, KEYS))
  end
  for _, ratio in ipairs(ratios) do
    out(measurement.json("ratio", { bench = "packet", name = ratio.name, value = ratio.value },
      { "bench", "name", "value" }))
  end
end

local function print_table(out, list, ratios)
  out(("a packet, net of a program that only lets it pass; median of %d rounds, XDP"):format(ROUNDS))
  out(cost.header())
  for _, program in ipairs(list) do out(cost.line(program)) end
  out "\nratios of time"
  for _, ratio in ipairs(ratios) do out(("  %-22s %.2f"):format(ratio.name, ratio.value)) end
end

function packet.run(parsed, context)
  if parsed.entries then return context.fail "bench packet has no --entries" end
  local list, ratios = nil, {}
  local ok, message, code, status = task.run(function(t) list = measure(t, context) end)
  if status then return status end
  if not ok then return context.broke(message, code) end
  local by_name = {}
  for _, program in ipairs(list) do by_name[program.name] = program end
  for i, of in ipairs(RATIOS) do ratios[i] = { name = of[1], value = ratio_of(by_name, of) } end
  local show = parsed.json and print_json or print_table
  show(context.out, list, ratios)
  return context.exit.done
end

return packet
