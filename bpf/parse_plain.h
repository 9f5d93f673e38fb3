/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Most packets are plain: TCP or UDP directly in IPv4 without options or in IPv6, directly in Ethernet, whole, and with lengths that
 * hold. For them a level has a second function in which parsing and templates are one piece of code, and what a template does not look
 * at is never written down. It gives the same `struct packet` as the parser does; every other packet is left to that.
 */
#ifndef PERILUNE_PARSE_PLAIN_H
#define PERILUNE_PARSE_PLAIN_H

struct tcp_header {
	struct ports ports;
	struct tcp_rest rest;
};

struct udp_header {
	struct ports ports;
	struct udp_rest rest;
};

/* `at`: where the transport header is; `left`: octets from there on. */
static __always_inline bool parse__plain_tcp(struct packet *p, void *pos, void *end, __u32 at,
					     __u32 left, const __u32 needs)
{
	const struct tcp_header *tcp = pos;
	__u32 header;

	if (left < sizeof(*tcp) || (void *)(tcp + 1) > end)
		return false;
	header = (tcp->rest.offset >> 4) * 4;
	if (header < sizeof(*tcp) || header > left)
		return false;
	p->sport = tcp->ports.source;
	p->dport = tcp->ports.dest;
	p->tcp_flags = tcp__flags(&tcp->rest);
	p->headers += header;
	if (needs & NEED_TCP) {
		p->seq = bpf_ntohl(tcp->rest.seq);
		p->ack = bpf_ntohl(tcp->rest.ack_seq);
		p->window = bpf_ntohs(tcp->rest.window);
	}
	if (needs & NEED_PAYLOAD) {
		p->transport = at;
		p->payload = at + header;
		p->payload_len = left - header;
	}
	return true;
}

static __always_inline bool parse__plain_udp(struct packet *p, void *pos, void *end, __u32 at,
					     __u32 left, const __u32 needs)
{
	const struct udp_header *udp = pos;
	__u32 length;

	if (left < sizeof(*udp) || (void *)(udp + 1) > end)
		return false;
	length = bpf_ntohs(udp->rest.length);
	if (length < sizeof(*udp) || length > left || p->segments > 1)
		return false;
	p->sport = udp->ports.source;
	p->dport = udp->ports.dest;
	p->headers += sizeof(*udp);
	if (needs & NEED_PAYLOAD) {
		p->udp_length = length;
		p->transport = at;
		p->payload = at + sizeof(*udp);
		p->payload_len = length - sizeof(*udp);
	}
	return true;
}

static __always_inline bool parse__plain_transport(struct packet *p, void *pos, void *end, __u32 at,
						   __u32 left, const __u32 needs)
{
	if (p->proto == PROTO_TCP)
		return parse__plain_tcp(p, pos, end, at, left, needs);
	/* What a UDP port says is carried is not plain. */
	return p->proto == PROTO_UDP && !(needs & NEED_TUNNEL) &&
	       parse__plain_udp(p, pos, end, at, left, needs);
}

static __always_inline bool parse__plain_ipv4(struct packet *p, void *pos, void *end,
					      const __u32 needs)
{
	const struct iphdr *ip = pos;
	const __u32 at = sizeof(struct ethhdr);
	__u32 total, fragment;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl * 4 != sizeof(*ip))
		return false;
	total = bpf_ntohs(ip->tot_len);
	fragment = bpf_ntohs(ip->frag_off);
	if (total < sizeof(*ip) || total > p->wire - at || (fragment & 0x3fff))
		return false;
	p->ip = total;
	p->headers = sizeof(*ip);
	p->ip_version = 4;
	p->proto = ip->protocol;
	p->ip_id = bpf_ntohs(ip->id);
	if (needs & NEED_IP) {
		p->ttl = ip->ttl;
		p->tos = ip->tos;
		p->ip_flags = fragment >> 13;
	}
	if (needs & NEED_ADDRESSES) {
		ip_addr__from_v4(&p->src, ip->saddr);
		ip_addr__from_v4(&p->dst, ip->daddr);
	}
	return parse__plain_transport(p, pos + sizeof(*ip), end, at + sizeof(*ip),
				      total - sizeof(*ip), needs);
}

static __always_inline bool parse__plain_ipv6(struct packet *p, void *pos, void *end,
					      const __u32 needs)
{
	const struct ipv6hdr *ip = pos;
	const __u32 at = sizeof(struct ethhdr);
	__u32 payload;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return false;
	payload = bpf_ntohs(ip->payload_len);
	if (!payload || payload + sizeof(*ip) > p->wire - at)
		return false;
	p->ip = sizeof(*ip) + payload;
	p->headers = sizeof(*ip);
	p->ip_version = 6;
	p->proto = ip->nexthdr;
	if (needs & NEED_IP) {
		p->ttl = ip->hop_limit;
		p->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	}
	if (needs & NEED_ADDRESSES) {
		ip_addr__from_v6(&p->src, &ip->saddr);
		ip_addr__from_v6(&p->dst, &ip->daddr);
	}
	return parse__plain_transport(p, pos + sizeof(*ip), end, at + sizeof(*ip), payload, needs);
}

/* From p->wire and p->segments, which are set, to all that was asked for; false, with p in any state, when the packet is not plain. */
static __always_inline bool parse__plain(struct packet *p, void *data, void *end, const __u32 needs)
{
	const struct ethhdr *eth = data;

	if ((void *)(eth + 1) > end || p->wire < sizeof(*eth))
		return false;
	p->parsed = PARSED;
	p->link = sizeof(*eth);
	if (needs & NEED_ETHERTYPE) {
		p->ethertype = eth->h_proto;
		p->network = sizeof(*eth);
	}
	if (eth->h_proto == bpf_htons(ETHERTYPE_IPV4))
		return parse__plain_ipv4(p, data + sizeof(*eth), end, needs);
	return eth->h_proto == bpf_htons(ETHERTYPE_IPV6) &&
	       parse__plain_ipv6(p, data + sizeof(*eth), end, needs);
}

#endif
