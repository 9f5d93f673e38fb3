/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of lua_twin share, and nobody else includes. */
#ifndef PERILUNE_LUA_TWIN_IMPL_H
#define PERILUNE_LUA_TWIN_IMPL_H

#include <lauxlib.h>
#include <lua.h>

#include "lua/lua_table.h"
#include "lua/lua_vm.h"
#include "probe/twin.h"

#define TWIN_TYPE "perilune.twin"

enum work_kind {
	WORK_LOAD,
	WORK_ATTACH,
	WORK_WINDOWS,
	WORK_SWAP,
	WORK_FLIP,
	WORK_DRAIN,
	WORK_READ,
	WORK_ADOPT,
	WORK_DETACH,
};

/* The texts in it belong to Lua tables that are kept until the work is done. */
struct windows {
	struct twin_spec specs[TWIN_MAPS_MAX];
	size_t count;
	struct lua_folds folds;
};

struct lua_twin {
	struct twin *twin;
	struct lua_vm *vm;
	bool closing; /* close() was asked for while work was under way */
	bool closed;
	/* The piece of work under way, if any; written by the worker until its done. */
	bool busy;
	enum work_kind kind;
	int done_ref, self_ref, argument_ref;
	int code;
	struct error error;
	const char *program; /* attach; kept by argument_ref, like `map` */
	enum hook hook;
	enum attach_mode mode;
	int ifindex;
	const char *mode_name;
	struct windows *windows;
	const char *map;	/* read */
	struct lua_twin *other; /* adopt: kept by argument_ref, and busy as well */
	bool clear;
	uint64_t maps; /* swap */
	struct twin_cost cost;
	int64_t evicted[TWIN_MAPS_MAX];
	struct batch batches[TWIN_MAPS_MAX];
	struct batch batch; /* of a read */
};

/* The hooks' names in their order, NULL behind the last. */
extern const char *const lua_twin__hooks[];

/* The twin at 1, or at `index`; a Lua error when it is closed. */
struct lua_twin *lua_twin__check(lua_State *L);
struct lua_twin *lua_twin__check_at(lua_State *L, int index);
int lua_twin__fail(lua_State *L, int code, const char *message);

/* What is done at once: settings before load, and maps. */
int lua_twin__open(lua_State *L);
int lua_twin__entries(lua_State *L);
int lua_twin__use(lua_State *L);
int lua_twin__tail(lua_State *L);
int lua_twin__share(lua_State *L);
int lua_twin__keep(lua_State *L);
int lua_twin__put(lua_State *L);

#endif
