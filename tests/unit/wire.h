/* SPDX-License-Identifier: Apache-2.0 */
/* Frames onto an interface, and the kernel's own count of them. netns.h and program.h first. */
#ifndef PERILUNE_TESTS_WIRE_H
#define PERILUNE_TESTS_WIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A veth pair that nothing but us sends on. */
static inline int wire__pair(const char *a, const char *b)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "ip link add %s type veth peer name %s && "
		 "for i in %s %s; do echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; "
		 "ip link set $i up; done",
		 a, b, a, b);
	return netns__run(command);
}

/* A socket that sends on the interface, or -1. */
static inline int wire__open(const char *name)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW, 0); /* protocol 0: receives nothing */

	if (fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof(to))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/*
 * One packet of program__frame's. What leaves by the interface has run its programs for going out when this returns, also where the
 * other end has no room for it then (ENOBUFS; tx_dropped).
 */
static inline int wire__send(int fd, uint16_t source)
{
	unsigned char frame[PROGRAM_FRAME];

	program__frame(source, frame);
	while (send(fd, frame, sizeof(frame), 0) != (ssize_t)sizeof(frame))
		if (errno != EINTR)
			return errno == ENOBUFS ? 0 : -errno;
	return 0;
}

/* What the kernel says of a device: frames it took in, gave out, and those given to it for which the other end had no room. */
static inline struct rtnl_link_stats wire__stats(const char *name)
{
	struct rtnl_link_stats stats = {0};
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all))
		perror("getifaddrs");
	for (const struct ifaddrs *one = all; one; one = one->ifa_next)
		if (one->ifa_addr && one->ifa_addr->sa_family == AF_PACKET &&
		    !strcmp(one->ifa_name, name))
			memcpy(&stats, one->ifa_data, sizeof(stats));
	freeifaddrs(all);
	return stats;
}

#endif
