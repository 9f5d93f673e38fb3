/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * From a frame to `struct packet`: once for all templates of a level, and no more of it than they need. README.md has the table
 * of what is understood.
 *
 * Everything is bounded: lengths in a header are believed only as far as the frame reaches, and what stands inside a header no
 * further than that header says. Link, network and what is inside a tunnel are parsed by functions that the verifier proves one by
 * one (hook.h), so that it does not multiply what the first can look like by what the next can.
 */
#ifndef PERILUNE_PARSE_H
#define PERILUNE_PARSE_H

#include "cursor.h"

#include "packet.h"

/* A header ends too early: by what the headers before it say, not because no more of it was captured. */
static __always_inline void parse__short(struct packet *p, const struct cursor *c)
{
	if (!c->cut)
		parse__flaw(p, FLAW_HEADERS);
}

#include "parse_link.h"

#include "parse_tunnel.h"

#include "parse_transport.h"

#include "parse_ip.h"

/* From an ethertype to an IP header: sets parsed, ip_version, link, and ip to what is left there at most. */
static __always_inline void parse__ethertype(struct packet *p, struct cursor *c, __be16 type,
					     const __u32 needs)
{
	__u32 version = parse__type(p, c, type, needs);

	p->link = c->at;
	p->ip = c->left;
	p->ip_version = version;
	if (version)
		p->parsed = PARSED;
}

/*
 * A frame up to its IP header. True when data ended before headers did: perhaps they lie behind its linear part. So do the next two.
 */
static __always_inline bool parse__link(struct packet *p, void *data, void *end, const __u32 needs)
{
	struct cursor c = {.pos = data, .end = end, .left = p->wire};
	const struct ethhdr *eth = cursor__take(&c, struct ethhdr);

	p->parsed = PARSED_TRUNCATED;
	if (eth)
		parse__ethertype(p, &c, eth->h_proto, needs);
	return c.cut;
}

#define PARSE_AT_MAX 4095 /* headers that begin later are not looked at */

/* What a tunnel carries, up to its IP header; p->wire: where the packet ends that carries it. */
static __always_inline bool parse__inside(struct packet *p, void *data, void *end, __u32 at,
					  __be16 type, const __u32 needs)
{
	struct cursor c = {.pos = data + at, .end = end, .at = at, .left = p->wire - at};
	const struct ethhdr *eth;

	p->parsed = PARSED_TRUNCATED;
	if (type == bpf_htons(ETHERTYPE_TEB)) {
		eth = cursor__take(&c, struct ethhdr);
		if (!eth)
			return c.cut;
		type = eth->h_proto;
	}
	parse__ethertype(p, &c, type, needs);
	return c.cut;
}

/* From the IP header on. */
static __always_inline bool parse__ip(struct packet *p, void *data, void *end, const __u32 needs)
{
	__u32 at = p->link;
	struct cursor c = {.pos = data + at, .end = end, .at = at, .left = p->ip};

	if (p->parsed != PARSED || at > PARSE_AT_MAX)
		return false;
	p->parsed = p->ip_version == 4 ? parse__ipv4(p, &c, needs) : parse__ipv6(p, &c, needs);
	if (p->parsed != PARSED)
		p->ip_version = 0;
	return c.cut;
}

#include "parse_plain.h"

#endif
