/* SPDX-License-Identifier: Apache-2.0 */
#include "base/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define RECEIVE_SIZE 32768 /* what the kernel puts into one message of a dump at most */
#define ATTEMPTS 5	   /* at a dump whose subject changes under it */

/* A reader must cope with being called again from the start: a dump that was interrupted is repeated. */
struct dump {
	const void *request;
	mnl_cb_t reader;
	void *arg;
};

static int dump_once(const struct dump *dump)
{
	char buf[RECEIVE_SIZE];
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	const struct nlmsghdr *request = dump->request;
	ssize_t n = 0;
	int more = MNL_CB_OK, err = 0;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(socket, request, request->nlmsg_len) < 0) {
		err = -errno;
		goto out;
	}
	while (more > MNL_CB_STOP) {
		n = mnl_socket_recvfrom(socket, buf, sizeof(buf));
		more = n < 0 ? MNL_CB_ERROR
			     : mnl_cb_run(buf, (size_t)n, request->nlmsg_seq,
					  mnl_socket_get_portid(socket), dump->reader, dump->arg);
	}
	if (more == MNL_CB_ERROR)
		err = -errno;
out:
	mnl_socket_close(socket);
	return err;
}

/* `reset` is put back into `state` before every attempt. */
static int dump_all(const struct dump *dump, void *state, const void *reset, size_t size)
{
	int err = -EINTR;

	for (int i = 0; i < ATTEMPTS && err == -EINTR; i++) {
		memcpy(state, reset, size);
		err = dump_once(dump);
	}
	return err;
}

static struct nlmsghdr *request(void *buf, uint16_t type)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = 1;
	return nlh;
}

struct filters {
	size_t len;
	bool overflow;
	struct netlink_filter filter[256];
};

static void copy_kind(const struct nlmsghdr *nlh, char *kind, size_t size)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh,
			  sizeof(struct tcmsg)) if (mnl_attr_get_type(attr) == TCA_KIND &&
						    mnl_attr_validate(attr, MNL_TYPE_STRING) >= 0)
		snprintf(kind, size, "%.*s", (int)mnl_attr_get_payload_len(attr),
			 mnl_attr_get_str(attr));
}

static int read_filter(const struct nlmsghdr *nlh, void *arg)
{
	struct filters *filters = arg;
	const struct tcmsg *tc = mnl_nlmsg_get_payload(nlh);
	struct netlink_filter *filter = &filters->filter[filters->len];

	if (nlh->nlmsg_type != RTM_NEWTFILTER)
		return MNL_CB_OK;
	if (filters->len == sizeof(filters->filter) / sizeof(*filters->filter)) {
		filters->overflow = true;
		return MNL_CB_OK;
	}
	*filter = (struct netlink_filter){.priority = TC_H_MAJ(tc->tcm_info) >> 16,
					  .handle = tc->tcm_handle};
	copy_kind(nlh, filter->kind, sizeof(filter->kind));
	filters->len++;
	return MNL_CB_OK;
}

int netlink__filters(int ifindex, uint32_t parent, netlink_filter_fn fn, void *arg)
{
	char buf[256] = {0};
	struct nlmsghdr *nlh = request(buf, RTM_GETTFILTER);
	struct tcmsg *tc = mnl_nlmsg_put_extra_header(nlh, sizeof(*tc));
	struct filters filters = {0};
	static const struct filters none;
	struct dump dump = {nlh, read_filter, &filters};
	int err;

	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = ifindex;
	tc->tcm_parent = parent;
	err = dump_all(&dump, &filters, &none, sizeof(filters));
	if (err || filters.overflow)
		return err ? err : -E2BIG;
	for (size_t i = 0; i < filters.len; i++)
		fn(&filters.filter[i], arg);
	return 0;
}

struct qdisc {
	int ifindex;
	char kind[16];
};

static int read_qdisc(const struct nlmsghdr *nlh, void *arg)
{
	struct qdisc *qdisc = arg;
	const struct tcmsg *tc = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_type == RTM_NEWQDISC && tc->tcm_ifindex == qdisc->ifindex &&
	    tc->tcm_parent == TC_H_INGRESS)
		copy_kind(nlh, qdisc->kind, sizeof(qdisc->kind));
	return MNL_CB_OK;
}

int netlink__ingress_qdisc(int ifindex, char *kind, size_t size)
{
	char buf[256] = {0};
	struct nlmsghdr *nlh = request(buf, RTM_GETQDISC);
	struct tcmsg *tc = mnl_nlmsg_put_extra_header(nlh, sizeof(*tc));
	struct qdisc qdisc, reset = {.ifindex = ifindex};
	struct dump dump = {nlh, read_qdisc, &qdisc};
	int err;

	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = ifindex; /* a filter that kernels may ignore */
	err = dump_all(&dump, &qdisc, &reset, sizeof(qdisc));
	if (!err)
		snprintf(kind, size, "%s", qdisc.kind);
	return err;
}

struct route {
	bool found;
	uint32_t metric;
	int ifindex;
};

static int read_route(const struct nlmsghdr *nlh, void *arg)
{
	struct route *best = arg;
	const struct rtmsg *rt = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;
	uint32_t metric = 0, table = rt->rtm_table;
	int ifindex = 0;

	if (nlh->nlmsg_type != RTM_NEWROUTE || rt->rtm_dst_len || rt->rtm_type != RTN_UNICAST)
		return MNL_CB_OK;
	mnl_attr_for_each(attr, nlh, sizeof(*rt))
	{
		const struct rtnexthop *hop = mnl_attr_get_payload(attr);

		switch (mnl_attr_get_type(attr)) {
		case RTA_TABLE:
			table = mnl_attr_get_u32(attr);
			break;
		case RTA_PRIORITY:
			metric = mnl_attr_get_u32(attr);
			break;
		case RTA_OIF:
			ifindex = (int)mnl_attr_get_u32(attr);
			break;
		case RTA_MULTIPATH:
			if (mnl_attr_get_payload_len(attr) >= sizeof(*hop))
				ifindex = hop->rtnh_ifindex;
			break;
		}
	}
	if (table == RT_TABLE_MAIN && ifindex && (!best->found || metric < best->metric))
		*best = (struct route){.found = true, .metric = metric, .ifindex = ifindex};
	return MNL_CB_OK;
}

static int default_route(uint8_t family, struct route *best)
{
	char buf[256] = {0};
	struct nlmsghdr *nlh = request(buf, RTM_GETROUTE);
	struct rtmsg *rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));
	static const struct route none;
	struct dump dump = {nlh, read_route, best};

	rt->rtm_family = family;
	return dump_all(&dump, best, &none, sizeof(*best));
}

int netlink__default_route(int *ifindex)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct route best = {0};
	int err = 0;

	for (size_t i = 0; i < sizeof(families) && !best.found && !err; i++)
		err = default_route(families[i], &best);
	if (err || !best.found)
		return err ? err : -ENOENT;
	*ifindex = best.ifindex;
	return 0;
}

static uint32_t xdp_of(const struct nlattr *nest)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest)
	{
		if (mnl_attr_get_type(attr) == IFLA_XDP_PROG_ID &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			return mnl_attr_get_u32(attr);
	}
	return 0;
}

bool netlink__parse_link(const struct nlmsghdr *nlh, struct netlink_link *link)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK)
		return false;
	/* A bridge deletes its "link" when a port leaves it, and means the port. */
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*info) || info->ifi_family != AF_UNSPEC)
		return false;
	*link = (struct netlink_link){.index = info->ifi_index,
				      .gone = nlh->nlmsg_type == RTM_DELLINK,
				      .flags = info->ifi_flags};
	mnl_attr_for_each(attr, nlh, sizeof(*info))
	{
		switch (mnl_attr_get_type(attr)) {
		case IFLA_IFNAME:
			if (mnl_attr_validate(attr, MNL_TYPE_STRING) >= 0)
				snprintf(link->name, sizeof(link->name), "%.*s",
					 (int)mnl_attr_get_payload_len(attr),
					 mnl_attr_get_str(attr));
			break;
		case IFLA_MTU:
			if (mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
				link->mtu = mnl_attr_get_u32(attr);
			break;
		case IFLA_XDP:
			link->xdp = xdp_of(attr);
			break;
		}
	}
	return link->name[0] != '\0';
}

struct links {
	int (*fn)(const struct netlink_link *link, void *arg);
	void (*restart)(void *arg);
	void *arg;
	bool begun;
	int err;
};

static int read_link(const struct nlmsghdr *nlh, void *arg)
{
	struct links *links = arg;
	struct netlink_link link;

	if (!links->begun)
		links->restart(links->arg);
	links->begun = true;
	/* Read to the end even so: an answer that is not read stays with nobody. */
	if (!links->err && netlink__parse_link(nlh, &link))
		links->err = links->fn(&link, links->arg);
	return MNL_CB_OK;
}

int netlink__links(int (*fn)(const struct netlink_link *link, void *arg),
		   void (*restart)(void *arg), void *arg)
{
	char buf[256] = {0};
	struct nlmsghdr *nlh = request(buf, RTM_GETLINK);
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(nlh, sizeof(*info));
	const struct links reset = {fn, restart, arg, false, 0};
	struct links links;
	struct dump dump = {nlh, read_link, &links};
	int err;

	info->ifi_family = AF_UNSPEC;
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	err = dump_all(&dump, &links, &reset, sizeof(links));
	return err ? err : links.err;
}
