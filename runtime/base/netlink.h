/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few questions to the kernel's network configuration that have no better interface than netlink.
 *
 * Each call opens a socket of its own, asks about the network namespace of the calling thread, changes nothing and
 * returns 0 or -errno.
 */
#ifndef PERILUNE_NETLINK_H
#define PERILUNE_NETLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nlmsghdr;

/* One entry of a filter list. The kernel lists every priority once more with handle 0, as a heading. */
struct netlink_filter {
	uint32_t priority;
	uint32_t handle;
	char kind[16]; /* "bpf", "flower" … */
};

typedef void (*netlink_filter_fn)(const struct netlink_filter *filter, void *arg);

/* Calls `fn` for every filter under `parent` (a classid: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) of an interface.
 * -EINVAL when it has no such parent, -ENODEV when there is no such interface. */
int netlink__filters(int ifindex, uint32_t parent, netlink_filter_fn fn, void *arg);

/* Which qdisc sits where clsact would: "clsact", "ingress", or "" for none. */
int netlink__ingress_qdisc(int ifindex, char *kind, size_t size);

/* The interface of the default route with the lowest metric in the main table, IPv4 before IPv6. -ENOENT without one. */
int netlink__default_route(int *ifindex);

/* A network interface, or that there is none any more. */
struct netlink_link {
	int index;
	bool gone; /* what follows is what it was */
	char name[IF_NAMESIZE];
	uint32_t flags; /* IFF_UP … */
	uint32_t mtu;	/* bytes */
	uint32_t xdp;	/* id of an XDP program on it, or 0 */
};

typedef void (*netlink_link_fn)(const struct netlink_link *link, void *arg);

/* Reads an RTM_NEWLINK or RTM_DELLINK. False for any other message, and for those about a bridge's ports. */
bool netlink__parse_link(const struct nlmsghdr *nlh, struct netlink_link *link);

/*
 * Calls `fn` for every interface until it returns something else than 0, which is returned then. `restart` is called before the
 * first and again when all begins anew, because the interfaces have changed meanwhile.
 */
int netlink__links(int (*fn)(const struct netlink_link *link, void *arg),
		   void (*restart)(void *arg), void *arg);

#endif
