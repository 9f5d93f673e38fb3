/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_twin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lua/lua_batch.h"
#include "lua/lua_twin_impl.h"

static const char *const modes[] = {"auto", "native", "generic", "tcx", "clsact", NULL};

static int read_map(struct lua_twin *t, struct error *error)
{
	size_t number = 0;
	int err = twin__find(t->twin, t->map, &number, error);

	if (err)
		return err;
	batch__free(&t->batch);
	batch__init(&t->batch, twin__layout(t->twin, number));
	return twin__read(t->twin, number, t->clear, &t->batch, error);
}

static int swap_and_drain(struct lua_twin *t, struct error *error)
{
	int err = twin__swap(t->twin, &t->cost, error);

	return err ? err
		   : twin__drain(t->twin, t->maps, false, t->batches, t->evicted, &t->cost, error);
}

static void work(void *arg)
{
	struct lua_twin *t = arg;
	struct error *error = &t->error;

	switch (t->kind) {
	case WORK_LOAD:
		t->code = twin__load(t->twin, error);
		break;
	case WORK_ATTACH:
		t->code = twin__attach(t->twin, t->program, t->hook, t->ifindex, t->mode,
				       &t->mode_name, error);
		break;
	case WORK_WINDOWS:
		t->code = twin__window(t->twin, t->windows->specs, t->windows->count, error);
		break;
	case WORK_SWAP:
		t->code = swap_and_drain(t, error);
		break;
	case WORK_FLIP:
		t->code = twin__swap(t->twin, &t->cost, error);
		break;
	case WORK_DRAIN:
		t->code = twin__drain(t->twin, t->maps, false, t->batches, t->evicted, &t->cost,
				      error);
		break;
	case WORK_READ:
		t->code = read_map(t, error);
		break;
	case WORK_ADOPT:
		t->code = twin__adopt(t->twin, t->other->twin, error);
		break;
	case WORK_DETACH:
		t->code = twin__detach(t->twin);
		if (t->code < 0)
			error__set(error, t->code, "detaching failed: %s", strerror(-t->code));
		break;
	}
}

static void set_number(lua_State *L, const char *name, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, name);
}

static void push_cost(lua_State *L, const struct lua_twin *t)
{
	lua_createtable(L, 0, 9);
	set_number(L, "wall", (double)(t->cost.wall / 1000));
	set_number(L, "now", (double)t->cost.now / 1e9);
	set_number(L, "swap", t->cost.swap);
	set_number(L, "skew", t->cost.skew);
	set_number(L, "skew_least", t->cost.skew_least);
	set_number(L, "grace", t->cost.grace);
	set_number(L, "read", t->cost.read);
	set_number(L, "gone", (double)t->cost.gone);
	lua_newtable(L);
	for (size_t i = 0; i < twin__count(t->twin); i++) {
		if (t->evicted[i] == TWIN_NOT_KNOWN)
			continue;
		lua_pushnumber(L, (double)t->evicted[i]);
		lua_rawseti(L, -2, (int)i + 1);
	}
	lua_setfield(L, -2, "evicted");
}

static void push_batches(lua_State *L, struct lua_twin *t, int anchor)
{
	lua_newtable(L);
	for (size_t i = 0; i < twin__count(t->twin); i++) {
		if (!(t->maps & (1ULL << i)))
			continue;
		lua_batch__push(L, &t->batches[i], anchor);
		lua_rawseti(L, -2, (int)i + 1);
	}
}

static int push_result(lua_State *L, struct lua_twin *t, int anchor)
{
	switch (t->kind) {
	case WORK_ATTACH:
		lua_pushstring(L, t->mode_name);
		return 1;
	case WORK_WINDOWS:
		for (size_t i = 0; i < twin__count(t->twin); i++)
			batch__init(&t->batches[i], twin__layout(t->twin, i));
		lua_pushboolean(L, 1);
		return 1;
	case WORK_FLIP:
		push_cost(L, t);
		return 1;
	case WORK_SWAP:
	case WORK_DRAIN:
		push_batches(L, t, anchor);
		push_cost(L, t);
		return 2;
	case WORK_READ:
		return lua_batch__push(L, &t->batch, anchor);
	case WORK_DETACH:
		lua_pushinteger(L, t->code);
		return 1;
	default:
		lua_pushboolean(L, 1);
		return 1;
	}
}

static void release(struct lua_twin *t)
{
	for (size_t i = 0; i < TWIN_MAPS_MAX; i++)
		batch__free(&t->batches[i]);
	batch__free(&t->batch);
	twin__unload(t->twin);
	t->closed = true;
}

/* The other twin of an adoption, which was busy as long. */
static void give_back(struct lua_twin *other)
{
	other->busy = false;
	if (other->closing)
		release(other);
}

static void done(void *arg)
{
	struct lua_twin *t = arg;
	lua_State *L = lua_vm__state(t->vm);
	int self = t->self_ref, callback = t->done_ref, nargs;

	t->busy = false;
	if (t->kind == WORK_ADOPT)
		give_back(t->other);
	t->self_ref = t->done_ref = LUA_NOREF;
	lua_vm__push(L, self);
	lua_vm__push(L, callback);
	nargs = t->code < 0 ? lua_vm__fail(L, t->code, &t->error)
			    : push_result(L, t, lua_gettop(L) - 1);
	lua_vm__unref(L, &t->argument_ref);
	lua_vm__unref(L, &callback);
	lua_vm__unref(L, &self);
	free(t->windows);
	t->windows = NULL;
	if (t->closing)
		release(t);
	lua_vm__call(t->vm, nargs, 0);
	lua_pop(L, 1);
}

/* Starts `kind` on a worker; the callback is at `callback`. The value at 2 is kept until it is done. */
static int start(lua_State *L, struct lua_twin *t, enum work_kind kind, int callback)
{
	int err;

	t->kind = kind;
	t->code = 0;
	memset(&t->error, 0, sizeof(t->error));
	t->busy = true;
	t->done_ref = lua_vm__ref(L, callback);
	t->argument_ref = lua_vm__ref(L, 2);
	t->self_ref = lua_vm__ref(L, 1);
	err = loop__work(lua_vm__loop(t->vm), work, done, t);
	if (err) {
		t->busy = false;
		lua_vm__unref(L, &t->done_ref);
		lua_vm__unref(L, &t->argument_ref);
		lua_vm__unref(L, &t->self_ref);
		return lua_twin__fail(L, err, "cannot start a worker");
	}
	lua_pushboolean(L, 1);
	return 1;
}

/* A piece of work of which nothing is to be said but the callback at 2. */
static int start_alone(lua_State *L, enum work_kind kind)
{
	struct lua_twin *t = lua_twin__check(L);

	luaL_checktype(L, 2, LUA_TFUNCTION);
	return t->busy ? lua_twin__fail(L, -EBUSY, "the twin is busy") : start(L, t, kind, 2);
}

static int twin_load(lua_State *L)
{
	return start_alone(L, WORK_LOAD);
}

static int twin_detach(lua_State *L)
{
	return start_alone(L, WORK_DETACH);
}

static int twin_attach(lua_State *L)
{
	struct lua_twin *t = lua_twin__check(L);

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	if (t->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	lua_getfield(L, 2, "hook");
	t->hook = (enum hook)luaL_checkoption(L, -1, NULL, lua_twin__hooks);
	lua_getfield(L, 2, "mode");
	t->mode = (enum attach_mode)luaL_checkoption(L, -1, "auto", modes);
	lua_pop(L, 2);
	t->ifindex = (int)lua_table__integer(L, 2, "ifindex", 0);
	t->program = lua_table__string(L, 2, "program");
	luaL_argcheck(L, t->program, 2, "program");
	return start(L, t, WORK_ATTACH, 3);
}

/* total = { map =, field =, index = }, of the table at `at`. */
static void read_total(lua_State *L, int at, struct twin_spec *spec)
{
	int total;

	lua_getfield(L, at, "total");
	total = lua_gettop(L);
	if (lua_istable(L, total)) {
		spec->total = lua_table__string(L, total, "map");
		spec->total_field = lua_table__string(L, total, "field");
		spec->total_index = lua_table__integer(L, total, "index", -1);
		if (!spec->total)
			luaL_error(L, "a total needs a map");
	} else if (!lua_isnil(L, total)) {
		luaL_error(L, "total is a table: { map =, field =, index = }");
	}
	lua_pop(L, 1);
}

static void read_specs(lua_State *L, struct windows *windows, size_t count)
{
	windows->count = count;
	for (size_t i = 0; i < count; i++) {
		struct twin_spec *spec = &windows->specs[i];
		int at;

		lua_rawgeti(L, 2, (int)i + 1);
		at = lua_gettop(L);
		luaL_checktype(L, at, LUA_TTABLE);
		*spec = (struct twin_spec){
			.map = lua_table__string(L, at, "map"),
			.field = lua_table__string(L, at, "field"),
			.total_index = -1,
		};
		luaL_argcheck(L, spec->map, 2, "a windowed map needs a name");
		spec->nfolds = lua_table__folds(L, at, &windows->folds, &spec->folds, &spec->keep);
		read_total(L, at, spec);
		lua_pop(L, 1);
	}
}

static int twin_windows(lua_State *L)
{
	struct lua_twin *t = lua_twin__check(L);
	size_t count = lua_objlen(L, 2);
	struct windows *windows;

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	luaL_argcheck(L, count <= TWIN_MAPS_MAX, 2, "too many windowed maps");
	if (t->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	/* Lua's memory first: what is wrong with the table leaves this function without coming back. */
	windows = lua_newuserdata(L, sizeof(*windows));
	memset(windows, 0, sizeof(*windows));
	read_specs(L, windows, count);
	free(t->windows);
	t->windows = malloc(sizeof(*windows));
	if (!t->windows)
		return lua_twin__fail(L, -ENOMEM, "out of memory");
	memcpy(t->windows, windows, sizeof(*windows));
	for (size_t i = 0; i < count; i++) /* the folds have moved with the rest */
		t->windows->specs[i].folds = t->windows->folds.items +
					     (windows->specs[i].folds - windows->folds.items);
	return start(L, t, WORK_WINDOWS, 3);
}

/* A piece of work on the windowed maps that the table at 2 names. */
static int start_with_maps(lua_State *L, enum work_kind kind)
{
	struct lua_twin *t = lua_twin__check(L);

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	if (t->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	t->maps = 0;
	for (int i = 0; i < TWIN_MAPS_MAX; i++) {
		lua_rawgeti(L, 2, i + 1);
		if (lua_toboolean(L, -1))
			t->maps |= 1ULL << i;
		lua_pop(L, 1);
	}
	return start(L, t, kind, 3);
}

static int twin_swap(lua_State *L)
{
	return start_with_maps(L, WORK_SWAP);
}

static int twin_drain(lua_State *L)
{
	return start_with_maps(L, WORK_DRAIN);
}

static int twin_flip(lua_State *L)
{
	return start_alone(L, WORK_FLIP);
}

static int twin_adopt(lua_State *L)
{
	struct lua_twin *t = lua_twin__check(L);
	struct lua_twin *other = lua_twin__check_at(L, 2);
	int pushed;

	luaL_checktype(L, 3, LUA_TFUNCTION);
	luaL_argcheck(L, t != other, 2, "another twin");
	if (t->busy || other->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	t->other = other;
	other->busy = true;
	pushed = start(L, t, WORK_ADOPT, 3);
	if (!t->busy)
		other->busy = false;
	return pushed;
}

static int twin_ways(lua_State *L)
{
	struct lua_twin *t = lua_twin__check(L);

	if (t->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	lua_newtable(L);
	for (size_t i = 0; i < twin__count(t->twin); i++) {
		lua_pushstring(L, extract_way__name(twin__way(t->twin, i)));
		lua_rawseti(L, -2, (int)i + 1);
	}
	return 1;
}

static int twin_read(lua_State *L)
{
	struct lua_twin *t = lua_twin__check(L);
	const char *map = luaL_checkstring(L, 2);
	bool clear = false;

	luaL_checktype(L, 4, LUA_TFUNCTION);
	if (!lua_isnil(L, 3)) {
		luaL_checktype(L, 3, LUA_TTABLE);
		lua_getfield(L, 3, "clear");
		clear = lua_toboolean(L, -1);
		lua_pop(L, 1);
	}
	if (t->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	t->map = map;
	t->clear = clear;
	return start(L, t, WORK_READ, 4);
}

static int twin_close(lua_State *L)
{
	struct lua_twin *t = luaL_checkudata(L, 1, TWIN_TYPE);

	if (t->busy)
		t->closing = true;
	else if (t->twin)
		release(t);
	return 0;
}

/* Batches and their layouts may outlive close(), so those go only when nothing refers to the twin. */
static int twin_gc(lua_State *L)
{
	struct lua_twin *t = luaL_checkudata(L, 1, TWIN_TYPE);

	if (!t->twin)
		return 0;
	release(t);
	free(t->windows);
	twin__free(t->twin);
	t->windows = NULL;
	t->twin = NULL;
	return 0;
}

int luaopen_perilune_core_twin(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"entries", lua_twin__entries},
		{"use", lua_twin__use},
		{"tail", lua_twin__tail},
		{"share", lua_twin__share},
		{"keep", lua_twin__keep},
		{"put", lua_twin__put},
		{"load", twin_load},
		{"attach", twin_attach},
		{"windows", twin_windows},
		{"ways", twin_ways},
		{"swap", twin_swap},
		{"flip", twin_flip},
		{"drain", twin_drain},
		{"read", twin_read},
		{"adopt", twin_adopt},
		{"detach", twin_detach},
		{"close", twin_close},
		{NULL, NULL},
	};
	static const luaL_Reg functions[] = {{"open", lua_twin__open}, {NULL, NULL}};

	luaL_newmetatable(L, TWIN_TYPE);
	lua_newtable(L);
	luaL_register(L, NULL, methods);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, twin_gc);
	lua_setfield(L, -2, "__gc");
	lua_pushliteral(L, TWIN_TYPE);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
