/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/attach.h"

#include <errno.h>
#include <linux/types.h>
#include <net/if.h>
#include <string.h>

#include <bpf/bpf.h>

#include "probe/attach_link.h"

static int attach(enum hook hook, int ifindex, int prog_fd, struct attachment **out,
		  struct error *error)
{
	/* BPF_F_BEFORE without anything to be before: the head, so that nobody's verdict hides a packet from us. */
	struct attach_link_place place = {.ops = &attach_tcx,
					  .hook = hook,
					  .ifindex = ifindex,
					  .type = hook == HOOK_TC_EGRESS ? BPF_TCX_EGRESS
									 : BPF_TCX_INGRESS,
					  .flags = BPF_F_BEFORE};
	int err = attach_link__create(&place, prog_fd, out);
	char name[IF_NAMESIZE] = "the interface";

	if_indextoname((unsigned int)ifindex, name);
	switch (err) {
	case 0:
		return 0;
	case -ENODEV:
		return error__set(error, err, "there is no interface with index %d", ifindex);
	case -EPERM:
		error__set(error, err, "not permitted to attach to %s", name);
		return error__hint(error, err,
				   "run as root or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON");
	case -EINVAL: /* an attach type that the kernel does not know */
	case -EOPNOTSUPP:
		return error__set(error, -EOPNOTSUPP, "this kernel has no TCX links");
	case -ERANGE: /* it holds 64 programs */
		return error__set(error, -EOPNOTSUPP, "the TCX list of %s is full", name);
	default:
		return error__set(error, err, "cannot attach to %s by TCX: %s", name,
				  strerror(-err));
	}
}

const struct attach_ops attach_tcx = {
	.mode = ATTACH_TCX,
	.name = "tcx",
	.attach = attach,
	.replace = attach_link__replace,
	.detach = attach_link__detach,
	.leave = attach_link__leave,
	.alive = attach_link__alive,
};
