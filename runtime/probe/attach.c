/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/attach.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

/* In the order of preference. */
static const struct attach_ops *const xdp_modes[] = {&attach_xdp_native, &attach_xdp_generic, NULL};
static const struct attach_ops *const tc_modes[] = {&attach_tcx, &attach_clsact, NULL};

const char *hook__name(enum hook hook)
{
	switch (hook) {
	case HOOK_XDP:
		return "xdp";
	case HOOK_TC_INGRESS:
		return "tc.ingress";
	case HOOK_TC_EGRESS:
		return "tc.egress";
	}
	return "?";
}

static int give_up(int err, const char *where, enum hook hook, const char *reasons,
		   struct error *error)
{
	error__set(error, err, "%s has no way to attach to %s: %s", where, hook__name(hook),
		   reasons);
	return error__hint(error, err, "perilune doctor shows what this kernel can do");
}

int attach__attach(enum hook hook, int ifindex, enum attach_mode mode, int prog_fd,
		   struct attachment **out, struct error *error)
{
	const struct attach_ops *const *modes = hook == HOOK_XDP ? xdp_modes : tc_modes;
	char name[IF_NAMESIZE], where[32], reasons[512] = "";
	struct error reason = {0};
	size_t len = 0;
	int err = -EINVAL;

	if (if_indextoname((unsigned int)ifindex, name))
		snprintf(where, sizeof(where), "%s", name);
	else
		snprintf(where, sizeof(where), "interface %d", ifindex);
	for (; *modes; modes++) {
		if (mode != ATTACH_AUTO && mode != (*modes)->mode)
			continue;
		err = (*modes)->attach(hook, ifindex, prog_fd, out, &reason);
		if (err != -EOPNOTSUPP)
			break;
		if (len < sizeof(reasons))
			len += (size_t)snprintf(reasons + len, sizeof(reasons) - len, "%s%s: %s",
						len ? "; " : "", (*modes)->name, reason.message);
	}
	if (!err)
		return 0;
	if (err == -EOPNOTSUPP)
		return give_up(err, where, hook, reasons, error);
	if (!*modes)
		return error__set(error, err, "this mode does not go with hook %s",
				  hook__name(hook));
	if (error)
		*error = reason;
	return err;
}

int attach__replace(struct attachment *attachment, int prog_fd, struct error *error)
{
	return attachment->ops->replace(attachment, prog_fd, error);
}

int attach__detach(struct attachment *attachment)
{
	return attachment ? attachment->ops->detach(attachment) : 0;
}

void attach__leave(struct attachment *attachment)
{
	if (attachment->ops->leave)
		attachment->ops->leave(attachment);
	else
		attach__detach(attachment);
}

bool attach__alive(const struct attachment *attachment)
{
	return attachment->ops->alive(attachment);
}
