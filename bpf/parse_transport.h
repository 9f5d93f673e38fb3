/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* From the transport header to ports, flags, and where its payload begins. */
#ifndef PERILUNE_PARSE_TRANSPORT_H
#define PERILUNE_PARSE_TRANSPORT_H

struct ports {
	__be16 source;
	__be16 dest;
};

/* The part of a TCP header behind the ports. */
struct tcp_rest {
	__be32 seq;
	__be32 ack_seq;
	__u8 offset; /* high nibble: header length in words; low: the highest flags */
	__u8 flags;
	__be16 window;
	__sum16 check;
	__be16 urgent;
};

struct udp_rest {
	__be16 length; /* 0: more than fits, or merged */
	__sum16 check;
};

static __always_inline __u16 tcp__flags(const struct tcp_rest *tcp)
{
	return (tcp->offset & 0xf) << 8 | tcp->flags;
}

/* ICMP, ICMPv6, and IGMP, of which the last two mean something else. */
struct icmp_start {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be16 id;
	__be16 seq;
};

#define UDP_HEADER 8
#define SCTP_HEADER 12
#define TCP_HEADER 20

static __always_inline bool proto__has_ports(ip_proto proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP ||
	       proto == PROTO_DCCP || proto == PROTO_UDPLITE;
}

/* And IGMP, which begins alike. */
static __always_inline bool proto__is_icmp(ip_proto proto)
{
	return proto == PROTO_ICMP || proto == PROTO_ICMPV6 || proto == PROTO_IGMP;
}

/* What the transport carries begins `bytes` behind the cursor. */
static __always_inline void parse__payload(struct packet *p, const struct cursor *c, __u32 bytes,
					   const __u32 needs)
{
	if (!(needs & NEED_PAYLOAD) || bytes > c->left)
		return;
	p->payload = c->at + bytes;
	p->payload_len = c->left - bytes;
}

static __always_inline void parse__tcp(struct packet *p, struct cursor *c, const __u32 needs)
{
	const struct tcp_rest *tcp = cursor__take(c, struct tcp_rest);
	__u32 header;

	if (!tcp) {
		parse__short(p, c);
		return;
	}
	header = (tcp->offset >> 4) * 4;
	p->tcp_flags = tcp__flags(tcp);
	p->headers += header;
	if (needs & NEED_TCP) {
		p->seq = bpf_ntohl(tcp->seq);
		p->ack = bpf_ntohl(tcp->ack_seq);
		p->window = bpf_ntohs(tcp->window);
	}
	if (header < TCP_HEADER || header - TCP_HEADER > c->left)
		parse__flaw(p, FLAW_TRANSPORT);
	else
		parse__payload(p, c, header - TCP_HEADER, needs);
}

static __always_inline void parse__udp(struct packet *p, struct cursor *c, const __u32 needs)
{
	const struct udp_rest *udp = cursor__take(c, struct udp_rest);
	__u32 length;

	p->headers += UDP_HEADER;
	if (!udp) {
		parse__short(p, c);
		return;
	}
	length = bpf_ntohs(udp->length);
	if (needs & NEED_PAYLOAD)
		p->udp_length = length;
	/* UDP-Lite has its checksum's coverage there. A first fragment's datagram goes on. */
	if (p->proto == PROTO_UDP && length) {
		if (length < UDP_HEADER ||
		    (length - UDP_HEADER > c->left && !p->fragmented && p->segments == 1))
			parse__flaw(p, FLAW_TRANSPORT);
		else if (length - UDP_HEADER < c->left && p->segments == 1)
			c->left = length - UDP_HEADER;
	}
	parse__payload(p, c, 0, needs);
}

static __always_inline void parse__icmp(struct packet *p, struct cursor *c, const __u32 needs)
{
	const struct icmp_start *icmp = cursor__take(c, struct icmp_start);

	if (!icmp) {
		parse__short(p, c);
		return;
	}
	p->icmp_type = icmp->type;
	p->icmp_code = icmp->code;
	p->icmp_id = icmp->id;
	p->icmp_seq = icmp->seq;
	parse__payload(p, c, 0, needs);
}

/* `p->headers` counts what is behind the cursor. A header that is cut short leaves ports 0. */
static __always_inline void parse__transport(struct packet *p, struct cursor *c, const __u32 needs)
{
	const struct ports *ports;

	if (needs & NEED_PAYLOAD)
		p->transport = c->at;
	if (!proto__has_ports(p->proto)) {
		if (needs & NEED_TUNNEL)
			parse__ip_tunnel(p, c);
		if ((needs & NEED_ICMP) && proto__is_icmp(p->proto))
			parse__icmp(p, c, needs);
		else
			parse__payload(p, c, 0, needs);
		return;
	}
	ports = cursor__take(c, struct ports);
	if (!ports) {
		parse__short(p, c);
		return;
	}
	p->sport = ports->source;
	p->dport = ports->dest;
	if (p->proto == PROTO_TCP) {
		parse__tcp(p, c, needs);
	} else if (p->proto == PROTO_UDP || p->proto == PROTO_UDPLITE) {
		parse__udp(p, c, needs);
		if ((needs & NEED_TUNNEL) && p->proto == PROTO_UDP)
			parse__udp_tunnel(p, c);
	} else {
		p->headers += UDP_HEADER; /* nothing else with 8 or more is segmented by offloads */
		if (p->proto == PROTO_SCTP)
			parse__payload(p, c, SCTP_HEADER - sizeof(*ports), needs);
	}
}

#endif
