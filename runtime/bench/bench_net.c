/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* unshare */
#include "bench/bench_net.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FROM "bench0"
#define TO "bench1"
#define FRAME 46

struct bench_net {
	int socket; /* sends on FROM */
	int ifindex;
};

static int talk(struct nlmsghdr *request)
{
	char buf[8192]; /* an answer, with the request in it */
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	ssize_t n;
	int err = 0;

	if (!socket)
		return -errno;
	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = 1;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(socket, request, request->nlmsg_len) < 0) {
		err = -errno;
		goto out;
	}
	n = mnl_socket_recvfrom(socket, buf, sizeof(buf));
	if (n < 0 || mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(socket), NULL, NULL) < 0)
		err = -errno;
out:
	mnl_socket_close(socket);
	return err;
}

static int add_pair(void)
{
	char buf[512] = {0};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct nlattr *info, *data, *peer;

	request->nlmsg_type = RTM_NEWLINK;
	request->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request, IFLA_IFNAME, FROM);
	info = mnl_attr_nest_start(request, IFLA_LINKINFO);
	mnl_attr_put_strz(request, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(request, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request, IFLA_IFNAME, TO);
	mnl_attr_nest_end(request, peer);
	mnl_attr_nest_end(request, data);
	mnl_attr_nest_end(request, info);
	return talk(request);
}

static int set_up(int ifindex)
{
	char buf[128] = {0};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *link;

	request->nlmsg_type = RTM_NEWLINK;
	link = mnl_nlmsg_put_extra_header(request, sizeof(*link));
	link->ifi_index = ifindex;
	link->ifi_flags = link->ifi_change = IFF_UP;
	return talk(request);
}

static int open_pair(struct bench_net *net)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET};
	int err = add_pair();

	if (err)
		return err;
	net->ifindex = (int)if_nametoindex(TO);
	to.sll_ifindex = (int)if_nametoindex(FROM);
	err = set_up(net->ifindex);
	if (!err)
		err = set_up(to.sll_ifindex);
	if (err)
		return err;
	net->socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* 0: receives nothing */
	if (net->socket < 0 || bind(net->socket, (struct sockaddr *)&to, sizeof(to)))
		return -errno;
	return 0;
}

int bench_net__new(struct bench_net **out, struct error *error)
{
	struct bench_net *net = malloc(sizeof(*net));
	int err;

	if (!net)
		return error__set(error, -ENOMEM, "out of memory");
	*net = (struct bench_net){.socket = -1};
	err = unshare(CLONE_NEWNET) ? -errno : open_pair(net);
	if (err) {
		bench_net__free(net);
		error__set(error, err, "cannot make a network namespace with a veth pair: %s",
			   strerror(-err));
		return err == -EPERM ? error__hint(error, err, "run it as root") : err;
	}
	*out = net;
	return 0;
}

void bench_net__free(struct bench_net *net)
{
	if (!net)
		return;
	if (net->socket >= 0)
		close(net->socket);
	free(net);
}

int bench_net__ifindex(const struct bench_net *net)
{
	return net->ifindex;
}

int bench_net__send(const struct bench_net *net, uint32_t count)
{
	return bench_net__send_to(net, 2000, count);
}

int bench_net__send_to(const struct bench_net *net, uint16_t port, uint32_t count)
{
	unsigned char frame[FRAME] = {
		2,    0,    0,	  0,	0, 1,  2, 0, 0,	  0,   0,   2,	 8,  0, /* Ethernet */
		0x45, 0,    0,	  32,	0, 1,  0, 0, 64,  17,  0,   0,	 10, 0,
		0,    0,    10,	  1,	0, 1,				 /* IPv4 */
		0x03, 0xe8, 0x07, 0xd0, 0, 12, 0, 0, 'd', 'a', 't', 'a', /* UDP */
	};

	frame[36] = (unsigned char)(port >> 8);
	frame[37] = (unsigned char)port;
	for (uint32_t i = 0; i < count; i++) {
		frame[28] = (unsigned char)(i >> 8);
		frame[29] = (unsigned char)i;
		while (send(net->socket, frame, sizeof(frame), 0) < 0) {
			if (errno == ENOBUFS)
				break; /* the other end had no room: as good as sent */
			if (errno != EINTR)
				return -errno;
		}
	}
	return 0;
}
