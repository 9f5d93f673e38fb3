/* SPDX-License-Identifier: Apache-2.0 */
/* What two twins have to do with each other: maps that both use, and links that one takes over. */
#include "probe/twin_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static bool same_kind(const struct bpf_map *a, const struct bpf_map *b)
{
	return bpf_map__type(a) == bpf_map__type(b) &&
	       bpf_map__key_size(a) == bpf_map__key_size(b) &&
	       bpf_map__value_size(a) == bpf_map__value_size(b);
}

/* A descriptor of its own, as the other may go first. */
static int duplicate(const struct bpf_map *map, int *out)
{
	*out = fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 3);
	return *out < 0 ? -errno : 0;
}

int twin__share(struct twin *twin, const struct twin *other, const char *map, struct error *error)
{
	const struct bpf_map *own = bpf_object__find_map_by_name(twin->objects[0], map), *theirs;
	struct twin_share *share = &twin->shares[twin->nshares];
	int err;

	if (twin->loaded || !other->loaded)
		return error__set(error, -EINVAL,
				  "%s: a map is shared before one is loaded, with "
				  "one that is",
				  twin->name);
	theirs = bpf_object__find_map_by_name(other->objects[0], map);
	if (!own || !theirs)
		return error__set(error, -ENOENT, "%s: there is no map %s",
				  own ? other->name : twin->name, map);
	if (!same_kind(own, theirs))
		return error__set(
			error, -EINVAL,
			"%s: the map %s is another in %s (kind, or sizes of key or value)",
			twin->name, map, other->name);
	if (twin->nshares == TWIN_MAPS_MAX)
		return error__set(error, -E2BIG, "%s: too many maps", twin->name);
	share->fds[0] = share->fds[1] = -1;
	err = twin__copy_name(share->map, map, error);
	if (!err)
		err = duplicate(theirs, &share->fds[0]);
	if (!err && other->objects[1])
		err = duplicate(bpf_object__find_map_by_name(other->objects[1], map),
				&share->fds[1]);
	twin->nshares++; /* also when it failed: what is open is closed with it */
	return err ? error__set(error, err, "%s: the map %s cannot be shared: %s", twin->name, map,
				strerror(-err))
		   : 0;
}

int twin__use_shares(struct twin *twin, struct bpf_object *object, struct error *error)
{
	int side = object != twin->objects[0];

	for (size_t i = 0; i < twin->nshares; i++) {
		const struct twin_share *share = &twin->shares[i];
		struct bpf_map *map = bpf_object__find_map_by_name(object, share->map);
		int fd = share->fds[side] >= 0 ? share->fds[side] : share->fds[0];
		int err = bpf_map__reuse_fd(map, fd);

		if (err)
			return error__set(error, err, "%s: the map %s cannot be shared: %s",
					  twin->name, share->map, strerror(-err));
	}
	return 0;
}

bool twin__is_share(const struct twin *twin, const char *map)
{
	for (size_t i = 0; i < twin->nshares; i++)
		if (!strcmp(twin->shares[i].map, map))
			return true;
	return false;
}

void twin__free_shares(struct twin *twin)
{
	for (size_t i = 0; i < twin->nshares; i++)
		for (int side = 0; side < 2; side++)
			if (twin->shares[i].fds[side] >= 0)
				close(twin->shares[i].fds[side]);
	twin->nshares = 0;
}

void twin__keep(struct twin *twin)
{
	twin->keep = true;
}

/* Gives a link the program that `twin` has in force under its name. */
static int give(const struct twin *twin, const struct twin_link *link, struct error *error)
{
	const struct bpf_program *program =
		bpf_object__find_program_by_name(twin->objects[twin->force], link->program);

	if (!program || bpf_program__fd(program) < 0)
		return error__set(error, -ENOENT, "%s: there is no program %s", twin->name,
				  link->program);
	return attach__replace(link->attachment, bpf_program__fd(program), error);
}

/* The first links are given their own programs again, or given up: left alone, they would count for somebody who has gone. */
static void put_back(struct twin *from, size_t count)
{
	while (count--) {
		struct twin_link *link = &from->links[count];

		if (link->gone || !give(from, link, NULL))
			continue;
		attach__detach(link->attachment);
		link->attachment = NULL;
		link->gone = true;
	}
}

int twin__adopt(struct twin *twin, struct twin *from, struct error *error)
{
	if (!twin->loaded)
		return error__set(error, -EINVAL, "%s is not loaded", twin->name);
	if (twin->nlinks)
		return error__set(error, -EBUSY, "%s is attached already", twin->name);
	for (size_t i = 0; i < from->nlinks; i++) {
		struct twin_link *link = &from->links[i];
		int err = link->gone ? 0 : give(twin, link, error);

		if (err == -ENODEV) {
			link->gone = true;
			err = 0;
		}
		if (!err)
			continue;
		put_back(from, i);
		return err;
	}
	memcpy(twin->links, from->links, sizeof(twin->links));
	twin->nlinks = from->nlinks;
	from->nlinks = 0;
	return 0;
}

int twin__put(struct twin *twin, const char *map, const void *key, size_t key_size,
	      const void *value, size_t value_size, struct error *error)
{
	const struct bpf_map *found = bpf_object__find_map_by_name(twin->objects[0], map);
	int err;

	if (!twin->loaded || !found || bpf_map__fd(found) < 0)
		return error__set(error, -ENOENT, "%s: there is no map %s", twin->name, map);
	if (bpf_map__key_size(found) != key_size || bpf_map__value_size(found) != value_size)
		return error__set(error, -EINVAL,
				  "%s: map %s has keys of %u and values of %u bytes", twin->name,
				  map, bpf_map__key_size(found), bpf_map__value_size(found));
	err = bpf_map_update_elem(bpf_map__fd(found), key, value, BPF_ANY);
	return err ? error__set(error, err, "%s: map %s cannot be written: %s", twin->name, map,
				strerror(-err))
		   : 0;
}
