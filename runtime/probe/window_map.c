/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/window_map.h"

#include <errno.h>
#include <linux/types.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

bool window_map__is_array(const struct bpf_map *map)
{
	return bpf_map__type(map) == BPF_MAP_TYPE_ARRAY ||
	       bpf_map__type(map) == BPF_MAP_TYPE_PERCPU_ARRAY;
}

bool window_map__is_lru(const struct bpf_map *map)
{
	return bpf_map__type(map) == BPF_MAP_TYPE_LRU_HASH ||
	       bpf_map__type(map) == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static bool is_ring(const struct bpf_map *map)
{
	return bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF;
}

bool window_map__is_taken(const struct bpf_map *map)
{
	return is_ring(map) || bpf_map__type(map) == BPF_MAP_TYPE_QUEUE ||
	       bpf_map__type(map) == BPF_MAP_TYPE_STACK;
}

bool window_map__is_outer(const struct bpf_map *map)
{
	return bpf_map__type(map) == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
	       bpf_map__type(map) == BPF_MAP_TYPE_HASH_OF_MAPS;
}

void window_map__describe(const struct bpf_map *map, struct extract_map *out)
{
	*out = (struct extract_map){.fd = bpf_map__fd(map),
				    .type = bpf_map__type(map),
				    .flags = bpf_map__map_flags(map),
				    .max_entries = bpf_map__max_entries(map),
				    .entries = bpf_map__max_entries(map)};
}

/* The struct by which a program declares its map: what the variable of this name in section .maps is. NULL: none. */
static const struct btf_type *declaration(const struct btf *btf, const char *name)
{
	int section = btf__find_by_name_kind(btf, ".maps", BTF_KIND_DATASEC);
	const struct btf_type *type, *var;
	const struct btf_var_secinfo *info;

	if (section < 0)
		return NULL;
	type = btf__type_by_id(btf, (__u32)section);
	info = btf_var_secinfos(type);
	for (int i = 0; i < btf_vlen(type); i++) {
		int id;

		var = btf__type_by_id(btf, info[i].type);
		if (strcmp(btf__name_by_offset(btf, var->name_off), name) != 0)
			continue;
		id = btf__resolve_type(btf, var->type);
		type = id < 0 ? NULL : btf__type_by_id(btf, (__u32)id);
		return type && btf_is_struct(type) ? type : NULL;
	}
	return NULL;
}

/* What the member of this name in a map's declaration points to; 0: there is none. */
static __u32 pointed_to(const struct btf *btf, const char *map, const char *name)
{
	const struct btf_type *type = declaration(btf, map);
	const struct btf_member *member = type ? btf_members(type) : NULL;

	for (int i = 0; type && i < btf_vlen(type); i++, member++) {
		const struct btf_type *pointer;

		if (strcmp(btf__name_by_offset(btf, member->name_off), name) != 0)
			continue;
		pointer = btf__type_by_id(btf, member->type);
		return pointer && btf_is_ptr(pointer) ? pointer->type : 0;
	}
	return 0;
}

/*
 * The type of the values as declared: `__type(value, T)` is a member `value` that points to T. Of maps that the kernel keeps no
 * BTF of (queues, stacks), libbpf forgets the type when it has loaded them. Of ring buffers see WINDOWED_RING.
 */
static __u32 declared_value(const struct btf *btf, const char *name, bool ring)
{
	__u32 id = pointed_to(btf, name, ring ? "max_entries" : "value");
	const struct btf_type *type;

	if (!ring || !id)
		return id;
	type = btf__type_by_id(btf, id);
	return type && btf_is_array(type) ? btf_array(type)->type : 0;
}

uint32_t window_map__record_size(struct bpf_object *object, const struct bpf_map *ring)
{
	const struct btf *btf = bpf_object__btf(object);
	__u32 id = btf ? declared_value(btf, bpf_map__name(ring), true) : 0;
	int64_t size = id ? btf__resolve_size(btf, id) : 0;

	return size > 0 && size <= UINT32_MAX ? (uint32_t)size : 0;
}

static int fold_field(struct layout *layout, const char *map, const struct window_fold *fold,
		      struct error *error)
{
	int err = layout__set_fold(layout, fold->field, fold->fold);

	if (err == -ENOENT)
		return error__set(error, err, "map %s: there is no field %s to fold", map,
				  fold->field);
	if (err)
		return error__set(error, err, "map %s: the field %s cannot be folded that way", map,
				  fold->field);
	return 0;
}

static int set_folds(struct layout *layout, const char *map, const struct window_fold *folds,
		     size_t nfolds, struct error *error)
{
	int err = 0;

	/* First what is said of all fields, then what is said of one. */
	for (size_t i = 0; i < nfolds; i++)
		for (size_t f = 0; !folds[i].field && f < layout->nfields; f++)
			layout__set_fold(layout, layout->fields[f].name, folds[i].fold);
	for (size_t i = 0; !err && i < nfolds; i++)
		if (folds[i].field)
			err = fold_field(layout, map, &folds[i], error);
	return err;
}

static bool is_percpu(const struct bpf_map *map)
{
	return bpf_map__type(map) == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       bpf_map__type(map) == BPF_MAP_TYPE_PERCPU_HASH ||
	       bpf_map__type(map) == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

int window_map__layout(struct bpf_object *object, const struct bpf_map *map,
		       const struct window_shape *shape, struct layout **out, struct error *error)
{
	const char *name = bpf_map__name(map);
	struct layout_spec spec = {.btf = bpf_object__btf(object),
				   .key_type = bpf_map__btf_key_type_id(map),
				   .key_size = bpf_map__key_size(map),
				   .value_type = bpf_map__btf_value_type_id(map),
				   .value_size = bpf_map__value_size(map)};
	int err;

	if (window_map__is_array(map)) {
		spec.index = true;
		spec.key_type = 0;
		if (shape->index) {
			int id = btf__find_by_name_kind(spec.btf, shape->index, BTF_KIND_ENUM);

			if (id < 0)
				return error__set(error, id, "map %s: there is no enum %s", name,
						  shape->index);
			spec.key_type = (__u32)id;
		}
	}
	if (!spec.value_type && spec.btf)
		spec.value_type = declared_value(spec.btf, name, is_ring(map));
	if (is_ring(map))
		spec.value_size = window_map__record_size(object, map);
	if (shape->keep && is_percpu(map))
		spec.cpus = (uint32_t)libbpf_num_possible_cpus();
	err = layout__new(&spec, out, error);
	if (err)
		return err;
	err = set_folds(*out, name, shape->folds, shape->nfolds, error);
	if (err) {
		layout__free(*out);
		*out = NULL;
	}
	return err;
}
