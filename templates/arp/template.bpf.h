/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * arp: who claims which address: ARP for IPv4, neighbour solicitations and advertisements for IPv6 (RFC 826, 4861). An address with two
 * MACs has two rows. rows + other = ARP packets and the two messages of neighbour discovery; what cannot be read is `broken`.
 */

struct NAME(key) {
#include <key_members.h>
#ifdef KEY_addr
	struct ip_addr addr;
#endif
#ifdef KEY_mac
	mac_addr mac;
#endif
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 requests;
	__u64 replies;
	__u64 gratuitous;
	__u64 probes;
	__u64 broken;
#ifdef FEATURE_sender
	__u64 mismatched;
#endif
#ifdef FEATURE_timing
	wall_ns first;
	wall_ns last;
#endif
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);

/* What a packet says. */
struct NAME(claim) {
	struct ip_addr addr;
	mac_addr mac;
	__u8 ip_version;
	bool broken, request, reply, gratuitous, probe;
};

struct NAME(arp) { /* of Ethernet and IPv4 */
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_size;
	__u8 protocol_size;
	__be16 operation;
	mac_addr sender_mac;
	__u8 sender[4];
	mac_addr target_mac;
	__u8 target[4];
};

struct NAME(option) {
	__u8 type;
	__u8 length; /* in units of 8 octets */
	mac_addr mac;
};

static __always_inline void NAME(read_arp)(struct NAME(claim) * claim, const struct packet *p)
{
	struct NAME(arp) arp;
	__u32 sender, target;

	claim->ip_version = 4;
	if (packet__load(p, p->network, &arp, sizeof(arp)) || arp.hardware != bpf_htons(1) ||
	    arp.protocol != bpf_htons(0x0800) || arp.hardware_size != 6 || arp.protocol_size != 4) {
		claim->broken = true;
		return;
	}
	claim->addr.octets[10] = 0xff;
	claim->addr.octets[11] = 0xff;
	__builtin_memcpy(&claim->addr.octets[12], arp.sender, 4);
	__builtin_memcpy(claim->mac, arp.sender_mac, 6);
	__builtin_memcpy(&sender, arp.sender, 4);
	__builtin_memcpy(&target, arp.target, 4);
	claim->request = arp.operation == bpf_htons(1);
	claim->reply = arp.operation == bpf_htons(2);
	claim->gratuitous = sender && sender == target && (claim->request || claim->reply);
	claim->probe = claim->request && !sender && target;
}

#define ARP_OPTIONS_MAX 4 /* options of a message that are looked at */

/* The MAC in the link-layer address option of this type. */
static __always_inline void NAME(read_options)(struct NAME(claim) * claim, const struct packet *p,
					       __u8 type)
{
	__u32 at = p->payload + 16, left = p->payload_len - 16;
	struct NAME(option) option;

	for (int i = 0; i < ARP_OPTIONS_MAX && left; i++) {
		if (left < sizeof(option) || packet__load(p, at, &option, sizeof(option)) ||
		    !option.length || option.length * 8 > left) {
			claim->broken = true;
			return;
		}
		if (option.type == type) {
			__builtin_memcpy(claim->mac, option.mac, 6);
			return;
		}
		at += option.length * 8;
		left -= option.length * 8;
	}
}

#define ARP_SOLICITATION 135
#define ARP_ADVERTISEMENT 136
#define ARP_SOLICITED 0x4000 /* a flag of advertisements */

static __always_inline void NAME(read_nd)(struct NAME(claim) * claim, const struct packet *p)
{
	const __u32 *src = (const __u32 *)p->src.octets;
	bool request = p->icmp_type == ARP_SOLICITATION;

	claim->ip_version = 6;
	claim->addr = p->src;
	if (p->payload_len < 16 ||
	    (!request && packet__load(p, p->payload, &claim->addr, sizeof(claim->addr)))) {
		claim->broken = true;
		return;
	}
	claim->request = request;
	claim->reply = !request;
	claim->gratuitous = !request && !(bpf_ntohs(p->icmp_id) & ARP_SOLICITED);
	claim->probe = request && !(src[0] | src[1] | src[2] | src[3]);
	NAME(read_options)(claim, p, request ? 1 : 2);
}

#include <key_fill.h>

static __always_inline void NAME(make_key)(struct NAME(key) * key, const struct packet *p,
					   const struct NAME(claim) * claim)
{
	NAME(fill_key)(key, p, p);
#ifdef KEY_addr
	key->addr = claim->addr;
#endif
#ifdef KEY_mac
	__builtin_memcpy(key->mac, claim->mac, 6);
#endif
	key->ip_version = claim->ip_version;
}

static __always_inline void NAME(count)(struct NAME(value) * value, struct packet *p,
					const struct NAME(claim) * claim, const bool shared)
{
	count__in(shared, value->packets, weighted(p, p->segments));
	if (claim->broken)
		count__in(shared, value->broken, weighted(p, p->segments));
	if (claim->request)
		count__in(shared, value->requests, weighted(p, p->segments));
	if (claim->reply)
		count__in(shared, value->replies, weighted(p, p->segments));
	if (claim->gratuitous)
		count__in(shared, value->gratuitous, weighted(p, p->segments));
	if (claim->probe)
		count__in(shared, value->probes, weighted(p, p->segments));
#ifdef FEATURE_sender
	__u16 frame[3] = {}, said[3];

	__builtin_memcpy(said, claim->mac, 6);
	if ((said[0] | said[1] | said[2]) && !packet__load(p, 6, frame, sizeof(frame)) &&
	    (said[0] != frame[0] || said[1] != frame[1] || said[2] != frame[2]))
		count__in(shared, value->mismatched, weighted(p, p->segments));
#endif
#ifdef FEATURE_timing
	clock__span(value, clock__wall(p));
#endif
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(claim) claim = {};
	struct NAME(value) fresh = {}, *value;
	struct NAME(key) key;

	if (p->parsed == PARSED_NOT_IP && p->ethertype == bpf_htons(0x0806))
		NAME(read_arp)(&claim, p);
	else if (p->parsed == PARSED && p->ip_version == 6 && p->proto == PROTO_ICMPV6 &&
		 p->payload &&
		 (p->icmp_type == ARP_SOLICITATION || p->icmp_type == ARP_ADVERTISEMENT))
		NAME(read_nd)(&claim, p);
	else
		return;
#ifdef FEATURE_timing
	fresh.first = clock__wall(p);
#endif
	NAME(make_key)(&key, p, &claim);
	value = half__row(&NAME(rows), p->half, &key, &fresh);
	if (value) {
		NAME(count)(value, p, &claim, true);
		return;
	}
	value = half__value(&NAME(other), p->half, 1, 0);
	if (value)
		NAME(count)(value, p, &claim, false);
}
