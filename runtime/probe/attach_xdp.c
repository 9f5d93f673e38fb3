/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/attach.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/types.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "probe/attach_link.h"

/* Who is on the interface already: "program NAME (id 42, native)". False when nobody is. */
static bool owner(int ifindex, char *text, size_t size)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info), id = 0;
	const char *mode = "generic";
	int fd;

	if (bpf_xdp_query(ifindex, 0, &query))
		return false;
	if (query.hw_prog_id) {
		mode = "offloaded";
		id = query.hw_prog_id;
	} else if (query.drv_prog_id) {
		mode = "native";
		id = query.drv_prog_id;
	} else {
		id = query.skb_prog_id;
	}
	if (!id)
		return false;
	fd = bpf_prog_get_fd_by_id(id);
	if (fd >= 0) {
		if (bpf_prog_get_info_by_fd(fd, &info, &len))
			info.name[0] = '\0';
		close(fd);
	}
	snprintf(text, size, "program %s (id %u, %s)", info.name[0] ? info.name : "without a name",
		 id, mode);
	return true;
}

static int explain(int err, const char *mode, int ifindex, struct error *error)
{
	char name[IF_NAMESIZE] = "the interface", by[128];

	if_indextoname((unsigned int)ifindex, name);
	if ((err == -EBUSY || err == -EEXIST) && owner(ifindex, by, sizeof(by))) {
		error__set(error, -EBUSY, "%s already has the XDP %s", name, by);
		return error__hint(
			error, -EBUSY,
			"use the hook tc, which can be shared, or detach that program first");
	}
	if (err == -EPERM) {
		error__set(error, err, "not permitted to attach XDP to %s", name);
		return error__hint(error, err,
				   "run as root or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON");
	}
	/* A name that is gone by now says so too: the bpf_link call has EINVAL for an interface that does not exist. */
	if (err == -ENODEV || (!if_indextoname((unsigned int)ifindex, name) && errno == ENXIO))
		return error__set(error, -ENODEV, "there is no interface with index %d", ifindex);
	/*
	 * What is left is the driver's: it has no such mode, wants a smaller MTU, other offloads or more queues.
	 * Drivers disagree about the number for that, so all of them mean "try the next".
	 */
	if (err == -ENOMEM)
		return error__set(error, err, "out of memory while attaching XDP to %s", name);
	return error__set(error, -EOPNOTSUPP, "%s refuses %s XDP (%s)", name, mode, strerror(-err));
}

static int attach(const struct attach_ops *ops, __u32 flags, int ifindex, int prog_fd,
		  struct attachment **out, struct error *error)
{
	struct attach_link_place place = {
		.ops = ops, .hook = HOOK_XDP, .ifindex = ifindex, .type = BPF_XDP, .flags = flags};
	int err = attach_link__create(&place, prog_fd, out);

	return err ? explain(err, ops->name, ifindex, error) : 0;
}

static int attach_native(enum hook hook, int ifindex, int prog_fd, struct attachment **out,
			 struct error *error)
{
	(void)hook;
	return attach(&attach_xdp_native, XDP_FLAGS_DRV_MODE, ifindex, prog_fd, out, error);
}

static int attach_generic(enum hook hook, int ifindex, int prog_fd, struct attachment **out,
			  struct error *error)
{
	(void)hook;
	return attach(&attach_xdp_generic, XDP_FLAGS_SKB_MODE, ifindex, prog_fd, out, error);
}

const struct attach_ops attach_xdp_native = {
	.mode = ATTACH_NATIVE,
	.name = "native",
	.attach = attach_native,
	.replace = attach_link__replace,
	.detach = attach_link__detach,
	.leave = attach_link__leave,
	.alive = attach_link__alive,
};

const struct attach_ops attach_xdp_generic = {
	.mode = ATTACH_GENERIC,
	.name = "generic",
	.attach = attach_generic,
	.replace = attach_link__replace,
	.detach = attach_link__detach,
	.leave = attach_link__leave,
	.alive = attach_link__alive,
};
