/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include "extract/json.h"
#include "lua/lua_batch.h"

#define MAX_JSON (16UL << 20)

lua_State *decode__open(const char *source)
{
	lua_State *L = luaL_newstate();

	if (!L)
		return NULL;
	luaL_openlibs(L);
	lua_getglobal(L, "package");
	lua_pushfstring(L, "%s/lua/?.lua", source);
	lua_setfield(L, -2, "path");
	lua_getfield(L, -1, "preload");
	lua_pushcfunction(L, luaopen_perilune_core_batch);
	lua_setfield(L, -2, "perilune.core.batch");
	lua_pop(L, 2);
	lua_pushfstring(L, "%s/tests/layout/fields.lua", source);
	if (luaL_loadfile(L, lua_tostring(L, -1)) || lua_pcall(L, 0, 1, 0)) {
		printf("X\t%s\n", lua_tostring(L, -1));
		lua_close(L);
		return NULL;
	}
	lua_setglobal(L, "fields");
	lua_settop(L, 0);
	return L;
}

static bool is_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH;
}

int decode__read(const struct btf *btf, uint32_t key_type, uint32_t value_type, int map_fd,
		 struct layout **layout, struct batch *batch, struct error *error)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	struct extract *extract = NULL;
	bool array;
	int err = bpf_map_get_info_by_fd(map_fd, &info, &len);

	*layout = NULL;
	if (err)
		return error__set(error, err, "no information about the map");
	array = info.type == BPF_MAP_TYPE_ARRAY || info.type == BPF_MAP_TYPE_PERCPU_ARRAY;
	err = layout__new(
		&(struct layout_spec){.btf = btf,
				      .key_type = key_type,
				      .key_size = info.key_size,
				      .value_type = value_type,
				      .value_size = info.value_size,
				      .index = array,
				      .cpus = is_per_cpu(info.type)
						      ? (uint32_t)libbpf_num_possible_cpus()
						      : 1},
		layout, error);
	if (err)
		return err;
	batch__init(batch, *layout);
	err = extract__open(&(struct extract_map){.fd = map_fd,
						  .type = info.type,
						  .flags = info.map_flags,
						  .max_entries = info.max_entries,
						  .entries = info.max_entries},
			    *layout, NULL, &extract, error);
	if (!err) {
		err = extract__read(extract, false, batch);
		if (err)
			error__set(error, err, "the map cannot be read");
	}
	extract__free(extract);
	if (err) {
		batch__free(batch);
		layout__free(*layout);
	}
	return err;
}

static int print_json(const struct batch *batch, enum json_form form, char letter)
{
	struct buf json;
	int err;

	buf__init(&json, MAX_JSON);
	err = json__record(&json, batch->layout, form, batch->records);
	if (err)
		printf("X\tno JSON: %s\n", strerror(-err));
	else
		printf("%c\t%s\n", letter, json.data);
	buf__free(&json);
	return err;
}

int decode__print(lua_State *L, struct batch *batch)
{
	int err = print_json(batch, JSON_PAIR, 'J');

	if (err)
		return err;
	lua_getglobal(L, "fields");
	lua_batch__push(L, batch, 0);
	if (lua_pcall(L, 1, 1, 0)) {
		printf("X\tLua: %s\n", lua_tostring(L, -1));
		err = -ECANCELED;
	} else {
		fputs(lua_tostring(L, -1), stdout);
	}
	lua_settop(L, 0);
	return err;
}
