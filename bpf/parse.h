/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * From a frame to `struct packet`: link, network and transport headers, parsed
 * once for all templates of a level.
 *
 * Everything is bounded: lengths in a header are believed only as far as the
 * frame reaches. What is not asked for by a template is removed by the
 * compiler, because all of this is inlined and `struct packet` never leaves the
 * program.
 *
 * Understood: Ethernet with up to three 802.1Q or 802.1ad tags, IPv4 with
 * options, IPv6 with extension headers, fragments, and the ports of TCP, UDP,
 * UDP-Lite, SCTP and DCCP.
 */
#ifndef PERILUNE_PARSE_H
#define PERILUNE_PARSE_H

#define VLAN_TAGS_MAX 3
#define IPV6_EXTENSIONS_MAX 8

enum {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_QINQ = 0x88a8,
};

/* IANA protocol numbers, as far as they matter here. */
enum {
	PROTO_HOPOPT = 0,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_DCCP = 33,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_AH = 51,
	PROTO_DSTOPTS = 60,
	PROTO_SCTP = 132,
	PROTO_MOBILITY = 135,
	PROTO_UDPLITE = 136,
	PROTO_HIP = 139,
	PROTO_SHIM6 = 140,
};

/* TCP's flags as they stand in byte 13 of its header (RFC 9293, 3.1). */
enum {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_URG = 0x20,
	TCP_ECE = 0x40,
	TCP_CWR = 0x80,
};

enum parsed {
	PARSED,		  /* an IP header was read: addresses, lengths and protocol hold */
	PARSED_NOT_IP,	  /* another protocol above the link: ARP, LLC, … */
	PARSED_TRUNCATED, /* the frame ends before the IP header does */
	PARSED_MALFORMED, /* a version or a length that cannot be */
};

struct packet {
	/* Set by the hook. */
	__u32 half;	 /* which half of every windowed map this packet counts in */
	__u32 direction; /* enum direction */
	__u32 wire;	 /* bytes of the frame as the hook saw it, link header included,
			    checksum not */
	__u32 segments;	 /* packets this is on the wire: what offloads have merged or
			    not yet cut apart; at least 1 */
	wall_ns time;	 /* 0 until clock__wall() is asked */

	/* Set by parsing. */
	enum parsed parsed;
	__u32 link;	 /* bytes in front of the IP header */
	__u32 ip;	 /* bytes from the IP header on, as its length field says, at most
			    what the frame has */
	__u32 headers;	 /* bytes of IP and transport headers: what each segment repeats
			  */
	__u8 ip_version; /* 4 or 6; 0 when not PARSED */
	ip_proto proto;	 /* of the transport, behind IPv6's extension headers */
	__u8 tcp_flags;	 /* 0 when not TCP */
	__u8 complete;	 /* 1: no header that is looked at was cut short by the end of the data */
	__u8 fragment;	 /* 1: a fragment that is not the first, so it has no ports */
	__be16 sport;	 /* 0 when there are none */
	__be16 dport;
	struct ip_addr src;
	struct ip_addr dst;
};

/* IP octets of all its segments: IPv4 total length, IPv6 40 + payload. 0 when
 * not PARSED. */
static __always_inline __u64 packet__bytes(const struct packet *p)
{
	return p->parsed == PARSED ? p->ip + (__u64)(p->segments - 1) * p->headers : 0;
}

/* Octets of all its frames, link headers included, preamble and checksum not.
 */
static __always_inline __u64 packet__frame_bytes(const struct packet *p)
{
	return p->wire + (__u64)(p->segments - 1) * (p->link + p->headers);
}

static __always_inline void ip_addr__from_v4(struct ip_addr *addr, __be32 v4)
{
	__u32 *words = (__u32 *)addr->octets;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = v4;
}

static __always_inline void ip_addr__from_v6(struct ip_addr *addr, const struct in6_addr *v6)
{
	__builtin_memcpy(addr->octets, v6, sizeof(addr->octets));
}

/* What is left of a frame: `pos` never passes `end`, and `left` is what the IP
 * header says is left. */
struct cursor {
	void *pos;
	void *end;
	__u32 left;
};

/* The next header of this type, which is then behind the cursor; NULL when the
 * frame or the IP packet ends before. */
#define cursor__take(c, TYPE)                                                                      \
	({                                                                                         \
		TYPE *header_ = (c)->pos;                                                          \
		if ((void *)(header_ + 1) > (c)->end || (c)->left < sizeof(TYPE)) {                \
			header_ = NULL;                                                            \
		} else {                                                                           \
			(c)->pos = header_ + 1;                                                    \
			(c)->left -= sizeof(TYPE);                                                 \
		}                                                                                  \
		header_;                                                                           \
	})

/* Moves on by a length that a header named; false when the IP packet is shorter
 * than that. */
static __always_inline bool cursor__skip(struct cursor *c, __u32 bytes)
{
	if (bytes > c->left)
		return false;
	c->pos += bytes;
	c->left -= bytes;
	return true;
}

struct ports {
	__be16 source;
	__be16 dest;
};

/* The part of a TCP header behind the ports. */
struct tcp_rest {
	__be32 seq;
	__be32 ack_seq;
	__u8 offset; /* high nibble: header length in words */
	__u8 flags;
	__be16 window;
	__sum16 check;
	__be16 urgent;
};

static __always_inline bool proto__has_ports(ip_proto proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP ||
	       proto == PROTO_DCCP || proto == PROTO_UDPLITE;
}

/* Ports and TCP flags. `p->headers` counts what is behind the cursor. A header
 * that is cut short leaves them 0. */
static __always_inline void parse__transport(struct packet *p, struct cursor *c)
{
	const struct ports *ports;
	const struct tcp_rest *tcp;

	if (p->fragment || !proto__has_ports(p->proto))
		return;
	ports = cursor__take(c, struct ports);
	if (!ports) {
		p->complete = 0;
		return;
	}
	p->sport = ports->source;
	p->dport = ports->dest;
	if (p->proto != PROTO_TCP) {
		p->headers += 8; /* UDP's header; nothing else with 8 or more is segmented
				    by offloads */
		return;
	}
	tcp = cursor__take(c, struct tcp_rest);
	if (!tcp) {
		p->complete = 0;
		return;
	}
	p->tcp_flags = tcp->flags;
	p->headers += (tcp->offset >> 4) * 4;
}

static __always_inline enum parsed parse__ipv4(struct packet *p, struct cursor *c)
{
	const struct iphdr *ip = cursor__take(c, struct iphdr);
	__u32 header, total, there;

	if (!ip)
		return PARSED_TRUNCATED;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || (total && total < header))
		return PARSED_MALFORMED;
	there = p->wire - p->link;
	p->ip = total && total < there ? total
				       : there; /* 0: segments merged or not yet cut apart */
	if (p->ip < header)
		return PARSED_MALFORMED;
	c->left = p->ip - sizeof(*ip);
	p->headers = header;
	p->ip_version = 4;
	p->proto = ip->protocol;
	p->fragment = (ip->frag_off & bpf_htons(0x1fff)) != 0;
	ip_addr__from_v4(&p->src, ip->saddr);
	ip_addr__from_v4(&p->dst, ip->daddr);
	if (cursor__skip(c, header - sizeof(*ip)))
		parse__transport(p, c);
	return PARSED;
}

/* The start of an IPv6 extension header, and the whole of a fragment header
 * (RFC 8200, 4). */
struct ipv6_extension {
	__u8 next;
	__u8 length;
	__be16 fragment_offset;
	__u32 rest;
};

static __always_inline bool proto__is_extension(ip_proto proto)
{
	switch (proto) {
	case PROTO_HOPOPT:
	case PROTO_ROUTING:
	case PROTO_FRAGMENT:
	case PROTO_AH:
	case PROTO_DSTOPTS:
	case PROTO_MOBILITY:
	case PROTO_HIP:
	case PROTO_SHIM6:
		return true;
	default:
		return false;
	}
}

/* Walks over extension headers; true when a transport header follows. */
static __always_inline bool parse__ipv6_extensions(struct packet *p, struct cursor *c)
{
	const struct ipv6_extension *ext;
	__u32 bytes;

	for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		if (!proto__is_extension(p->proto))
			return true;
		ext = cursor__take(c, struct ipv6_extension);
		if (!ext) {
			p->complete = 0;
			return false;
		}
		bytes = p->proto == PROTO_FRAGMENT ? 0 : ext->length * 8;
		if (p->proto == PROTO_AH) /* counts words and leaves two out (RFC 4302, 2.2) */
			bytes = ext->length * 4;
		if (p->proto == PROTO_FRAGMENT && (ext->fragment_offset & bpf_htons(0xfff8)))
			p->fragment = 1;
		p->proto = ext->next;
		p->headers += sizeof(*ext) + bytes;
		if (p->fragment)
			return false;
		if (!cursor__skip(c, bytes))
			return false;
	}
	return !proto__is_extension(p->proto);
}

static __always_inline enum parsed parse__ipv6(struct packet *p, struct cursor *c)
{
	const struct ipv6hdr *ip = cursor__take(c, struct ipv6hdr);
	__u32 payload, there;

	if (!ip)
		return PARSED_TRUNCATED;
	if (ip->version != 6)
		return PARSED_MALFORMED;
	there = p->wire - p->link - sizeof(*ip);
	payload = bpf_ntohs(ip->payload_len);
	if (!payload && there > 0xffff) /* a jumbogram, or segments merged beyond 64 kB */
		payload = there;
	p->ip = sizeof(*ip) + (payload < there ? payload : there);
	c->left = p->ip - sizeof(*ip);
	p->headers = sizeof(*ip);
	p->ip_version = 6;
	p->proto = ip->nexthdr;
	ip_addr__from_v6(&p->src, &ip->saddr);
	ip_addr__from_v6(&p->dst, &ip->daddr);
	if (parse__ipv6_extensions(p, c))
		parse__transport(p, c);
	return PARSED;
}

struct vlan_tag {
	__be16 tci;
	__be16 ethertype;
};

static __always_inline enum parsed parse__link(struct packet *p, void *data, void *end)
{
	struct cursor c = {.pos = data, .end = end, .left = p->wire};
	const struct ethhdr *eth = cursor__take(&c, struct ethhdr);
	__be16 type;

	p->ip_version = 0;
	p->tcp_flags = 0;
	p->fragment = 0;
	p->complete = 1;
	p->sport = 0;
	p->dport = 0;
	p->headers = 0;
	p->link = 0;
	if (!eth)
		return PARSED_TRUNCATED;
	type = eth->h_proto;
	p->link = sizeof(*eth);
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		const struct vlan_tag *tag;

		if (type != bpf_htons(ETHERTYPE_VLAN) && type != bpf_htons(ETHERTYPE_QINQ))
			break;
		tag = cursor__take(&c, struct vlan_tag);
		if (!tag)
			return PARSED_TRUNCATED;
		type = tag->ethertype;
		p->link += sizeof(*tag);
	}
	if (type == bpf_htons(ETHERTYPE_IPV4))
		return parse__ipv4(p, &c);
	if (type == bpf_htons(ETHERTYPE_IPV6))
		return parse__ipv6(p, &c);
	return PARSED_NOT_IP;
}

#endif
