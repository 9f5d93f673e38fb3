/* SPDX-License-Identifier: Apache-2.0 */
#include "scope.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define V4_BITS 96 /* in front of an IPv4 address: ::ffff:0:0/96 */

struct net {
	uint32_t bits;
	uint8_t addr[16];
};

/* "10.0.0.0/8", "2001:db8::1". Bits behind the prefix are cleared. */
static int parse(const char *text, struct net *net)
{
	static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char address[INET6_ADDRSTRLEN];
	unsigned long bits, most;
	char *end;

	if (len >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = '\0';
	memcpy(net->addr, v4_mapped, sizeof(v4_mapped));
	if (inet_pton(AF_INET, address, net->addr + sizeof(v4_mapped)) == 1)
		most = 32;
	else if (inet_pton(AF_INET6, address, net->addr) == 1)
		most = 128;
	else
		return -EINVAL;
	bits = slash ? strtoul(slash + 1, &end, 10) : most;
	if (slash && (slash[1] < '0' || slash[1] > '9' || *end || bits > most))
		return -EINVAL;
	net->bits = (uint32_t)(bits + (most == 32 ? V4_BITS : 0));
	for (uint32_t bit = net->bits; bit < 128; bit++)
		net->addr[bit / 8] &= (uint8_t)~(0x80U >> (bit % 8));
	return 0;
}

int scope__set(struct probe *probe, const char *map, const char *member, bool in,
	       struct error *error)
{
	const struct bpf_map *set = bpf_object__find_map_by_name(probe__object(probe), map);
	const uint8_t present = 1;
	const void *key;
	struct net net;
	bool nets;
	int err;

	if (!set)
		return error__set(error, -ENOENT, "there is no set %s", map);
	nets = bpf_map__type(set) == BPF_MAP_TYPE_LPM_TRIE;
	if (parse(member, &net) || (!nets && net.bits < 128))
		return error__set(error, -EINVAL, "%s is no member of the set %s", member, map);
	key = nets ? (const void *)&net : net.addr;
	err = in ? bpf_map_update_elem(bpf_map__fd(set), key, &present, BPF_ANY)
		 : bpf_map_delete_elem(bpf_map__fd(set), key);
	if (err == -ENOENT && !in)
		return 0;
	if (err)
		return error__set(error, err, "set %s, member %s: %s", map, member, strerror(-err));
	return 0;
}
