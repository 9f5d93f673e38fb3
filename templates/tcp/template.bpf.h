/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * tcp: how connections fare, by server, client or connection. rows + other = every TCP packet the probe saw. What is remembered of
 * a connection outlives windows; when that table is full the least recently used is forgotten, and a measurement with it, but no count.
 */

struct NAME(key) {
#include <key_members.h>
#ifdef KEY_client
	struct ip_addr client;
#endif
#ifdef KEY_server
	struct ip_addr server;
#endif
#ifdef KEY_client_port
	__be16 client_port;
#endif
#ifdef KEY_server_port
	__be16 server_port;
#endif
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 bytes;
	__u64 syns;
	__u64 syn_acks;
	__u64 fins;
	__u64 resets;
	__u64 zero_windows;
#ifdef FEATURE_handshake
	__u64 handshakes[TIME_CLASSES];
	__u64 handshake_max;
#endif
#ifdef FEATURE_rtt
	__u64 server_rtts[TIME_CLASSES];
	__u64 server_rtt_max;
	__u64 client_rtts[TIME_CLASSES];
	__u64 client_rtt_max;
#endif
#ifdef FEATURE_loss
	__u64 retransmissions;
	__u64 out_of_order;
	__u64 gaps;
	__u64 keep_alives;
#endif
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
SERVER_SESSIONS(NAME(sessions), KNOB_sessions);
SCRATCH(NAME(fresh), struct NAME(value));

#include <key_fill.h>

/* What one packet says. Times in ns; 0: it says nothing of that. It lies in a map, so that the verifier does not follow what comes
 * behind for each of its values. */
struct NAME(seen) {
	struct server server;
	__u64 handshake;
	__u64 rtt; /* to the end that this packet comes from */
	bool retransmission, out_of_order, gap, keep_alive;
};

SCRATCH(NAME(seen), struct NAME(seen));

#if defined(FEATURE_handshake) || defined(FEATURE_rtt) || defined(FEATURE_loss)
/* One way of a connection. */
struct NAME(way) {
	wall_ns syn;	 /* first SYN without answer; 0: none */
	wall_ns stamped; /* when `stamp` was first seen, until it is echoed; 0: none waits */
	__u32 stamp;
	__u32 stamp_last; /* the greatest seen */
	__u32 next;	  /* sequence number behind all that was seen */
	__u32 hole;	  /* where something is missing, */
	__u32 hole_end;
	__u8 known;	    /* `next` is */
	__u8 stamp_known;   /* `stamp_last` is */
	wall_ns hole_since; /* 0: nothing is missing */
};

struct NAME(way_key) {
	struct ip_addr src;
	struct ip_addr dst;
	__be16 sport;
	__be16 dport;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct NAME(way_key));
	__type(value, struct NAME(way));
	__uint(max_entries, 2 * KNOB_sessions);
} NAME(ways) SEC(".maps");

/* The way of this packet, or the way back. */
static __always_inline struct NAME(way) * NAME(find_way)(const struct packet *p, bool back)
{
	struct NAME(way_key) key;
	struct NAME(way) fresh = {}, *way;

	key.src = back ? p->dst : p->src;
	key.dst = back ? p->src : p->dst;
	key.sport = back ? p->dport : p->sport;
	key.dport = back ? p->sport : p->dport;
	way = bpf_map_lookup_elem(&NAME(ways), &key);
	if (way || back)
		return way;
	bpf_map_update_elem(&NAME(ways), &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&NAME(ways), &key);
}
#endif

#ifdef FEATURE_handshake
static __always_inline void NAME(see_handshake)(struct NAME(seen) * seen, const struct packet *p,
						struct NAME(way) * way, struct NAME(way) * back,
						wall_ns now)
{
	if (!(p->tcp_flags & TCP_SYN))
		return;
	if (!(p->tcp_flags & TCP_ACK)) {
		if (!way->syn)
			way->syn = now;
	} else if (back && back->syn && now > back->syn) {
		seen->handshake = now - back->syn;
		back->syn = 0;
	}
}
#endif

#ifdef FEATURE_rtt
#define TCP_OPTIONS_MAX 40
#define TCP_OPTION_END 0
#define TCP_OPTION_NOTHING 1
#define TCP_OPTION_STAMPS 8

struct NAME(options) {
	__u8 octets[64]; /* TCP_OPTIONS_MAX are used */
	__u32 at;
	__u32 found;
};

SCRATCH(NAME(options), struct NAME(options));

struct NAME(stamps) {
	__be32 value;
	__be32 echo;
};

/* The time stamps option of a packet. */
static __always_inline bool NAME(read_stamps)(struct NAME(stamps) * stamps, const struct packet *p)
{
	struct NAME(options) *options = scratch__value(&NAME(options));
	__u32 start = p->transport + TCP_HEADER, size = p->payload - start;

	if (!options || !p->payload || !p->transport || size < sizeof(*stamps) + 2 ||
	    size > TCP_OPTIONS_MAX || packet__load(p, start, options->octets, size))
		return false;
	/* `at` lies in memory, so that the verifier sees the same in every turn. */
	options->at = 0;
	for (__u32 i = 0; i < TCP_OPTIONS_MAX; i++) {
		__u32 at = *(volatile __u32 *)&options->at & 63;
		__u8 kind = options->octets[at], length = options->octets[(at + 1) & 63];

		if (at + sizeof(*stamps) + 2 > size || kind == TCP_OPTION_END)
			return false;
		if (kind == TCP_OPTION_STAMPS) {
			if (length != sizeof(*stamps) + 2 || at > 54)
				return false;
			__builtin_memcpy(stamps, &options->octets[at + 2], sizeof(*stamps));
			return true;
		}
		if (kind != TCP_OPTION_NOTHING && length < 2)
			return false;
		options->at = at + (kind == TCP_OPTION_NOTHING ? 1 : length);
	}
	return false;
}

/* A stamp waits for its echo from the first packet that has it; while one waits, later ones do not. */
static __always_inline void NAME(see_stamps)(struct NAME(seen) * seen, const struct packet *p,
					     struct NAME(way) * way, struct NAME(way) * back,
					     wall_ns now)
{
	struct NAME(stamps) stamps;
	__u32 value, echo;

	if ((p->tcp_flags & TCP_RST) || !NAME(read_stamps)(&stamps, p))
		return;
	value = bpf_ntohl(stamps.value);
	echo = bpf_ntohl(stamps.echo);
	if ((p->tcp_flags & TCP_ACK) && back && back->stamped && (__s32)(echo - back->stamp) >= 0) {
		if (echo == back->stamp && now > back->stamped)
			seen->rtt = now - back->stamped;
		back->stamped = 0;
	}
	/* What only acknowledges is not answered. */
	if (!p->payload_len && !(p->tcp_flags & (TCP_SYN | TCP_FIN)))
		return;
	if (way->stamp_known && (__s32)(value - way->stamp_last) <= 0)
		return;
	way->stamp_known = 1;
	way->stamp_last = value;
	if (way->stamped)
		return;
	way->stamp = value;
	way->stamped = now;
}
#endif

#ifdef FEATURE_loss
#define TCP_REORDERED_NS 3000000 /* what fills a gap later was sent again */

static __always_inline void NAME(see_order)(struct NAME(seen) * seen, const struct packet *p,
					    struct NAME(way) * way, wall_ns now)
{
	__u32 start = p->seq, length = p->payload_len, end;

	if (p->tcp_flags & TCP_RST)
		return;
	length += !!(p->tcp_flags & TCP_SYN) + !!(p->tcp_flags & TCP_FIN);
	end = start + length;
	if (!way->known ||
	    (p->tcp_flags & TCP_SYN && !(p->tcp_flags & TCP_ACK) && start + 1 != way->next)) {
		way->known = 1;
		way->next = end;
		way->hole_since = 0;
		return;
	}
	if (length <= 1 && start + 1 == way->next && !(p->tcp_flags & (TCP_SYN | TCP_FIN))) {
		seen->keep_alive = true;
		return;
	}
	if (!length)
		return;
	if ((__s32)(start - way->next) > 0) {
		seen->gap = true;
		way->hole = way->next;
		way->hole_end = start;
		way->hole_since = now;
		way->next = end;
		return;
	}
	if (start == way->next) {
		way->next = end;
		return;
	}
	if (way->hole_since && (__s32)(start - way->hole) >= 0 &&
	    (__s32)(end - way->hole_end) <= 0 && now - way->hole_since < TCP_REORDERED_NS) {
		seen->out_of_order = true;
		if (start == way->hole)
			way->hole = end;
		if (way->hole == way->hole_end)
			way->hole_since = 0;
	} else {
		seen->retransmission = true;
	}
	if ((__s32)(end - way->next) > 0)
		way->next = end;
}
#endif

static __always_inline void NAME(look)(struct NAME(seen) * seen, struct packet *p, wall_ns now)
{
	struct ports ports = {.source = p->sport, .dest = p->dport};

	server__find(&seen->server, &NAME(sessions), p, &ports, now, KNOB_idle);
#if defined(FEATURE_handshake) || defined(FEATURE_rtt) || defined(FEATURE_loss)
	struct NAME(way) *way = NAME(find_way)(p, false);

	if (!way)
		return;
#if defined(FEATURE_handshake) || defined(FEATURE_rtt)
	struct NAME(way) *back = NAME(find_way)(p, true);

#endif
#ifdef FEATURE_handshake
	NAME(see_handshake)(seen, p, way, back, now);
#endif
#ifdef FEATURE_rtt
	NAME(see_stamps)(seen, p, way, back, now);
#endif
#ifdef FEATURE_loss
	NAME(see_order)(seen, p, way, now);
#endif
#endif
}

static __always_inline void NAME(make_key)(struct NAME(key) * key, const struct packet *p,
					   bool to_server)
{
	NAME(fill_key)(key, p, p);
	(void)to_server;
#ifdef KEY_client
	key->client = to_server ? p->src : p->dst;
#endif
#ifdef KEY_server
	key->server = to_server ? p->dst : p->src;
#endif
#ifdef KEY_client_port
	key->client_port = to_server ? p->sport : p->dport;
#endif
#ifdef KEY_server_port
	key->server_port = to_server ? p->dport : p->sport;
#endif
	key->ip_version = p->ip_version;
}

static __always_inline void NAME(count)(struct NAME(value) * value, const struct packet *p,
					const struct NAME(seen) * seen, const bool shared)
{
	__u8 flags = p->tcp_flags;

	count__in(shared, value->packets, weighted(p, p->segments));
	count__in(shared, value->bytes, weighted(p, packet__bytes(p)));
	if ((flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		count__in(shared, value->syns, weighted(p, 1));
	if ((flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
		count__in(shared, value->syn_acks, weighted(p, 1));
	if (flags & TCP_FIN)
		count__in(shared, value->fins, weighted(p, 1));
	if (flags & TCP_RST)
		count__in(shared, value->resets, weighted(p, 1));
	if (!p->window && p->payload && !(flags & (TCP_SYN | TCP_FIN | TCP_RST)))
		count__in(shared, value->zero_windows, weighted(p, p->segments));
#ifdef FEATURE_handshake
	if (seen->handshake) {
		count__in(shared, value->handshakes[time__class(seen->handshake)], weighted(p, 1));
		if (seen->handshake > value->handshake_max)
			value->handshake_max = seen->handshake;
	}
#endif
#ifdef FEATURE_rtt
	if (seen->rtt && !seen->server.is_dst) {
		count__in(shared, value->server_rtts[time__class(seen->rtt)], weighted(p, 1));
		if (seen->rtt > value->server_rtt_max)
			value->server_rtt_max = seen->rtt;
	} else if (seen->rtt) {
		count__in(shared, value->client_rtts[time__class(seen->rtt)], weighted(p, 1));
		if (seen->rtt > value->client_rtt_max)
			value->client_rtt_max = seen->rtt;
	}
#endif
#ifdef FEATURE_loss
	if (seen->retransmission)
		count__in(shared, value->retransmissions, weighted(p, 1));
	if (seen->out_of_order)
		count__in(shared, value->out_of_order, weighted(p, 1));
	if (seen->gap)
		count__in(shared, value->gaps, weighted(p, 1));
	if (seen->keep_alive)
		count__in(shared, value->keep_alives, weighted(p, 1));
#endif
	(void)seen;
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(seen) *seen = scratch__value(&NAME(seen));
	struct NAME(value) * value, *fresh;
	struct NAME(key) key;

	if (p->parsed != PARSED || p->proto != PROTO_TCP || p->fragment || !seen)
		return;
	__builtin_memset(seen, 0, sizeof(*seen));
	NAME(look)(seen, p, clock__wall(p));
	NAME(make_key)(&key, p, *(volatile bool *)&seen->server.is_dst);
	fresh = scratch__value(&NAME(fresh)); /* stays 0 */
	value = fresh ? half__row(&NAME(rows), p->half, &key, fresh) : NULL;
	if (value) {
		NAME(count)(value, p, seen, true);
		return;
	}
	value = half__value(&NAME(other), p->half, 1, 0);
	if (value)
		NAME(count)(value, p, seen, false);
}
