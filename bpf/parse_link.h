/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* From the link layer to an IP header: VLAN tags, MPLS, PPPoE, LLC with SNAP. */
#ifndef PERILUNE_PARSE_LINK_H
#define PERILUNE_PARSE_LINK_H

#define VLAN_TAGS_MAX 3
#define MPLS_LABELS_MAX 8

enum {
	ETHERTYPE_802_3_MAX = 0x05ff, /* up to here it is a length (IEEE 802.3, 3.2.6) */
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_ARP = 0x0806,
	ETHERTYPE_TEB = 0x6558, /* Ethernet in a tunnel */
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_MPLS = 0x8847,
	ETHERTYPE_MPLS_MULTICAST = 0x8848,
	ETHERTYPE_PPPOE = 0x8864, /* session stage */
	ETHERTYPE_QINQ = 0x88a8,
};

struct vlan_tag {
	__be16 tci;
	__be16 ethertype;
};

struct pppoe { /* RFC 2516, 4, and the PPP protocol behind it */
	__u8 version_type;
	__u8 code;
	__be16 session;
	__be16 length;
	__be16 protocol;
};

struct llc_snap { /* RFC 1042 */
	__u8 dsap;
	__u8 ssap;
	__u8 control;
	__u8 oui[3];
	__be16 ethertype;
};

enum {
	PPP_IPV4 = 0x0021,
	PPP_IPV6 = 0x0057,
	PPP_PROTOCOL_SIZE = 2,
	SNAP_SAP = 0xaa,
};

/* The IP version that an ethertype means; 0 for any other. */
static __always_inline __u32 ethertype__version(__be16 type)
{
	return type == bpf_htons(ETHERTYPE_IPV4) ? 4 : type == bpf_htons(ETHERTYPE_IPV6) ? 6 : 0;
}

static __always_inline void parse__note_tag(struct packet *p, __u16 tci)
{
	if (!p->tags)
		p->vlan[0] = tci;
	else if (p->tags == 1)
		p->vlan[1] = tci;
	p->tags++;
}

/* Up to the last label; what follows says itself which IP it is (RFC 4928, 3). */
static __always_inline __u32 parse__mpls(struct packet *p, struct cursor *c, const __u32 needs)
{
	const __be32 *label;
	const __u8 *first;

	for (int i = 0; i < MPLS_LABELS_MAX; i++) {
		label = cursor__take(c, __be32);
		if (!label) {
			p->parsed = PARSED_TRUNCATED;
			return 0;
		}
		if (needs & NEED_MPLS)
			p->label = bpf_ntohl(*label);
		if (!(*label & bpf_htonl(0x100)))
			continue;
		first = c->pos;
		if ((void *)(first + 1) > c->end || !c->left) {
			c->cut = c->left;
			p->parsed = PARSED_TRUNCATED;
			return 0;
		}
		return *first >> 4 == 4 || *first >> 4 == 6 ? *first >> 4 : 0;
	}
	return 0;
}

static __always_inline __u32 parse__pppoe(struct packet *p, struct cursor *c)
{
	const struct pppoe *pppoe = cursor__take(c, struct pppoe);
	__u32 length;

	if (!pppoe) {
		p->parsed = PARSED_TRUNCATED;
		return 0;
	}
	if (pppoe->version_type != 0x11 || pppoe->code) {
		p->parsed = PARSED_NOT_IP;
		return 0;
	}
	length = bpf_ntohs(pppoe->length);
	if (length < PPP_PROTOCOL_SIZE || length - PPP_PROTOCOL_SIZE > c->left)
		parse__flaw(p, FLAW_LENGTH);
	else
		c->left = length - PPP_PROTOCOL_SIZE;
	return pppoe->protocol == bpf_htons(PPP_IPV4)	? 4
	       : pppoe->protocol == bpf_htons(PPP_IPV6) ? 6
							: 0;
}

/* `length`: as the frame says where a type would stand. */
static __always_inline __u32 parse__llc(struct packet *p, struct cursor *c, __u32 length)
{
	const struct llc_snap *snap;

	if (length < c->left)
		c->left = length; /* what follows pads a short frame */
	snap = cursor__take(c, struct llc_snap);
	if (!snap || snap->dsap != SNAP_SAP || snap->ssap != SNAP_SAP || snap->control != 3 ||
	    snap->oui[0] || snap->oui[1] || snap->oui[2])
		return 0;
	p->ethertype = snap->ethertype;
	p->network = c->at;
	return ethertype__version(snap->ethertype);
}

/* What begins with an ethertype: tags, and what else stands in front of IP. Returns the IP version, 0 with p->parsed set. */
static __always_inline __u32 parse__type(struct packet *p, struct cursor *c, __be16 type,
					 const __u32 needs)
{
	__u32 version = 0;

	p->parsed = PARSED_NOT_IP;
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		const struct vlan_tag *tag;

		if (type != bpf_htons(ETHERTYPE_VLAN) && type != bpf_htons(ETHERTYPE_QINQ))
			break;
		tag = cursor__take(c, struct vlan_tag);
		if (!tag) {
			p->parsed = PARSED_TRUNCATED;
			return 0;
		}
		if (needs & NEED_VLAN)
			parse__note_tag(p, bpf_ntohs(tag->tci));
		type = tag->ethertype;
	}
	if (needs & NEED_ETHERTYPE) {
		p->ethertype = type;
		p->network = c->at;
	}
	version = ethertype__version(type);
	if (version)
		return version;
	if (type == bpf_htons(ETHERTYPE_MPLS) || type == bpf_htons(ETHERTYPE_MPLS_MULTICAST))
		return parse__mpls(p, c, needs);
	if (type == bpf_htons(ETHERTYPE_PPPOE))
		return parse__pppoe(p, c);
	if (bpf_ntohs(type) <= ETHERTYPE_802_3_MAX) {
		p->ethertype = 0;
		return parse__llc(p, c, bpf_ntohs(type));
	}
	return 0;
}

#endif
