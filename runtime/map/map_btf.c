/* SPDX-License-Identifier: Apache-2.0 */
#include "map/map_btf.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "map/map_prog.h"

/* Through const, volatile and typedef. NULL when the id is bad. */
static const struct btf_type *plain(const struct btf *btf, uint32_t id, uint32_t *at)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	while (t && (btf_is_mod(t) || btf_is_typedef(t))) {
		id = t->type;
		t = btf__type_by_id(btf, id);
	}
	if (at)
		*at = id;
	return t;
}

static const struct btf_member *member(const struct btf *btf, const struct btf_type *def,
				       const char *name)
{
	const struct btf_member *m = btf_members(def);

	for (uint32_t i = 0; i < btf_vlen(def); i++) {
		const char *known = btf__name_by_offset(btf, m[i].name_off);

		if (known && !strcmp(known, name))
			return &m[i];
	}
	return NULL;
}

/* `T *name` → T; 0 when there is none. How __type(name, T) is written. */
static uint32_t declared_type(const struct btf *btf, const struct btf_type *def, const char *name)
{
	const struct btf_member *m = member(btf, def, name);
	const struct btf_type *t = m ? plain(btf, m->type, NULL) : NULL;

	return t && btf_is_ptr(t) ? t->type : 0;
}

/* `int (*name)[N]` → N; 0 when there is none. How __uint(name, N) is written. */
static uint32_t declared_number(const struct btf *btf, const struct btf_type *def, const char *name)
{
	const struct btf_type *t = plain(btf, declared_type(btf, def, name), NULL);

	return t && btf_is_array(t) ? btf_array(t)->nelems : 0;
}

/* `T *values[]` → the struct T. How __array(values, T) declares the inner maps. */
static const struct btf_type *declared_inner(const struct btf *btf, const struct btf_type *def)
{
	const struct btf_member *m = member(btf, def, "values");
	const struct btf_type *t = m ? plain(btf, m->type, NULL) : NULL;

	t = t && btf_is_array(t) ? plain(btf, btf_array(t)->type, NULL) : NULL;
	t = t && btf_is_ptr(t) ? plain(btf, t->type, NULL) : NULL;
	return t && btf_is_struct(t) ? t : NULL;
}

/* The definition of the map in the section .maps of a program's BTF, or NULL. */
static const struct btf_type *definition(const struct btf *btf, const struct map *map)
{
	int id = btf__find_by_name_kind(btf, ".maps", BTF_KIND_DATASEC);
	const struct btf_type *section = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
	const struct btf_var_secinfo *vars = section ? btf_var_secinfos(section) : NULL;

	for (uint32_t i = 0; section && i < btf_vlen(section); i++) {
		const struct btf_type *var = btf__type_by_id(btf, vars[i].type), *def;
		const char *name;

		if (!var || !btf_is_var(var))
			continue;
		name = btf__name_by_offset(btf, var->name_off);
		def = plain(btf, var->type, NULL);
		if (name && map__has_name(map->name, name) && def && btf_is_struct(def) &&
		    declared_number(btf, def, "type") == map->type)
			return def;
	}
	return NULL;
}

/* Reads what a definition says. False when it says nothing. */
static bool take_definition(struct map_types *types, struct btf *btf, const struct btf_type *def)
{
	const struct btf_type *inner = declared_inner(btf, def);

	types->key = declared_type(btf, def, "key");
	types->value = declared_type(btf, def, "value");
	if (inner) {
		types->inner_key = declared_type(btf, inner, "key");
		types->inner_value = declared_type(btf, inner, "value");
	}
	return types->key || types->value || types->inner_key || types->inner_value;
}

/* Looks in the programs that use the map. */
static int search_programs(const struct map *map, struct map_types *types)
{
	struct map_progs progs;

	if (!*map->name || map_progs__read(&progs, NULL))
		return 0;
	for (size_t i = 0; i < progs.count && !types->btf; i++) {
		const struct map_prog *prog = &progs.all[i];
		const struct btf_type *def;
		struct btf *btf;

		if (!prog->btf || !map_prog__uses(prog, map->id))
			continue;
		btf = btf__load_from_kernel_by_id(prog->btf);
		def = btf ? definition(btf, map) : NULL;
		if (def && take_definition(types, btf, def)) {
			map_types__own(types, btf);
			types->program = prog->id;
		} else {
			btf__free(btf);
		}
	}
	map_progs__free(&progs);
	return 0;
}

/* A struct_ops map's value is the kernel's, or a module's. */
static void search_kernel(const struct map *map, struct map_types *types)
{
	struct btf *vmlinux = btf__load_vmlinux_btf(), *module = NULL;

	if (!vmlinux)
		return;
	if (map->kernel_btf)
		module = btf__load_from_kernel_by_id_split(map->kernel_btf, vmlinux);
	map_types__own(types, vmlinux);
	if (module && btf__base_btf(module))
		map_types__own(types, module);
	else
		btf__free(module);
	types->value = map->kernel_value_type;
}

/* As the outer map declares its inner ones: the same BTF, of which this is a view. */
static int borrow(const struct map_types *outer, struct map_types *types)
{
	struct btf *view = btf__new_empty_split(outer->btf);

	if (!view)
		return -ENOMEM;
	map_types__own(types, view);
	types->key = outer->inner_key;
	types->value = outer->inner_value;
	types->program = outer->program;
	return 0;
}

void map_types__own(struct map_types *types, struct btf *btf)
{
	size_t at = 0;

	while (types->owned[at])
		at++; /* there are never more than MAP_BTFS: found, of a module, made */
	if (btf)
		types->owned[at] = types->btf = btf;
}

int map_types__find(const struct map *map, const struct map_types *outer, struct map_types *out,
		    struct error *error)
{
	int err = 0;

	*out = (struct map_types){.key_size = map->key_size, .value_size = map->value_size};
	if (map->btf && (map->key_type || map->value_type)) {
		map_types__own(out, btf__load_from_kernel_by_id(map->btf));
		out->key = out->btf ? map->key_type : 0;
		out->value = out->btf ? map->value_type : 0;
	} else if (map->kernel_value_type) {
		search_kernel(map, out);
	}
	if (!out->btf)
		err = search_programs(map, out);
	if (!err && !out->btf && outer && outer->btf && (outer->inner_key || outer->inner_value))
		err = borrow(outer, out);
	if (!err)
		err = map_types__complete(map, out);
	if (err) {
		map_types__free(out);
		return error__set(error, err, "cannot describe the map: %s", strerror(-err));
	}
	return 0;
}

void map_types__free(struct map_types *types)
{
	for (size_t i = MAP_BTFS; i > 0; i--)
		btf__free(types->owned[i - 1]);
	*types = (struct map_types){0};
}

/* Whether a type has this many bytes. */
static bool fits(const struct map_types *types, uint32_t id, uint32_t size)
{
	return id && size && btf__resolve_size(types->btf, id) == (int64_t)size;
}

/* Arrays have "an index" unless their key says more: the names of an enum. */
static bool says_more(const struct map_types *types, uint32_t id)
{
	const struct btf_type *t = plain(types->btf, id, NULL);

	return t && btf_is_any_enum(t);
}

int map_types__layout(const struct map *map, const struct map_types *types, uint32_t cpus,
		      struct layout **out, struct error *error)
{
	bool index = map->kind && map->kind->array;
	struct layout_spec spec = {
		.btf = types->btf,
		.key_type = fits(types, types->key, types->key_size) ? types->key : 0,
		.key_size = types->key_size,
		.value_type = fits(types, types->value, types->value_size) ? types->value : 0,
		.value_size = types->value_size,
		.cpus = cpus,
	};

	if (index && !(spec.key_type && says_more(types, spec.key_type))) {
		spec.key_type = 0;
		spec.index = true;
	}
	return layout__new(&spec, out, error);
}
