/* SPDX-License-Identifier: Apache-2.0 */
/* The second instance: which of its maps are the first one's, and which its own. */
#include "probe/twin_impl.h"

#include <errno.h>
#include <linux/types.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "probe/probe_load.h"

/* Windows in the making; they become the twin's when all is well. */
struct pair {
	struct twin *twin;
	const struct twin_spec *specs;
	size_t count;
	struct bpf_object *object;
	struct twin_map maps[TWIN_MAPS_MAX];
};

static struct bpf_map *first_map(const struct pair *pair, const char *name)
{
	return bpf_object__find_map_by_name(pair->twin->objects[0], name);
}

static const char *refuse(const struct bpf_map *map)
{
	if (window_map__is_outer(map))
		return "it holds maps, not records; name the maps in it";
	if (bpf_map__type(map) == BPF_MAP_TYPE_PROG_ARRAY)
		return "it holds programs";
	if (bpf_map__pin_path(map))
		return "it is pinned, and its pin would show only one of two maps";
	if (bpf_map__is_internal(map) && !strstr(bpf_map__name(map), ".bss"))
		return "its values do not start as zero";
	return NULL;
}

static int check(const struct pair *pair, struct error *error)
{
	for (size_t i = 0; i < pair->count; i++) {
		const char *name = pair->specs[i].map;
		const struct bpf_map *map = first_map(pair, name);
		const char *reason;

		if (!map)
			return error__set(error, -ENOENT, "%s: there is no map %s",
					  pair->twin->name, name);
		reason = refuse(map);
		if (reason)
			return error__set(error, -EINVAL, "%s: %s cannot be windowed: %s",
					  pair->twin->name, name, reason);
		for (size_t j = 0; j < i; j++)
			if (first_map(pair, pair->specs[j].map) == map)
				return error__set(error, -EINVAL, "%s: %s is named twice",
						  pair->twin->name, name);
	}
	return 0;
}

/* `map` is one of the second object. */
static bool is_windowed(const struct pair *pair, const struct bpf_map *map)
{
	for (size_t i = 0; i < pair->count; i++)
		if (bpf_object__find_map_by_name(pair->object, pair->specs[i].map) == map)
			return true;
	return false;
}

static bool is_windowed_id(const struct pair *pair, __u32 id)
{
	for (size_t i = 0; i < pair->count; i++) {
		struct bpf_map_info info = {0};
		__u32 len = sizeof(info);
		int fd = bpf_map__fd(first_map(pair, pair->specs[i].map));

		if (!bpf_map_get_info_by_fd(fd, &info, &len) && info.id == id)
			return true;
	}
	return false;
}

/* Whether one of the maps in a map of maps (of the first instance) is to be windowed. */
static bool holds_windowed(const struct pair *pair, const struct bpf_map *outer)
{
	unsigned char *keys = calloc(2, bpf_map__key_size(outer)), *last = NULL;
	size_t size = bpf_map__key_size(outer);
	uint32_t left = bpf_map__max_entries(outer);
	bool found = !keys; /* then it gets a map of its own, as its source makes it */
	__u32 id;

	while (!found && left-- && !bpf_map_get_next_key(bpf_map__fd(outer), last, keys)) {
		found = !bpf_map_lookup_elem(bpf_map__fd(outer), keys, &id) &&
			is_windowed_id(pair, id);
		last = memcpy(keys + size, keys, size);
	}
	free(keys);
	return found;
}

/* Gives the second object the first one's maps, all but those that each must have for itself. */
static int share_maps(const struct pair *pair, struct error *error)
{
	const struct twin *twin = pair->twin;
	struct bpf_map *map;

	bpf_object__for_each_map(map, pair->object) {
		const char *name = bpf_map__name(map);
		const struct bpf_map *first = bpf_object__find_map_by_name(twin->objects[0], name);
		int err;

		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			return error__set(error, -EOPNOTSUPP,
					  "%s: %s is a kernel's table of functions, of which there "
					  "cannot be two",
					  twin->name, name);
		if (is_windowed(pair, map) || twin__is_share(twin, name))
			continue;
		if (bpf_map__type(map) == BPF_MAP_TYPE_PROG_ARRAY ||
		    (window_map__is_outer(map) && holds_windowed(pair, first))) {
			bpf_map__set_pin_path(map, NULL);
			continue;
		}
		if (!bpf_map__autocreate(first) || bpf_map__fd(first) < 0)
			continue;
		err = bpf_map__reuse_fd(map, bpf_map__fd(first));
		if (err)
			return error__set(error, err, "%s: %s cannot be used by two instances: %s",
					  twin->name, name, strerror(-err));
	}
	return 0;
}

static int load_second(struct pair *pair, struct error *error)
{
	struct twin *twin = pair->twin;
	struct error said = {0};
	int err = probe_load__open(twin->bytes, twin->len, twin->name, &pair->object, &said);

	if (!err)
		err = twin__prepare(twin, pair->object, &said);
	if (!err)
		err = share_maps(pair, &said);
	if (!err)
		err = probe_load__load(pair->object, twin->name, &said);
	if (!err)
		err = twin__fill_tails(twin, pair->object, &said);
	if (err) {
		error__set(error, err, "the second instance: %s", said.message);
		if (said.hint[0])
			error__hint(error, err, "%s", said.hint);
	}
	return err;
}

static int open_map(const struct pair *pair, size_t i, struct twin_map *map, struct error *error)
{
	static const struct extract_options quiet = {.quiet = true};
	struct bpf_object *objects[] = {pair->twin->objects[0], pair->object};
	const struct twin_spec *spec = &pair->specs[i];
	const struct window_shape shape = {.folds = spec->folds,
					   .nfolds = spec->nfolds,
					   .keep = spec->keep};
	int err = twin__copy_name(map->name, spec->map, error);

	if (!err)
		err = window_map__layout(objects[0], first_map(pair, spec->map), &shape,
					 &map->layout, error);
	for (int side = 0; !err && side < 2; side++) {
		struct extract_map what;

		window_map__describe(bpf_object__find_map_by_name(objects[side], spec->map), &what);
		err = extract__open(&what, map->layout, &quiet, &map->quiet[side], error);
	}
	return err;
}

static int counter_of(const struct twin_map *map, const char *name, const struct field **out,
		      struct error *error)
{
	const struct field *field = name ? layout__field(map->layout, name) : NULL;

	if (!field)
		return error__set(error, -ENOENT, "map %s: there is no field %s", map->name,
				  name ? name : "(none is named)");
	if (field->kind != FIELD_UINT || field->bits || field->size > 8 || field->count != 1)
		return error__set(error, -EINVAL, "map %s: the field %s does not count", map->name,
				  name);
	*out = field;
	return 0;
}

static int set_total(struct pair *pair, size_t i, struct error *error)
{
	const struct twin_spec *spec = &pair->specs[i];
	struct twin_map *map = &pair->maps[i];
	int err;

	if (!spec->total)
		return 0;
	for (map->total = 0; map->total < pair->count; map->total++)
		if (!strcmp(pair->specs[map->total].map, spec->total))
			break;
	if (map->total == pair->count)
		return error__set(error, -ENOENT,
				  "map %s: its total must be in a windowed map, and %s is none",
				  spec->map, spec->total);
	map->total_index = spec->total_index;
	err = counter_of(&pair->maps[map->total], spec->total_field, &map->total_field, error);
	return err ? err : counter_of(map, spec->field, &map->field, error);
}

void twin_map__unload(struct twin_map *map)
{
	for (int side = 0; side < 2; side++) {
		extract__free(map->quiet[side]);
		extract__free(map->live[side]);
		map->quiet[side] = map->live[side] = NULL;
	}
}

void twin_map__free(struct twin_map *map)
{
	twin_map__unload(map);
	layout__free(map->layout);
	*map = (struct twin_map){0};
}

int twin__window(struct twin *twin, const struct twin_spec *specs, size_t count,
		 struct error *error)
{
	struct pair *pair;
	int err;

	if (!twin->loaded)
		return error__set(error, -EINVAL, "%s is not loaded", twin->name);
	if (twin->objects[1])
		return error__set(error, -EALREADY, "%s has its windows already", twin->name);
	if ((!count && !twin->nshares) || count > TWIN_MAPS_MAX)
		return error__set(error, -EINVAL, "%zu windowed maps, where 1 to %d can be", count,
				  TWIN_MAPS_MAX);
	pair = calloc(1, sizeof(*pair));
	if (!pair)
		return error__set(error, -ENOMEM, "out of memory");
	pair->twin = twin;
	pair->specs = specs;
	pair->count = count;
	err = check(pair, error);
	if (!err)
		err = load_second(pair, error);
	for (size_t i = 0; !err && i < count; i++)
		err = open_map(pair, i, &pair->maps[i], error);
	for (size_t i = 0; !err && i < count; i++)
		err = set_total(pair, i, error);
	if (!err)
		err = grace__open(&twin->grace, error);
	if (err) {
		for (size_t i = 0; i < count; i++)
			twin_map__free(&pair->maps[i]);
		bpf_object__close(pair->object);
		grace__close(&twin->grace);
	} else {
		memcpy(twin->maps, pair->maps, sizeof(twin->maps));
		twin->nmaps = count;
		twin->objects[1] = pair->object;
	}
	free(pair);
	return err;
}
