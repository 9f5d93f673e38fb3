/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of maps in use, without a window's end. */
#include "probe/twin_impl.h"

#include <errno.h>
#include <linux/types.h>
#include <string.h>

#include <bpf/libbpf.h>

size_t twin__count(const struct twin *twin)
{
	return twin->nmaps;
}

/* Numbers of maps that are not windowed begin behind all that could be. */
static struct twin_map *map_at(struct twin *twin, size_t number)
{
	return number < TWIN_MAPS_MAX ? &twin->maps[number] : &twin->others[number - TWIN_MAPS_MAX];
}

const struct layout *twin__layout(const struct twin *twin, size_t number)
{
	return number < TWIN_MAPS_MAX ? twin->maps[number].layout
				      : twin->others[number - TWIN_MAPS_MAX].layout;
}

enum extract_way twin__way(const struct twin *twin, size_t number)
{
	return extract__way(twin->maps[number].quiet[0]);
}

static int open_live(struct twin *twin, const char *name, int side, struct twin_map *map,
		     struct error *error)
{
	struct extract_map what;

	window_map__describe(bpf_object__find_map_by_name(twin->objects[side], name), &what);
	return extract__open(&what, map->layout, NULL, &map->live[side], error);
}

static int add(struct twin *twin, const struct bpf_map *found, const char *name, size_t *number,
	       struct error *error)
{
	const struct window_shape plain = {.keep = twin->keep};
	struct twin_map *map = &twin->others[twin->nothers];
	int err;

	if (twin->nothers == TWIN_MAPS_MAX)
		return error__set(error, -E2BIG, "%s: more than %d maps", twin->name,
				  TWIN_MAPS_MAX);
	err = twin__copy_name(map->name, name, error);
	if (!err)
		err = window_map__layout(twin->objects[0], found, &plain, &map->layout, error);
	if (!err)
		err = open_live(twin, name, 0, map, error);
	if (err) {
		twin_map__free(map);
		return err;
	}
	*number = TWIN_MAPS_MAX + twin->nothers++;
	return 0;
}

int twin__find(struct twin *twin, const char *name, size_t *number, struct error *error)
{
	const struct bpf_map *found = bpf_object__find_map_by_name(twin->objects[0], name);

	if (!twin->loaded)
		return error__set(error, -EINVAL, "%s is not loaded", twin->name);
	if (!found || bpf_map__fd(found) < 0)
		return error__set(error, -ENOENT, "%s: there is no map %s", twin->name, name);
	for (size_t i = 0; i < twin->nmaps; i++) {
		if (strcmp(twin->maps[i].name, name) != 0)
			continue;
		*number = i;
		return twin->maps[i].live[twin->force]
			       ? 0
			       : open_live(twin, name, twin->force, &twin->maps[i], error);
	}
	for (size_t i = 0; i < twin->nothers; i++) {
		*number = TWIN_MAPS_MAX + i;
		if (!strcmp(twin->others[i].name, name))
			return 0;
	}
	return add(twin, found, name, number, error);
}

int twin__read(struct twin *twin, size_t number, bool clear, struct batch *batch,
	       struct error *error)
{
	struct twin_map *map = map_at(twin, number);
	int side = number < twin->nmaps ? twin->force : 0, err = 0;

	/* A swap since twin__find has made it the other's turn. */
	if (!map->live[side])
		err = open_live(twin, map->name, side, map, error);
	if (err)
		return err;
	err = extract__read(map->live[side], clear, batch);
	return err ? error__set(error, err, "%s: reading %s failed: %s", twin->name, map->name,
				strerror(-err))
		   : 0;
}
