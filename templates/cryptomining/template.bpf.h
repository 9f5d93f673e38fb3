/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * cryptomining: sessions by client and server (bpf/server.h says who is which). rows + other = every IP packet the probe saw. Both hooks
 * of an interface share the table; each CPU counts in its own values, which the runtime folds.
 */

struct NAME(key) {
	struct ip_addr client;
	struct ip_addr server;
	__be16 client_port;
	__be16 server_port;
	ip_proto proto;
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 client_packets;
	__u64 client_bits;
	__u64 server_packets;
	__u64 server_bits;
	__u64 restarts;
	wall_ns start;
	wall_ns last;
	enum server_method method;
};

WINDOWED_PERCPU_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
SERVER_SESSIONS(NAME(sessions), KNOB_sessions);
SCRATCH(NAME(fresh), struct NAME(value));

static __always_inline void NAME(make_key)(struct NAME(key) * key, const struct packet *p,
					   const struct server *server)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->client = server->is_dst ? p->src : p->dst;
	key->server = server->is_dst ? p->dst : p->src;
	key->client_port = server->is_dst ? p->sport : p->dport;
	key->server_port = server->is_dst ? p->dport : p->sport;
	key->proto = p->proto;
	key->ip_version = p->ip_version;
}

static __always_inline void NAME(count)(struct NAME(value) * value, const struct packet *p,
					const struct server *server, wall_ns now)
{
	count__own(value->packets, weighted(p, p->segments));
	if (server->is_dst) {
		count__own(value->client_packets, weighted(p, p->segments));
		count__own(value->client_bits, weighted(p, packet__bytes(p) * 8));
	} else {
		count__own(value->server_packets, weighted(p, p->segments));
		count__own(value->server_bits, weighted(p, packet__bytes(p) * 8));
	}
	if (server->restarted)
		count__own(value->restarts, weighted(p, 1));
	if (!value->start || server->start < value->start)
		value->start = server->start;
	if (now > value->last)
		value->last = now;
	value->method = server->method;
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(value) * value, *fresh;
	struct NAME(key) key;
	struct ports ports;
	struct server server;
	wall_ns now;

	if (p->parsed != PARSED)
		return;
	now = clock__wall(p);
	ports.source = p->sport;
	ports.dest = p->dport;
	server__find(&server, &NAME(sessions), p, &ports, now, KNOB_idle);
	NAME(make_key)(&key, p, &server);
	fresh = scratch__value(&NAME(fresh)); /* stays 0 */
	value = fresh ? half__row(&NAME(rows), p->half, &key, fresh) : NULL;
	if (!value)
		value = half__value(&NAME(other), p->half, 1, 0);
	if (value)
		NAME(count)(value, p, &server, now);
}
