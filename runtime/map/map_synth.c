/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Types for what no BTF describes, since the kernel itself makes it up: ids, addresses of a stack, owners of a storage.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <bpf/btf.h>
#include <linux/bpf.h>

#include "map/map_btf.h"
#include "map/map_owner.h"

/* The first error of a row of btf__add_…, so that they can be written without a check after each. */
struct maker {
	struct btf *btf;
	int err;
};

static uint32_t take(struct maker *m, int id)
{
	if (id < 0 && !m->err)
		m->err = id;
	return id < 0 ? 0 : (uint32_t)id;
}

static uint32_t number(struct maker *m, size_t size)
{
	static const char *const names[] = {
		[1] = "__u8", [2] = "__u16", [4] = "__u32", [8] = "__u64"};

	return take(m, btf__add_int(m->btf, names[size], size, 0));
}

/* An unsigned integer under a name that layout knows. */
static uint32_t named(struct maker *m, const char *name, size_t size)
{
	return take(m, btf__add_typedef(m->btf, name, (int)number(m, size)));
}

static uint32_t array(struct maker *m, uint32_t element, uint32_t count)
{
	return take(m, btf__add_array(m->btf, (int)number(m, 4), (int)element, count));
}

static uint32_t text(struct maker *m, uint32_t size)
{
	return array(m, take(m, btf__add_int(m->btf, "char", 1, BTF_INT_CHAR)), size);
}

struct part {
	const char *name;
	uint32_t type, offset; /* bytes */
};

/* Types come before the struct that has them: members can only be added to the type that was made last. */
static uint32_t record(struct maker *m, uint32_t size, const struct part *parts, size_t count)
{
	uint32_t id = take(m, btf__add_struct(m->btf, "", size));

	for (size_t i = 0; i < count; i++)
		take(m, btf__add_field(m->btf, parts[i].name, (int)parts[i].type,
				       parts[i].offset * 8, 0));
	return id;
}

#define RECORD(m, size, ...)                                                                       \
	record((m), (size), (const struct part[]){__VA_ARGS__},                                    \
	       sizeof((const struct part[]){__VA_ARGS__}) / sizeof(struct part))

static uint32_t family(struct maker *m)
{
	static const struct {
		const char *name;
		int value;
	} known[] = {{"unspec", AF_UNSPEC}, {"unix", AF_UNIX},	     {"inet", AF_INET},
		     {"inet6", AF_INET6},   {"netlink", AF_NETLINK}, {"packet", AF_PACKET},
		     {"vsock", AF_VSOCK},   {"xdp", AF_XDP}};
	uint32_t id = take(m, btf__add_enum(m->btf, "", sizeof(uint16_t)));

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		take(m, btf__add_enum_value(m->btf, known[i].name, known[i].value));
	return id;
}

static uint32_t build_id(struct maker *m)
{
	uint32_t status = take(m, btf__add_enum(m->btf, "", sizeof(uint32_t))), bytes, offset;

	take(m, btf__add_enum_value(m->btf, "empty", BPF_STACK_BUILD_ID_EMPTY));
	take(m, btf__add_enum_value(m->btf, "valid", BPF_STACK_BUILD_ID_VALID));
	take(m, btf__add_enum_value(m->btf, "ip", BPF_STACK_BUILD_ID_IP));
	bytes = array(m, number(m, 1), BPF_BUILD_ID_SIZE);
	offset = number(m, 8);
	return RECORD(m, sizeof(struct bpf_stack_build_id), {"status", status, 0},
		      {"build_id", bytes, offsetof(struct bpf_stack_build_id, build_id)},
		      {"offset", offset, offsetof(struct bpf_stack_build_id, offset)});
}

static uint32_t stack(struct maker *m, const struct map *map)
{
	if (map->flags & BPF_F_STACK_BUILD_ID)
		return array(m, build_id(m), map->value_size / sizeof(struct bpf_stack_build_id));
	return array(m, take(m, btf__add_ptr(m->btf, 0)), map->value_size / sizeof(uint64_t));
}

/* A number of this name, and the id of a program behind it where the map has room for one. */
static uint32_t with_program(struct maker *m, const struct map *map, const char *name,
			     uint32_t type)
{
	uint32_t program = number(m, 4);

	if (map->value_size < 8)
		return RECORD(m, 4, {name, type, 0});
	return RECORD(m, 8, {name, type, 0}, {"program", program, 4});
}

static uint32_t owner(struct maker *m, enum map_way way, uint32_t *size)
{
	uint32_t u32 = number(m, 4), u64 = number(m, 8), a, b, c;

	switch (way) {
	case MAP_TASKS:
		*size = sizeof(struct map_task);
		a = text(m, sizeof(((struct map_task *)0)->comm));
		return RECORD(m, *size, {"tid", u32, offsetof(struct map_task, tid)},
			      {"pid", u32, offsetof(struct map_task, pid)},
			      {"comm", a, offsetof(struct map_task, comm)});
	case MAP_CGROUPS:
		*size = sizeof(struct map_cgroup);
		a = text(m, sizeof(((struct map_cgroup *)0)->path));
		return RECORD(m, *size, {"cgroup", u64, offsetof(struct map_cgroup, id)},
			      {"path", a, offsetof(struct map_cgroup, path)});
	default:
		*size = sizeof(struct map_socket);
		a = family(m);
		b = named(m, "ip_proto", 2);
		c = named(m, "__be16", 2);
		u32 = number(m, 2);
		return RECORD(m, *size, {"cookie", u64, offsetof(struct map_socket, cookie)},
			      {"family", a, offsetof(struct map_socket, family)},
			      {"protocol", b, offsetof(struct map_socket, protocol)},
			      {"local_port", u32, offsetof(struct map_socket, local_port)},
			      {"remote_port", c, offsetof(struct map_socket, remote_port)});
	}
}

static uint32_t prefix_key(struct maker *m, uint32_t size)
{
	uint32_t u32 = number(m, 4), data = array(m, number(m, 1), size - 4);

	return RECORD(m, size, {"prefixlen", u32, 0}, {"data", data, 4});
}

static uint32_t cgroup_key(struct maker *m, uint32_t size)
{
	uint32_t u64 = number(m, 8), u32 = number(m, 4);

	if (size == 8)
		return RECORD(m, 8, {"cgroup_inode_id", u64, 0});
	return RECORD(m, 16, {"cgroup_inode_id", u64, 0}, {"attach_type", u32, 8});
}

static void complete_key(struct maker *m, const struct map *map, struct map_types *types)
{
	switch (map->type) {
	case BPF_MAP_TYPE_LPM_TRIE:
		if (map->key_size > 4)
			types->key = prefix_key(m, map->key_size);
		break;
	case BPF_MAP_TYPE_CGROUP_STORAGE:
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
		types->key = cgroup_key(m, map->key_size);
		break;
	case BPF_MAP_TYPE_PROG_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
	case BPF_MAP_TYPE_DEVMAP:
	case BPF_MAP_TYPE_DEVMAP_HASH:
	case BPF_MAP_TYPE_CPUMAP:
	case BPF_MAP_TYPE_SOCKMAP:
	case BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:
	case BPF_MAP_TYPE_STACK_TRACE:
	case BPF_MAP_TYPE_STRUCT_OPS:
		types->key = number(m, 4);
		break;
	default:
		break;
	}
}

/*
 * Global variables: a struct of them. Adding to a BTF moves what its base holds, so nothing of that is kept from one to the next.
 */
static uint32_t section(struct maker *m, const struct map *map, const struct btf *btf, uint32_t id)
{
	uint32_t made = take(m, btf__add_struct(m->btf, "", map->value_size));

	for (uint32_t i = 0; i < btf_vlen(btf__type_by_id(btf, id)) && !m->err; i++) {
		struct btf_var_secinfo info = btf_var_secinfos(btf__type_by_id(btf, id))[i];
		const struct btf_type *var = btf__type_by_id(btf, info.type);
		char *name = var && btf_is_var(var)
				     ? strdup(btf__name_by_offset(btf, var->name_off))
				     : NULL;

		if (name)
			take(m, btf__add_field(m->btf, name, (int)var->type, info.offset * 8, 0));
		free(name);
	}
	return made;
}

/* The value's type is a section of an object: .data, .bss, .rodata. */
static bool is_section(const struct map *map, const struct map_types *types)
{
	const struct btf_type *t = types->btf && types->value
					   ? btf__type_by_id(types->btf, types->value)
					   : NULL;

	return map->type == BPF_MAP_TYPE_ARRAY && t && btf_is_datasec(t);
}

static void complete_value(struct maker *m, const struct map *map, struct map_types *types)
{
	uint32_t type;

	switch (map->type) {
	case BPF_MAP_TYPE_ARRAY:
		types->value = section(m, map, types->btf, types->value);
		break;
	case BPF_MAP_TYPE_PROG_ARRAY:
		type = number(m, 4);
		types->value = RECORD(m, 4, {"program", type, 0});
		break;
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
	case BPF_MAP_TYPE_HASH_OF_MAPS:
		types->value = number(m, 4);
		break;
	case BPF_MAP_TYPE_DEVMAP:
	case BPF_MAP_TYPE_DEVMAP_HASH:
		types->value = with_program(m, map, "interface", named(m, "if_index", 4));
		break;
	case BPF_MAP_TYPE_CPUMAP:
		types->value = with_program(m, map, "queue_size", number(m, 4));
		break;
	case BPF_MAP_TYPE_SOCKMAP:
	case BPF_MAP_TYPE_SOCKHASH:
	case BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:
		type = number(m, 8);
		types->value = RECORD(m, 8, {"cookie", type, 0});
		break;
	case BPF_MAP_TYPE_STACK_TRACE:
		types->value = stack(m, map);
		break;
	case MAP_TYPE_INSN_ARRAY:
		type = number(m, 4);
		types->value = RECORD(m, 16, {"orig_off", type, 0}, {"xlated_off", type, 4},
				      {"jitted_off", type, 8});
		break;
	default:
		break;
	}
}

/* Whether anything is to be made: by what the map is, or because its key would be bytes otherwise. */
static bool wanted(const struct map *map, const struct map_types *types)
{
	switch (map->kind ? map->kind->way : MAP_ENTRIES) {
	case MAP_IDS:
	case MAP_INNER:
	case MAP_STACKS:
	case MAP_TASKS:
	case MAP_CGROUPS:
	case MAP_SOCKETS:
		return true;
	default:
		break;
	}
	switch (map->type) {
	case BPF_MAP_TYPE_LPM_TRIE:
	case BPF_MAP_TYPE_CGROUP_STORAGE:
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
	case BPF_MAP_TYPE_STRUCT_OPS:
		return !types->key;
	default:
		return map->type == MAP_TYPE_INSN_ARRAY || is_section(map, types);
	}
}

int map_types__complete(const struct map *map, struct map_types *types)
{
	enum map_way way = map->kind ? map->kind->way : MAP_ENTRIES;
	struct maker m = {0};

	if (!wanted(map, types))
		return 0;
	m.btf = types->btf ? btf__new_empty_split(types->btf) : btf__new_empty();
	if (!m.btf)
		return -ENOMEM;
	if (way == MAP_TASKS || way == MAP_CGROUPS || way == MAP_SOCKETS)
		types->key = owner(&m, way, &types->key_size);
	else if (!types->key)
		complete_key(&m, map, types);
	complete_value(&m, map, types);
	if (m.err) {
		btf__free(m.btf);
		return m.err;
	}
	map_types__own(types, m.btf);
	return 0;
}
