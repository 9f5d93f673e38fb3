/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/attach_link.h"

#include <errno.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

struct link_attachment {
	struct attachment base; /* first: the table's functions get a pointer to it */
	int fd;
	char pin[ATTACH_LINK_PATH]; /* where it is pinned; "": nowhere */
};

/* What is attached by a descriptor, which is closed when that fails. */
static int wrap(const struct attach_link_place *place, int fd, struct attachment **out)
{
	struct link_attachment *link = calloc(1, sizeof(*link));

	if (!link) {
		close(fd);
		return -ENOMEM;
	}
	link->base = (struct attachment){.ops = place->ops,
					 .hook = place->hook,
					 .ifindex = place->ifindex};
	link->fd = fd;
	*out = &link->base;
	return 0;
}

int attach_link__create(const struct attach_link_place *place, int prog_fd, struct attachment **out)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = place->flags);
	int fd = bpf_link_create(prog_fd, place->ifindex, (enum bpf_attach_type)place->type, &opts);

	return fd < 0 ? fd : wrap(place, fd, out);
}

int attach_link__adopt(const struct attach_link_place *place, int fd, const char *path,
		       struct attachment **out)
{
	int err = wrap(place, fd, out);

	if (!err)
		snprintf(((struct link_attachment *)*out)->pin, ATTACH_LINK_PATH, "%s", path);
	return err;
}

int attach_link__pin(struct attachment *attachment, const char *path)
{
	struct link_attachment *link = (struct link_attachment *)attachment;
	int err;

	if (strlen(path) >= sizeof(link->pin))
		return -ENAMETOOLONG;
	err = bpf_obj_pin(link->fd, path);
	if (err == -EEXIST) { /* of an interface that has gone: it had the same index */
		unlink(path);
		err = bpf_obj_pin(link->fd, path);
	}
	if (!err)
		strcpy(link->pin, path);
	return err;
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

	if (link->pin[0]) {
		unlink(link->pin);
		bpf_link_detach(link->fd); /* should somebody else have it open */
	}
	close(link->fd); /* of a link whose interface is gone as well */
	free(link);
	return 0;
}

void attach_link__leave(struct attachment *attachment)
{
	struct link_attachment *link = (struct link_attachment *)attachment;

	close(link->fd);
	free(link);
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
