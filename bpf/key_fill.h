/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * NAME(fill_key) zeroes a key and sets what key_members.h declares. Included behind `struct NAME(key)`.
 *
 * `p` is the packet as the hook saw it, `h` the headers whose addresses and ports count: p itself, or p->inner.
 */
static __always_inline void NAME(fill_key)(struct NAME(key) * key, const struct packet *p,
					   const struct packet *h)
{
	(void)p, (void)h;
	__builtin_memset(key, 0, sizeof(*key));
#ifdef KEY_src
	key->src = h->src;
#endif
#ifdef KEY_dst
	key->dst = h->dst;
#endif
#ifdef KEY_src_net
	ip_addr__prefix(&key->src_net, &h->src, h->ip_version, KNOB_prefix4, KNOB_prefix6);
#endif
#ifdef KEY_dst_net
	ip_addr__prefix(&key->dst_net, &h->dst, h->ip_version, KNOB_prefix4, KNOB_prefix6);
#endif
#ifdef KEY_sport
	key->sport = h->sport;
#endif
#ifdef KEY_dport
	key->dport = h->dport;
#endif
#ifdef KEY_vlan
	key->vlan = p->tags ? p->vlan[0] & VLAN_ID : 0;
#endif
#ifdef KEY_ifindex
	key->ifindex = packet__ifindex(p);
#endif
#ifdef KEY_tunnel_id
	key->tunnel_id = p->tunnel_id;
#endif
#ifdef KEY_tunnel
	key->tunnel = p->tunnel;
#endif
#ifdef KEY_direction
	key->direction = p->direction;
#endif
#ifdef KEY_proto
	key->proto = h->proto;
#endif
#ifdef KEY_tos
	key->tos = h->tos;
#endif
}
