/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/scope.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "extract/layout.h"

#define V4_BITS 96 /* in front of an IPv4 address: ::ffff:0:0/96 */

/* The keys of bpf/scope.h's maps. */
struct net {
	uint32_t bits;
	uint8_t addr[16];
};

struct flow {
	uint8_t src[16];
	uint8_t dst[16];
	uint16_t sport; /* in network order, as dport */
	uint16_t dport;
	uint8_t proto;
	uint8_t pad[3];
};

union member {
	struct net net;
	struct flow flow;
	uint16_t port; /* in network order */
	uint8_t proto;
};

/* Decimal digits and nothing else, at most `most`. */
static int parse_number(const char *text, unsigned long most, unsigned long *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	*out = strtoul(text, &end, 10);
	return *end || *out > most ? -EINVAL : 0;
}

/* IPv4 as ::ffff:a.b.c.d. */
static int parse_address(const char *text, uint8_t addr[16], bool *v4)
{
	static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

	memcpy(addr, v4_mapped, sizeof(v4_mapped));
	*v4 = inet_pton(AF_INET, text, addr + sizeof(v4_mapped)) == 1;
	return *v4 || inet_pton(AF_INET6, text, addr) == 1 ? 0 : -EINVAL;
}

/* "10.0.0.0/8", "2001:db8::1". Bits behind the prefix are cleared. */
static int parse_net(const char *text, struct net *net)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char address[INET6_ADDRSTRLEN];
	unsigned long bits, most;
	bool v4;

	if (len >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = '\0';
	if (parse_address(address, net->addr, &v4))
		return -EINVAL;
	bits = most = v4 ? 32 : 128;
	if (slash && parse_number(slash + 1, most, &bits))
		return -EINVAL;
	net->bits = (uint32_t)(bits + (v4 ? V4_BITS : 0));
	for (uint32_t bit = net->bits; bit < 128; bit++)
		net->addr[bit / 8] &= (uint8_t)~(0x80U >> (bit % 8));
	return 0;
}

static int parse_port(const char *text, uint16_t *port)
{
	unsigned long number;

	if (parse_number(text, UINT16_MAX, &number))
		return -EINVAL;
	*port = htons((uint16_t)number);
	return 0;
}

static int parse_proto(const char *text, uint8_t *proto)
{
	const struct field field = {.kind = FIELD_PROTOCOL, .size = sizeof(*proto), .count = 1};
	unsigned long number;

	if (layout__parse(&field, text, proto) == 0)
		return 0;
	if (parse_number(text, UINT8_MAX, &number))
		return -EINVAL;
	*proto = (uint8_t)number;
	return 0;
}

/* "10.0.0.1:80", "[fd00::1]:80", or an address alone, for port 0. Cuts `text` into its parts. */
static int parse_end(char *text, uint8_t addr[16], uint16_t *port)
{
	char *colon = strrchr(text, ':');
	size_t len;
	bool v4;

	*port = 0;
	if (*text == '[') {
		len = strcspn(text, "]");
		if (!text[len] || (text[len + 1] && text[len + 1] != ':'))
			return -EINVAL;
		colon = text[len + 1] ? &text[len + 1] : NULL;
		text[len] = '\0';
		text++;
	} else if (colon && strchr(text, ':') != colon) {
		colon = NULL; /* one of IPv6's own */
	}
	if (colon) {
		*colon = '\0';
		if (parse_port(colon + 1, port))
			return -EINVAL;
	}
	return parse_address(text, addr, &v4);
}

/* "END > END PROTOCOL"; with <>, the lower end becomes the first, as the kernel looks for it. */
static int parse_flow(const char *text, struct flow *flow)
{
	char from[64], way[3], to[64], proto[32], more;
	struct flow turned = {0};
	int order;

	memset(flow, 0, sizeof(*flow));
	if (sscanf(text, "%63s %2s %63s %31s %c", from, way, to, proto, &more) != 4 ||
	    parse_end(from, flow->src, &flow->sport) || parse_end(to, flow->dst, &flow->dport) ||
	    parse_proto(proto, &flow->proto))
		return -EINVAL;
	if (strcmp(way, ">") == 0)
		return 0;
	if (strcmp(way, "<>") != 0)
		return -EINVAL;
	order = memcmp(flow->src, flow->dst, sizeof(flow->src));
	if (order < 0 || (order == 0 && ntohs(flow->sport) <= ntohs(flow->dport)))
		return 0;
	memcpy(turned.src, flow->dst, sizeof(turned.src));
	memcpy(turned.dst, flow->src, sizeof(turned.dst));
	turned.sport = flow->dport;
	turned.dport = flow->sport;
	turned.proto = flow->proto;
	*flow = turned;
	return 0;
}

/* *key: the member as this map has it. */
static int parse_member(const struct bpf_map *set, const char *text, union member *member,
			const void **key)
{
	bool nets = bpf_map__type(set) == BPF_MAP_TYPE_LPM_TRIE;

	*key = member;
	switch (bpf_map__key_size(set)) {
	case sizeof(member->proto):
		return parse_proto(text, &member->proto);
	case sizeof(member->port):
		return parse_port(text, &member->port);
	case sizeof(member->flow):
		return parse_flow(text, &member->flow);
	default:
		if (!nets)
			*key = member->net.addr;
		return parse_net(text, &member->net) || (!nets && member->net.bits < 128) ? -EINVAL
											  : 0;
	}
}

int scope__set(struct probe *probe, const char *map, const char *member, bool in,
	       struct error *error)
{
	const struct bpf_map *set = bpf_object__find_map_by_name(probe__object(probe), map);
	const uint8_t present = 1;
	union member parsed;
	const void *key;
	int err;

	if (!set)
		return error__set(error, -ENOENT, "there is no set %s", map);
	if (parse_member(set, member, &parsed, &key))
		return error__set(error, -EINVAL, "%s is no member of the set %s", member, map);
	err = in ? bpf_map_update_elem(bpf_map__fd(set), key, &present, BPF_ANY)
		 : bpf_map_delete_elem(bpf_map__fd(set), key);
	if (err == -ENOENT && !in)
		return 0;
	if (err)
		return error__set(error, err, "set %s, member %s: %s", map, member, strerror(-err));
	return 0;
}

/* The next key is asked for before its predecessor is deleted. */
int scope__empty(struct probe *probe, const char *map, struct error *error)
{
	const struct bpf_map *set = bpf_object__find_map_by_name(probe__object(probe), map);
	union member key[2];
	int fd, at = 0, err;

	if (!set)
		return error__set(error, -ENOENT, "there is no set %s", map);
	fd = bpf_map__fd(set);
	err = bpf_map_get_next_key(fd, NULL, &key[0]);
	while (!err) {
		err = bpf_map_get_next_key(fd, &key[at], &key[!at]);
		bpf_map_delete_elem(fd, &key[at]);
		at = !at;
	}
	return 0;
}
