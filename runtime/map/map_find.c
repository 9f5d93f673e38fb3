/* SPDX-License-Identifier: Apache-2.0 */
#include "map/map_find.h"

#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#define SAID 16	      /* how many maps of one name are named */
#define MOUNTS_MAX 64 /* BPF file systems */

/* ---------------------------------------------------------------------------------------- by name */

struct found {
	struct map first;
	uint32_t id; /* of the first */
	size_t count;
	char ids[SAID * 32]; /* "12 (hash), 13 (array)" */
	size_t len;
};

static void note(struct found *found, const struct map *map)
{
	char room[16];

	if (found->count++ < SAID)
		found->len += (size_t)snprintf(found->ids + found->len,
					       sizeof(found->ids) - found->len, "%s%u (%s)",
					       found->len ? ", " : "", map->id,
					       map_type__name(map->type, room));
	else if (found->count == SAID + 1)
		snprintf(found->ids + found->len, sizeof(found->ids) - found->len, " …");
	if (found->len >= sizeof(found->ids))
		found->len = sizeof(found->ids) - 1;
}

/* Looks at every map. Those that go meanwhile are none. */
static int search(const char *name, struct found *found, struct error *error)
{
	uint32_t id = 0;
	int err;

	while (!(err = map__next_id(id, &id, error))) {
		struct map map = {0};

		err = map__open_id(id, &map, error);
		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		if (!map__has_name(map.name, name)) {
			map__close(&map);
			continue;
		}
		note(found, &map);
		if (found->count == 1) {
			found->first = map;
			found->id = map.id;
		} else {
			map__close(&map);
		}
	}
	return err == -ENOENT ? 0 : err;
}

int map__open_name(const char *name, struct map *out, struct error *error)
{
	struct found found = {0};
	int err = *name ? search(name, &found, error) : 0;

	if (!err && found.count == 1) {
		*out = found.first;
		return 0;
	}
	if (found.count)
		map__close(&found.first);
	if (err)
		return err;
	if (!found.count) {
		error__set(error, -ENOENT, "no map is called %s", *name ? name : "\"\"");
		return error__hint(error, -ENOENT, "perilune map list shows those that there are");
	}
	error__set(error, -EEXIST, "%zu maps are called %s: %s", found.count, name, found.ids);
	return error__hint(error, -EEXIST, "say which by its id: perilune map dump id %u",
			   found.id);
}

/* ------------------------------------------------------------------------------------------- pins */

static int add(struct map_pins *pins, uint32_t map, const char *path)
{
	if (!(pins->count & (pins->count - 1))) { /* full at each power of two */
		size_t room = pins->count ? 2 * pins->count : 1;
		struct map_pin *all = reallocarray(pins->all, room, sizeof(*all));

		if (!all)
			return -ENOMEM;
		pins->all = all;
	}
	pins->all[pins->count] = (struct map_pin){.map = map, .path = strdup(path)};
	return pins->all[pins->count].path ? (pins->count++, 0) : -ENOMEM;
}

static int look_at(const char *path, struct map_pins *pins)
{
	struct map map = {0};
	int err = map__open_path(path, &map, NULL);

	if (err)
		return err == -ENOMEM ? err : 0;
	err = add(pins, map.id, path);
	map__close(&map);
	return err;
}

static int walk(char *const *roots, struct map_pins *pins)
{
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	FTSENT *entry;
	int err = 0;

	if (!tree)
		return errno == ENOMEM ? -ENOMEM : 0;
	while (!err && (entry = fts_read(tree)))
		if (entry->fts_info == FTS_F || entry->fts_info == FTS_DEFAULT)
			err = look_at(entry->fts_path, pins);
	fts_close(tree);
	return err;
}

int map_pins__read(struct map_pins *out)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	char *roots[MOUNTS_MAX + 1] = {0};
	size_t count = 0;
	char text[2 * PATH_MAX];
	struct mntent entry;
	int err = 0;

	*out = (struct map_pins){0};
	if (!mounts)
		return 0;
	while (!err && count < MOUNTS_MAX && getmntent_r(mounts, &entry, text, sizeof(text))) {
		if (strcmp(entry.mnt_type, "bpf") != 0)
			continue;
		roots[count] = strdup(entry.mnt_dir);
		err = roots[count++] ? 0 : -ENOMEM;
	}
	endmntent(mounts);
	if (!err && count)
		err = walk(roots, out);
	for (size_t i = 0; i < count; i++)
		free(roots[i]);
	if (err)
		map_pins__free(out);
	return err;
}

void map_pins__free(struct map_pins *pins)
{
	for (size_t i = 0; i < pins->count; i++)
		free(pins->all[i].path);
	free(pins->all);
	*pins = (struct map_pins){0};
}
