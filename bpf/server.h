/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Which end of a session is the server, and by which rule.
 *
 * The first packet of a session decides, for as long as the session lasts: a SYN goes to the server and a SYN/ACK comes from it;
 * else the server has the well-known port; else the lower one; else it is where that packet goes. A session that was idle for longer
 * than the template says starts anew. Sessions are state that outlives windows: when their table is full the least recently used goes,
 * and with it no count, only the memory of when it started and who was the server.
 */
#ifndef PERILUNE_SERVER_H
#define PERILUNE_SERVER_H

#define WELL_KNOWN_PORTS 1024 /* IANA's system ports are below */

enum server_method {
	first_packet, /* it went to the server: equal ports, or none */
	lower_port,
	well_known_port,
	syn,
	syn_ack,
};

/* Both ways of a session, in the order of their ends. */
struct session_ends {
	struct ip_addr low;
	struct ip_addr high;
	__be16 low_port;
	__be16 high_port;
	ip_proto proto;
	__u8 ip_version;
	__u16 unused;
};

/* Which end of a row is the server. */
enum server_end {
	dst_serves,
	src_serves,
};

struct session_memory {
	wall_ns start;
	wall_ns last;
	__u8 server_is_high;
	__u8 method; /* enum server_method */
};

#define SERVER_SESSIONS(MAP, ENTRIES)                                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_LRU_HASH);                                               \
		__type(key, struct session_ends);                                                  \
		__type(value, struct session_memory);                                              \
		__uint(max_entries, ENTRIES);                                                      \
	} MAP SEC(".maps")

/* The session of a packet; true when the packet comes from the higher end. */
static __always_inline bool server__session(struct session_ends *s, const struct packet *h,
					    const struct ports *ports)
{
	int order = ip_addr__order(&h->src, &h->dst);
	bool from_high = order > 0 || (!order && bpf_ntohs(ports->source) > bpf_ntohs(ports->dest));

	s->low = from_high ? h->dst : h->src;
	s->high = from_high ? h->src : h->dst;
	s->low_port = from_high ? ports->dest : ports->source;
	s->high_port = from_high ? ports->source : ports->dest;
	s->proto = h->proto;
	s->ip_version = h->ip_version;
	s->unused = 0;
	return from_high;
}

/* Whether a packet goes to the server, as far as it says by itself. */
static __always_inline bool server__is_dst(const struct packet *h, const struct ports *ports,
					   __u8 *method)
{
	__u32 sport = bpf_ntohs(ports->source), dport = bpf_ntohs(ports->dest);

	if (h->proto == PROTO_TCP && (h->tcp_flags & TCP_SYN)) {
		*method = h->tcp_flags & TCP_ACK ? syn_ack : syn;
		return *method == syn;
	}
	if (sport == dport) {
		*method = first_packet;
		return true;
	}
	*method = (sport < WELL_KNOWN_PORTS) != (dport < WELL_KNOWN_PORTS) ? well_known_port
									   : lower_port;
	return dport < sport;
}

/* How a row's flow ended, if it did. */
enum flow_end {
	not_ended,
	fin,
	rst,
	idle,
};

/* What is known of a packet's session. */
struct server {
	wall_ns start;	/* of the session */
	__u8 method;	/* enum server_method */
	bool is_dst;	/* the packet goes to the server */
	bool restarted; /* it is the first after the session was idle */
};

/* Finds or begins the session of a packet in `sessions`, a SERVER_SESSIONS map. `ports`: its own, or those of its datagram. A session goes on for `silence` ns without a packet. */
static __always_inline void server__find(struct server *server, void *sessions,
					 const struct packet *h, const struct ports *ports,
					 wall_ns now, __u64 silence)
{
	struct session_ends session;
	struct session_memory fresh = {.start = now, .last = now}, *state;
	bool from_high = server__session(&session, h, ports);

	state = bpf_map_lookup_elem(sessions, &session);
	server->restarted = state && now > state->last + silence;
	if (!state || server->restarted) {
		server->is_dst = server__is_dst(h, ports, &fresh.method);
		fresh.server_is_high = server->is_dst != from_high;
		bpf_map_update_elem(sessions, &session, &fresh, BPF_ANY);
		server->start = now;
		server->method = fresh.method;
		return;
	}
	server->start = state->start;
	server->method = state->method;
	server->is_dst = state->server_is_high != from_high;
	if (now > state->last)
		state->last = now;
}

#endif
