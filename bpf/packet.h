/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What the parser says of a frame, and what it may be asked.
 *
 * A level asks with NEED_… bits, known when it is compiled: what is not needed is not parsed. The bits are the union of what its
 * templates' manifests say; fields that were not asked for are 0.
 */
#ifndef PERILUNE_PACKET_H
#define PERILUNE_PACKET_H

enum need {
	NEED_NOTHING = 0,   /* what the hook's totals take: whether it is IP, and its length */
	NEED_ADDRESSES = 1, /* src, dst */
	NEED_TRANSPORT = 2, /* proto behind IPv6's extension headers, ports, tcp_flags, fragment */
	NEED_IP = 4,	    /* ttl, tos, ip_id, ip_flags */
	NEED_TCP = 8,	    /* seq, ack, window; with NEED_TRANSPORT */
	NEED_ICMP = 16,	    /* icmp_type, icmp_code, icmp_id, icmp_seq; with NEED_TRANSPORT */
	NEED_PAYLOAD = 32,  /* transport, payload, payload_len, udp_length; with NEED_TRANSPORT */
	NEED_VLAN = 64,	    /* tags, vlan */
	NEED_MPLS = 128,    /* label */
	NEED_TUNNEL = 256,  /* tunnel, tunnel_id, inner */
	NEED_ETHERTYPE = 512,			     /* ethertype, network */
	NEED_BASE = NEED_ADDRESSES | NEED_TRANSPORT, /* of a template that does not say */
};

/* IANA protocol numbers, as far as they matter here. */
enum {
	PROTO_HOPOPT = 0,
	PROTO_ICMP = 1,
	PROTO_IGMP = 2,
	PROTO_IPV4 = 4,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_DCCP = 33,
	PROTO_IPV6 = 41,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_GRE = 47,
	PROTO_AH = 51,
	PROTO_ICMPV6 = 58,
	PROTO_DSTOPTS = 60,
	PROTO_SCTP = 132,
	PROTO_MOBILITY = 135,
	PROTO_UDPLITE = 136,
	PROTO_HIP = 139,
	PROTO_SHIM6 = 140,
};

/* TCP's flags as they stand in bytes 12 and 13 of its header (RFC 9293, 3.1). */
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
	PARSED,		  /* an IP header was read: lengths hold, and what was asked for */
	PARSED_NOT_IP,	  /* another protocol above the link: ARP, LLC, … */
	PARSED_TRUNCATED, /* the frame ends before the IP header does */
	PARSED_MALFORMED, /* a version or a length that cannot be */
};

/* What is wrong with a packet that was parsed all the same: the first that was met. */
enum flaw {
	FLAW_NONE,
	FLAW_LENGTH,	/* the IP header claims more octets than the frame has */
	FLAW_HEADERS,	/* extension or transport headers end too early, or are too many */
	FLAW_TRANSPORT, /* a length in the transport header that cannot be */
};

enum tunnel {
	no_tunnel,
	ip_in_ip, /* protocol 4 */
	ipv6_in,  /* protocol 41: 6in4, 6in6 */
	gre,	  /* with an IP header inside */
	gre_eth,  /* transparent Ethernet bridging */
	vxlan,
	geneve,
	gtp_u,
};

struct packet {
	/* Set by the hook. */
	wall_ns time; /* 0 until clock__wall() is asked */
	void *ctx;    /* of the program, for packet__load(); of `inner`, its outer packet's */
	const struct packet *inner; /* innermost headers of a tunnel, if they are IP; else NULL */
	__u32 wire;		    /* bytes of the frame as the hook saw it, link header included,
				       checksum not */
	__u32 segments; /* packets this is on the wire: what offloads have merged or not yet cut
			    apart; at least 1 */
	__u8 half;	/* which half of every windowed map this packet counts in */
	__u8 direction; /* enum direction */
#ifdef HOOK_BUDGET
	__u8 thin; /* of union ctl_state */
	__u16 shed;
#endif
#ifdef HOOK_SAMPLES
	__u32 weight; /* how many packets this one stands for in the probe that looks at it */
#endif

	/* Set by parsing. */
	__u8 parsed;	 /* enum parsed */
	__u32 ip;	 /* bytes from the IP header on, as its length field says, at most what the
			    frame has */
	__u16 link;	 /* bytes in front of the IP header */
	__u16 headers;	 /* bytes of IP and transport headers: what each segment repeats */
	__u16 tcp_flags; /* the twelve bits behind the data offset; 0 when not TCP */
	__u8 flaw;	 /* enum flaw */
	__u8 ip_version; /* 4 or 6; 0 when not PARSED */
	ip_proto proto;	 /* of the transport, behind IPv6's extension headers */
	__u8 fragment;	 /* 1: a fragment that is not the first, so it has no ports */
	__u8 fragmented; /* 1: any fragment */
	__u8 ttl;	 /* IPv6: hop limit */
	__u8 tos;	 /* DSCP and ECN; IPv6: traffic class */
	__u8 ip_flags;	 /* IPv4: reserved, DF, MF as bits 2, 1, 0 */
	__u8 tags;	 /* VLAN tags */
	__u8 tunnel;	 /* enum tunnel: what these headers carry */
	__be16 sport;	 /* 0 when there are none */
	__be16 dport;
	__be16 ethertype;   /* behind the tags; 0 for 802.3 */
	__u16 network;	    /* bytes in front of what ethertype says */
	__u16 vlan[2];	    /* TCIs, outermost first */
	__u32 label;	    /* MPLS, the innermost: label, class, bottom, TTL as in RFC 3032 */
	__u32 ip_id;	    /* of fragments: IPv4 identification, IPv6 as in the fragment header */
	__u32 fragment_at;  /* offset in the datagram, in octets */
	__u32 tunnel_id;    /* GRE key, VNI or TEID; 0 when there is none */
	__u32 payload_len;  /* of what offloads have merged, more than an IP packet has */
	__u16 tunnel_at;    /* where the headers inside begin, */
	__be16 tunnel_type; /* and the ethertype they have; TUNNEL_ETHERNET: a link header first */
	__u16 transport; /* bytes in front of the transport header, with NEED_PAYLOAD; 0: unknown */
	__u16 payload;	 /* bytes in front of what the transport carries; 0: unknown */
	union {
		struct {
			__u32 seq;
			__u32 ack;
			__u16 window;
		};
		struct {
			__u8 icmp_type; /* also of ICMPv6 and IGMP */
			__u8 icmp_code;
			__be16 icmp_id; /* of echo and its like */
			__be16 icmp_seq;
		};
		__u16 udp_length; /* as its header says, with NEED_PAYLOAD */
	};
	struct ip_addr src;
	struct ip_addr dst;
};

static __always_inline void parse__flaw(struct packet *p, enum flaw flaw)
{
	if (!p->flaw)
		p->flaw = flaw;
}

/* IP octets of all its segments: IPv4 total length, IPv6 40 + payload. 0 when not PARSED. */
static __always_inline __u64 packet__bytes(const struct packet *p)
{
	return p->parsed == PARSED ? p->ip + (__u64)(p->segments - 1) * p->headers : 0;
}

/* Octets of all its frames, link headers included, preamble and checksum not. */
static __always_inline __u64 packet__frame_bytes(const struct packet *p)
{
	return p->wire + (__u64)(p->segments - 1) * (p->link + p->headers);
}

#define VLAN_ID 0x0fff /* of a tag's TCI */

/*
 * Sizes of segments in IP octets, by powers of two: class 0 up to 63, 1 up to 127 … 10 up to 65535, 11 beyond. Of a merged packet
 * the mean of its segments, rounded up.
 */
#define SIZE_CLASSES 12

static __always_inline __u32 size__class(const struct packet *p, const struct packet *h)
{
	__u32 octets = packet__bytes(h), class = 0;

	if (p->segments > 1)
		octets = (octets + p->segments - 1) / p->segments;
	for (octets >>= 6; octets && class < SIZE_CLASSES - 1; octets >>= 1)
		class ++;
	return class;
}

static __always_inline void ip_addr__prefix(struct ip_addr *to, const struct ip_addr *from,
					    __u8 version, __u32 prefix4, __u32 prefix6)
{
	const __u32 *words = (const __u32 *)from->octets;
	__u32 *out = (__u32 *)to->octets, bits = version == 4 ? 96 + prefix4 : prefix6;

	for (__u32 i = 0; i < 4; i++) {
		__u32 keep = bits < 32 ? bits : 32;

		out[i] = words[i] & (keep ? bpf_htonl(~0U << (32 - keep)) : 0);
		bits -= keep;
	}
}

/* Below 0, 0 or above, as text sorts them. */
static __always_inline int ip_addr__order(const struct ip_addr *a, const struct ip_addr *b)
{
	const __be32 *x = (const __be32 *)a->octets, *y = (const __be32 *)b->octets;

	for (__u32 i = 0; i < 4; i++)
		if (x[i] != y[i])
			return bpf_ntohl(x[i]) < bpf_ntohl(y[i]) ? -1 : 1;
	return 0;
}

/*
 * What a generated program says before it includes perilune.h, as all its roots are of one kind: HOOK_XDP for XDP, none for TC.
 *
 * packet__load copies bytes of the frame; not 0 where it ends before. A call into the kernel: for what the parser does not give.
 * packet__here is how many bytes of it can be copied: all of them, but of a capture that has cut the frame.
 */
#ifdef HOOK_XDP
#define packet__context(P) ((struct xdp_md *)(P)->ctx)
#define packet__ifindex(P) (packet__context(P)->ingress_ifindex)
#define packet__load(P, OFFSET, TO, SIZE) bpf_xdp_load_bytes((P)->ctx, OFFSET, TO, SIZE)
#define packet__here(P) ((__u32)bpf_xdp_get_buff_len((P)->ctx))
#else
#define packet__context(P) ((struct __sk_buff *)(P)->ctx)
#define packet__ifindex(P) (packet__context(P)->ifindex)
#define packet__load(P, OFFSET, TO, SIZE) bpf_skb_load_bytes((P)->ctx, OFFSET, TO, SIZE)
#define packet__here(P) (packet__context(P)->len)
#endif

#endif
