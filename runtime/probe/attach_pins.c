/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/attach_pins.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "probe/attach_link.h"

/* Kinds of link, by the mode's name in a pin's. */
static const struct attach_ops *const kinds[] = {&attach_tcx, &attach_xdp_native,
						 &attach_xdp_generic};
#define KINDS (sizeof(kinds) / sizeof(*kinds))

struct found {
	struct attachment *attachment;
	uint64_t netns;
	struct found *next;
};

struct attach_pins {
	char directory[ATTACH_LINK_PATH / 2];
	struct found *found;
};

/* Of hook__name, without its dot, which that file system keeps for itself. */
static void hook_word(enum hook hook, char out[16])
{
	snprintf(out, 16, "%s", hook__name(hook));
	for (char *p = out; *p; p++)
		if (*p == '.')
			*p = '_';
}

static bool parse_hook(const char *word, enum hook *out)
{
	char name[16];

	for (int hook = 0; hook < HOOKS; hook++) {
		hook_word((enum hook)hook, name);
		if (!strcmp(name, word)) {
			*out = (enum hook)hook;
			return true;
		}
	}
	return false;
}

/* The place and the namespace that a pin's name says. */
static bool parse(const char *name, struct attach_link_place *place, uint64_t *netns)
{
	char hook[16], mode[16], *end;
	long ifindex;
	int rest = 0;

	*place = (struct attach_link_place){0};
	errno = 0;
	ifindex = strtol(name, &end, 10);
	if (errno || ifindex <= 0 || ifindex > INT_MAX ||
	    sscanf(end, "-%15[a-z_]-%15[a-z]-%n", hook, mode, &rest) != 2 || !rest ||
	    !parse_hook(hook, &place->hook))
		return false;
	place->ifindex = (int)ifindex;
	*netns = strtoull(end + rest, NULL, 10);
	if (errno)
		return false;
	for (size_t i = 0; i < KINDS; i++)
		if (!strcmp(kinds[i]->name, mode))
			place->ops = kinds[i];
	return place->ops;
}

static int take_up_one(struct attach_pins *pins, const char *name)
{
	struct attach_link_place place;
	char path[ATTACH_LINK_PATH];
	struct found *found;
	uint64_t netns;
	int fd, err;

	if (!parse(name, &place, &netns))
		return 0; /* not ours */
	snprintf(path, sizeof(path), "%s/%s", pins->directory, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	found = calloc(1, sizeof(*found));
	if (!found) {
		close(fd);
		return -ENOMEM;
	}
	err = attach_link__adopt(&place, fd, path, &found->attachment);
	if (err || !attach__alive(found->attachment)) {
		if (!err)
			attach__detach(found->attachment);
		free(found);
		return err;
	}
	found->netns = netns;
	found->next = pins->found;
	pins->found = found;
	return 0;
}

int attach_pins__open(const char *directory, bool take_up, struct attach_pins **out,
		      struct error *error)
{
	struct attach_pins *pins = calloc(1, sizeof(*pins));
	const struct dirent *entry;
	DIR *list;
	int err = 0;

	if (!pins)
		return error__set(error, -ENOMEM, "out of memory");
	snprintf(pins->directory, sizeof(pins->directory), "%s", directory);
	if (mkdir(directory, 0700) && errno != EEXIST)
		err = error__set(error, -errno, "%s cannot be made: %s", directory,
				 strerror(errno));
	list = err ? NULL : opendir(directory);
	if (!err && !list)
		err = error__set(error, -errno, "%s cannot be read: %s", directory,
				 strerror(errno));
	while (take_up && !err && list && (entry = readdir(list))) {
		if (entry->d_name[0] == '.')
			continue;
		err = take_up_one(pins, entry->d_name);
		if (err)
			error__set(error, err, "the link %s/%s cannot be opened: %s", directory,
				   entry->d_name, strerror(-err));
	}
	if (list)
		closedir(list);
	if (err)
		attach_pins__close(pins);
	else
		*out = pins;
	return err;
}

static uint64_t own_netns(void)
{
	struct stat st;

	return stat("/proc/thread-self/ns/net", &st) ? 0 : st.st_ino;
}

/* The link that is there already, whatever its mode. */
static struct attachment *claim(struct attach_pins *pins, enum hook hook, int ifindex)
{
	uint64_t netns = own_netns();

	for (struct found **at = &pins->found; *at; at = &(*at)->next) {
		struct found *found = *at;
		struct attachment *attachment = found->attachment;

		if (attachment->ifindex != ifindex || attachment->hook != hook ||
		    found->netns != netns)
			continue;
		*at = found->next;
		free(found);
		if (attach__alive(attachment))
			return attachment;
		attach__detach(attachment);
		return NULL;
	}
	return NULL;
}

static int pin(struct attach_pins *pins, struct attachment *attachment)
{
	char path[ATTACH_LINK_PATH], hook[16];

	hook_word(attachment->hook, hook);
	snprintf(path, sizeof(path), "%s/%d-%s-%s-%" PRIu64, pins->directory, attachment->ifindex,
		 hook, attachment->ops->name, own_netns());
	return attach_link__pin(attachment, path);
}

static int attach_anew(struct attach_pins *pins, enum hook hook, int ifindex, enum attach_mode mode,
		       int prog_fd, struct attachment **out, struct error *error)
{
	int err = attach__attach(hook, ifindex, mode, prog_fd, out, error);

	if (err)
		return err;
	err = pin(pins, *out);
	if (!err)
		return 0;
	attach__detach(*out);
	return error__set(error, err, "the link cannot be pinned in %s: %s", pins->directory,
			  strerror(-err));
}

/* Gives a link back to those that were found. */
static void keep(struct attach_pins *pins, struct attachment *attachment)
{
	struct found *found = calloc(1, sizeof(*found));

	if (!found) {
		attach__leave(attachment);
		return;
	}
	*found = (struct found){attachment, own_netns(), pins->found};
	pins->found = found;
}

/*
 * An interface has one mode of XDP at a time, so the link has to go before that of the other mode comes. Where there is no such mode, the program is
 * put back as it was, for whoever goes on with it.
 */
static int change_mode(struct attach_pins *pins, struct attachment *old, enum attach_mode mode,
		       int prog_fd, struct attachment **out, struct error *error)
{
	const enum attach_mode before = old->ops->mode;
	const enum hook hook = old->hook;
	const int ifindex = old->ifindex;
	struct attachment *again;
	int err;

	attach__detach(old);
	err = attach_anew(pins, hook, ifindex, mode, prog_fd, out, error);
	if (err && !attach_anew(pins, hook, ifindex, before, prog_fd, &again, NULL))
		keep(pins, again);
	return err;
}

int attach_pins__attach(struct attach_pins *pins, enum hook hook, int ifindex,
			enum attach_mode mode, int prog_fd, struct attachment **out,
			struct error *error)
{
	struct attachment *found;
	int err;

	if (hook != HOOK_XDP && mode == ATTACH_AUTO)
		mode = ATTACH_TCX;
	if (mode == ATTACH_CLSACT) {
		err = error__set(error, -EOPNOTSUPP, "clsact has no links, so it cannot be pinned");
		return error__hint(error, err, "use tcx or the hook xdp, or leave out --pin");
	}
	found = claim(pins, hook, ifindex);
	if (!found)
		return attach_anew(pins, hook, ifindex, mode, prog_fd, out, error);
	if (mode != ATTACH_AUTO && mode != found->ops->mode)
		return change_mode(pins, found, mode, prog_fd, out, error);
	err = attach__replace(found, prog_fd, error); /* as a rule it is that one */
	if (err)
		attach__detach(found);
	else
		*out = found;
	return err;
}

int attach_pins__drop(struct attach_pins *pins)
{
	int dropped = 0, err = 0;

	while (pins->found) {
		struct found *found = pins->found;
		int one = attach__detach(found->attachment);

		if (one && !err)
			err = one;
		dropped++;
		pins->found = found->next;
		free(found);
	}
	return err ? err : dropped;
}

void attach_pins__close(struct attach_pins *pins)
{
	while (pins && pins->found) {
		struct found *found = pins->found;

		attach__leave(found->attachment);
		pins->found = found->next;
		free(found);
	}
	free(pins);
}
