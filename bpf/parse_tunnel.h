/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What a tunnel's header says of the headers inside. */
#ifndef PERILUNE_PARSE_TUNNEL_H
#define PERILUNE_PARSE_TUNNEL_H

enum {
	PORT_GTP_U = 2152,
	PORT_VXLAN = 4789,
	PORT_VXLAN_LINUX = 8472, /* before IANA had assigned one */
	PORT_GENEVE = 6081,

	GRE_CHECKSUM = 0x8000,
	GRE_KEY = 0x2000,
	GRE_SEQUENCE = 0x1000,
	GRE_REFUSED = 0x4807, /* routing, strict source route, any version but 0 */

	VXLAN_HAS_VNI = 0x08,

	GTP_VERSION_1 = 0x30, /* with the bit that says GTP, not GTP' */
	GTP_OPTIONAL = 0x07,  /* extension, sequence, N-PDU number: any of them adds 4 octets */
	GTP_G_PDU = 255,
	GTP_EXTENSIONS_MAX = 4,
};

struct gre_start { /* RFC 2784, RFC 2890 */
	__be16 flags;
	__be16 type;
};

struct vxlan_header { /* RFC 7348, 5 */
	__u8 flags;
	__u8 reserved[3];
	__be32 vni;
};

struct geneve_header { /* RFC 8926, 3.4 */
	__u8 version_length;
	__u8 flags;
	__be16 type;
	__be32 vni;
};

struct gtp_header { /* 3GPP TS 29.281, 5.1 */
	__u8 flags;
	__u8 type;
	__be16 length;
	__be32 teid;
};

struct gtp_optional {
	__be16 sequence;
	__u8 number;
	__u8 next;
};

static __always_inline void parse__carries(struct packet *p, const struct cursor *c,
					   enum tunnel tunnel, __be16 type, __u32 id)
{
	p->tunnel = tunnel;
	p->tunnel_at = c->at;
	p->tunnel_type = type;
	p->tunnel_id = id;
}

static __always_inline void parse__gre(struct packet *p, struct cursor *c)
{
	const struct gre_start *start = cursor__take(c, struct gre_start);
	const __be32 *key;
	__u32 flags, id = 0;

	if (!start)
		return;
	flags = bpf_ntohs(start->flags);
	if ((flags & GRE_REFUSED) || ((flags & GRE_CHECKSUM) && !cursor__skip(c, 4)))
		return;
	if (flags & GRE_KEY) {
		key = cursor__take(c, __be32);
		if (!key)
			return;
		id = bpf_ntohl(*key);
	}
	if ((flags & GRE_SEQUENCE) && !cursor__skip(c, 4))
		return;
	parse__carries(p, c, start->type == bpf_htons(ETHERTYPE_TEB) ? gre_eth : gre, start->type,
		       id);
}

static __always_inline void parse__vxlan(struct packet *p, struct cursor *c)
{
	const struct vxlan_header *header = cursor__take(c, struct vxlan_header);

	if (header && (header->flags & VXLAN_HAS_VNI))
		parse__carries(p, c, vxlan, bpf_htons(ETHERTYPE_TEB), bpf_ntohl(header->vni) >> 8);
}

static __always_inline void parse__geneve(struct packet *p, struct cursor *c)
{
	const struct geneve_header *header = cursor__take(c, struct geneve_header);

	if (!header || header->version_length >> 6)
		return;
	if (cursor__skip(c, (header->version_length & 0x3f) * 4))
		parse__carries(p, c, geneve, header->type, bpf_ntohl(header->vni) >> 8);
}

/* Extension headers count words of 4 octets, themselves included; the last octet names the next. */
static __always_inline bool parse__gtp_extensions(struct cursor *c, __u8 next)
{
	for (int i = 0; i < GTP_EXTENSIONS_MAX; i++) {
		const __be32 *first;
		const __u8 *last;
		__u32 words;

		if (!next)
			return true;
		first = c->pos;
		if ((void *)(first + 1) > c->end)
			return false;
		words = *(const __u8 *)first;
		if (!words || !cursor__skip(c, words * 4 - 1))
			return false;
		last = cursor__take(c, __u8);
		if (!last)
			return false;
		next = *last;
	}
	return !next;
}

static __always_inline void parse__gtp(struct packet *p, struct cursor *c)
{
	const struct gtp_header *header = cursor__take(c, struct gtp_header);
	const struct gtp_optional *optional;
	const __u8 *first;
	__u32 teid;

	if (!header || (header->flags & 0xf0) != GTP_VERSION_1 || header->type != GTP_G_PDU)
		return;
	teid = bpf_ntohl(header->teid);
	if (header->flags & GTP_OPTIONAL) {
		optional = cursor__take(c, struct gtp_optional);
		if (!optional || ((header->flags & 4) && !parse__gtp_extensions(c, optional->next)))
			return;
	}
	first = c->pos;
	if ((void *)(first + 1) > c->end || !c->left)
		return;
	if (*first >> 4 == 4)
		parse__carries(p, c, gtp_u, bpf_htons(ETHERTYPE_IPV4), teid);
	else if (*first >> 4 == 6)
		parse__carries(p, c, gtp_u, bpf_htons(ETHERTYPE_IPV6), teid);
}

/* Behind a UDP header: by its destination port, of GTP-U also by its source. */
static __always_inline void parse__udp_tunnel(struct packet *p, struct cursor *c)
{
	switch (bpf_ntohs(p->dport)) {
	case PORT_VXLAN:
	case PORT_VXLAN_LINUX:
		parse__vxlan(p, c);
		break;
	case PORT_GENEVE:
		parse__geneve(p, c);
		break;
	case PORT_GTP_U:
		parse__gtp(p, c);
		break;
	}
}

/* Behind an IP header. */
static __always_inline void parse__ip_tunnel(struct packet *p, struct cursor *c)
{
	switch (p->proto) {
	case PROTO_IPV4:
		parse__carries(p, c, ip_in_ip, bpf_htons(ETHERTYPE_IPV4), 0);
		break;
	case PROTO_IPV6:
		parse__carries(p, c, ipv6_in, bpf_htons(ETHERTYPE_IPV6), 0);
		break;
	case PROTO_GRE:
		parse__gre(p, c);
		break;
	}
}

#endif
