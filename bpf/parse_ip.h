/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* From an IP header to what stands behind it. */
#ifndef PERILUNE_PARSE_IP_H
#define PERILUNE_PARSE_IP_H

#define IPV6_EXTENSIONS_MAX 8

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

/* Of segments that offloads merged, the headers that each repeats are needed for the octets. */
static __always_inline bool parse__goes_on(const struct packet *p, const __u32 needs)
{
	return (needs & (NEED_TRANSPORT | NEED_TUNNEL)) || p->segments > 1;
}

/* Where the fragment lies: `at` in octets. */
static __always_inline void parse__fragment(struct packet *p, __u32 at, bool more, __u32 id)
{
	p->fragment = at != 0;
	p->fragmented = at || more;
	p->fragment_at = at;
	p->ip_id = id;
}

static __always_inline enum parsed parse__ipv4(struct packet *p, struct cursor *c,
					       const __u32 needs)
{
	const struct iphdr *ip = cursor__take(c, struct iphdr);
	__u32 header, total, there, fragment;

	if (!ip)
		return PARSED_TRUNCATED;
	there = c->left + sizeof(*ip);
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || (total && total < header))
		return PARSED_MALFORMED;
	if (total > there)
		parse__flaw(p, FLAW_LENGTH);
	p->ip = total && total < there ? total
				       : there; /* 0: segments merged or not yet cut apart */
	if (p->ip < header)
		return PARSED_MALFORMED;
	c->left = p->ip - sizeof(*ip);
	p->headers = header;
	p->ip_version = 4;
	p->proto = ip->protocol;
	fragment = bpf_ntohs(ip->frag_off);
	if (needs & NEED_IP) {
		p->ttl = ip->ttl;
		p->tos = ip->tos;
		p->ip_flags = fragment >> 13;
	}
	parse__fragment(p, (fragment & 0x1fff) * 8, fragment & 0x2000, bpf_ntohs(ip->id));
	if (needs & NEED_ADDRESSES) {
		ip_addr__from_v4(&p->src, ip->saddr);
		ip_addr__from_v4(&p->dst, ip->daddr);
	}
	if (parse__goes_on(p, needs) && cursor__skip(c, header - sizeof(*ip)) && !p->fragment)
		parse__transport(p, c, needs);
	return PARSED;
}

/* The start of an IPv6 extension header, and the whole of a fragment header (RFC 8200, 4). */
struct ipv6_extension {
	__u8 next;
	__u8 length;
	__be16 fragment_offset;
	__be32 rest;
};

/* Those behind which something follows; ESP and "no next header" end the chain. */
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
	__u32 bytes, at;

	for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		if (!proto__is_extension(p->proto))
			return true;
		ext = cursor__take(c, struct ipv6_extension);
		if (!ext) {
			parse__short(p, c);
			return false;
		}
		p->payload_len = ext->length * 8;
		if (p->proto == PROTO_FRAGMENT) {
			p->payload_len = 0;
			at = bpf_ntohs(ext->fragment_offset);
			parse__fragment(p, at & 0xfff8, at & 1, bpf_ntohl(ext->rest));
		} else if (p->proto == PROTO_AH) { /* words, two left out (RFC 4302, 2.2) */
			p->payload_len = ext->length * 4;
		}
		/* By way of memory, which the verifier knows nothing of: one path, whatever it was. */
		bytes = *(volatile __u32 *)&p->payload_len & 0x7fc;
		p->payload_len = 0;
		p->proto = ext->next;
		p->headers += sizeof(*ext) + bytes;
		if (p->fragment)
			return false;
		if (!cursor__skip(c, bytes)) {
			parse__flaw(p, FLAW_HEADERS);
			return false;
		}
	}
	if (proto__is_extension(p->proto))
		parse__flaw(p, FLAW_HEADERS);
	return !proto__is_extension(p->proto);
}

static __always_inline enum parsed parse__ipv6(struct packet *p, struct cursor *c,
					       const __u32 needs)
{
	const struct ipv6hdr *ip = cursor__take(c, struct ipv6hdr);
	__u32 payload;

	if (!ip)
		return PARSED_TRUNCATED;
	if (ip->version != 6)
		return PARSED_MALFORMED;
	payload = bpf_ntohs(ip->payload_len);
	if (!payload && c->left > 0xffff) /* a jumbogram, or segments merged beyond 64 kB */
		payload = c->left;
	if (payload > c->left)
		parse__flaw(p, FLAW_LENGTH);
	else
		c->left = payload;
	p->ip = sizeof(*ip) + c->left;
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
	if (parse__goes_on(p, needs) && parse__ipv6_extensions(p, c))
		parse__transport(p, c, needs);
	return PARSED;
}

#endif
