/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/probe_maps.h"

#include <errno.h>
#include <linux/types.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "probe/window_map.h"

#define DEPTH_MAX 16

/* Bytes of a type that are something: members of structs, their elements, and all of what has no parts. */
static uint32_t covered(const struct btf *btf, int id, int depth)
{
	const struct btf_type *type;
	int64_t size;
	uint32_t sum = 0;

	id = btf__resolve_type(btf, (__u32)id);
	size = id > 0 ? btf__resolve_size(btf, (__u32)id) : 0;
	type = id > 0 && size > 0 ? btf__type_by_id(btf, (__u32)id) : NULL;
	if (!type)
		return 0;
	if (btf_is_array(type) && depth < DEPTH_MAX)
		return btf_array(type)->nelems *
		       covered(btf, (int)btf_array(type)->type, depth + 1);
	if (!btf_is_struct(type) || depth == DEPTH_MAX)
		return (uint32_t)size;
	for (__u32 i = 0; i < btf_vlen(type); i++) {
		if (btf_member_bitfield_size(type, i))
			return (uint32_t)size; /* bits are not looked into */
		sum += covered(btf, (int)btf_members(type)[i].type, depth + 1);
	}
	return sum;
}

static uint32_t padding(const struct btf *btf, const struct bpf_map *map)
{
	uint32_t id = bpf_map__btf_key_type_id(map);
	uint32_t sum = id && btf ? covered(btf, (int)id, 0) : bpf_map__key_size(map);

	return sum < bpf_map__key_size(map) ? bpf_map__key_size(map) - sum : 0;
}

void probe_maps__each(struct probe *probe, void (*fn)(const struct probe_map *map, void *arg),
		      void *arg)
{
	const struct btf *btf = bpf_object__btf(probe__object(probe));
	struct bpf_map *map;

	bpf_object__for_each_map(map, probe__object(probe)) {
		struct probe_map one = {.name = bpf_map__name(map),
					.type = bpf_map__type(map),
					.entries = bpf_map__max_entries(map),
					.padding = padding(btf, map)};

		if (!bpf_map__is_internal(map))
			fn(&one, arg);
	}
}

void probe_maps__each_program(struct probe *probe,
			      void (*fn)(const char *name, const char *section, void *arg),
			      void *arg)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, probe__object(probe))
		fn(bpf_program__name(program), bpf_program__section_name(program), arg);
}

int probe_maps__layout(struct probe *probe, const char *map, const char *index, struct layout **out,
		       struct error *error)
{
	struct bpf_object *object = probe__object(probe);
	const struct bpf_map *found = bpf_object__find_map_by_name(object, map);
	struct window_shape shape = {.index = index};

	if (!found)
		return error__set(error, -ENOENT, "there is no map %s", map);
	return window_map__layout(object, found, &shape, out, error);
}
