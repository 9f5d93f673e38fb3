/* SPDX-License-Identifier: Apache-2.0 */
#include "attach_link.h"

#include <errno.h>
#include <linux/types.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

struct link_attachment {
	struct attachment base; /* first: the table's functions get a pointer to it */
	int fd;
};

int attach_link__create(const struct attach_link_place *place, int prog_fd, struct attachment **out)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = place->flags);
	struct link_attachment *link = calloc(1, sizeof(*link));

	if (!link)
		return -ENOMEM;
	link->base = (struct attachment){.ops = place->ops,
					 .hook = place->hook,
					 .ifindex = place->ifindex};
	link->fd = bpf_link_create(prog_fd, place->ifindex, (enum bpf_attach_type)place->type,
				   &opts);
	if (link->fd < 0) {
		int err = link->fd;

		free(link);
		return err;
	}
	*out = &link->base;
	return 0;
}

int attach_link__replace(struct attachment *attachment, int prog_fd, struct error *error)
{
	const struct link_attachment *link = (struct link_attachment *)attachment;
	int err = bpf_link_update(link->fd, prog_fd, NULL);

	if (!err)
		return 0;
	/* A link outlives its interface: the kernel has then let go of the program already. */
	if (err == -ENOLINK || err == -ENODEV)
		return error__set(error, -ENODEV, "the interface of this %s link is gone",
				  attachment->ops->name);
	return error__set(error, err, "the program on the %s link cannot be replaced: %s",
			  attachment->ops->name, strerror(-err));
}

int attach_link__detach(struct attachment *attachment)
{
	struct link_attachment *link = (struct link_attachment *)attachment;

	close(link->fd); /* of a link whose interface is gone as well */
	free(link);
	return 0;
}

bool attach_link__alive(const struct attachment *attachment)
{
	const struct link_attachment *link = (const struct link_attachment *)attachment;
	struct bpf_link_info info = {0};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(link->fd, &info, &len))
		return false;
	/* The kernel clears the index of a link whose interface goes. */
	return info.type == BPF_LINK_TYPE_XDP ? info.xdp.ifindex : info.tcx.ifindex;
}
