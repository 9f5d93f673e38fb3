/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another's program: drops at XDP what comes from members of an exported set, as lua/perilune/build/exports.lua describes its layout. It knows
 * nothing else of perilune.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct address {
	__u8 octets[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct address);
	__type(value, __u8);
	__uint(max_entries, 100);
} attackers SEC(".maps");

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct address from = {.octets = {[10] = 0xff, [11] = 0xff}};
	struct ethhdr *eth = data;

	if (data + sizeof(*eth) + sizeof(struct ipv6hdr) > end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(eth + 1);

		__builtin_memcpy(&from.octets[12], &ip->saddr, 4);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		__builtin_memcpy(from.octets, &ip->saddr, 16);
	} else {
		return XDP_PASS;
	}
	return bpf_map_lookup_elem(&attackers, &from) ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
