/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_compile.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "compile/compile.h"
#include "compile/compile_now.h"
#include "lua/lua_vm.h"

#define COMPILE_TYPE "perilune.compile"
#define ARGS_MAX 256

/* The callback's own, apart from the userdata: it is due even when the Lua state has been closed
 * meanwhile. */
struct pending {
	struct lua_vm *vm; /* NULL: there is nobody left to tell */
	struct compile *compile;
	int done;
	struct pending **handle; /* the userdata; it is kept until the callback */
	int self;
};

/* Runs under lua_pcall: an object may be too large for the memory that is left. */
static int push_object(lua_State *L)
{
	const struct compile_result *result = lua_touserdata(L, 1);

	lua_pushlstring(L, result->object, result->object_len);
	return 1;
}

static void push_info(lua_State *L, bool cached, double seconds)
{
	lua_createtable(L, 0, 2);
	lua_pushboolean(L, cached);
	lua_setfield(L, -2, "cached");
	lua_pushnumber(L, seconds);
	lua_setfield(L, -2, "seconds");
}

static void on_compiled(const struct compile_result *result, void *arg)
{
	struct pending *pending = arg;
	struct lua_vm *vm = pending->vm;
	lua_State *L;
	int top;

	if (!vm) {
		free(pending);
		return;
	}
	L = lua_vm__state(vm);
	top = lua_gettop(L);
	*pending->handle = NULL;
	lua_vm__push(L, pending->done);
	lua_vm__unref(L, &pending->done);
	lua_vm__unref(L, &pending->self);
	free(pending);
	if (result->code) {
		lua_vm__fail(L, result->code, &result->error);
		lua_vm__call(vm, 3, 0);
		return;
	}
	lua_pushcfunction(L, push_object);
	lua_pushlightuserdata(L, (void *)result);
	if (lua_vm__call(vm, 1, 1)) {
		lua_settop(L, top);
		return;
	}
	push_info(L, result->cached, result->seconds);
	lua_vm__call(vm, 2, 0);
}

/* A string field of the table at 1, anchored by it; NULL when it is absent. */
static const char *field(lua_State *L, const char *name, int required)
{
	const char *text = NULL;
	size_t len;

	lua_getfield(L, 1, name);
	if (lua_type(L, -1) == LUA_TSTRING) {
		text = lua_tolstring(L, -1, &len);
		if (strlen(text) != len)
			luaL_error(L, "start: %s holds a NUL", name);
	} else if (!lua_isnil(L, -1) || required) {
		luaL_error(L, "start: %s must be a string", name);
	}
	lua_pop(L, 1);
	return text;
}

static void check_keys(lua_State *L)
{
	static const char *const known[] = {"name", "source", "args", "cache", NULL};

	lua_pushnil(L);
	while (lua_next(L, 1)) {
		const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
		const char *const *name = known;

		while (*name && strcmp(*name, key) != 0)
			name++;
		if (!*name)
			luaL_error(L, "start: unknown key %s", key);
		lua_pop(L, 1);
	}
}

static void get_args(lua_State *L, const char *args[ARGS_MAX])
{
	size_t count;

	lua_getfield(L, 1, "args");
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		args[0] = NULL;
		return;
	}
	if (!lua_istable(L, -1))
		luaL_error(L, "start: args must be a list of strings");
	count = lua_objlen(L, -1);
	if (count >= ARGS_MAX)
		luaL_error(L, "start: more than %d args", ARGS_MAX - 1);
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, -1, (int)i + 1);
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "start: args must be a list of strings");
		args[i] = lua_tostring(L, -1); /* the list holds on to it */
		lua_pop(L, 1);
	}
	args[count] = NULL;
	lua_pop(L, 1);
}

/* The table at 1, whose texts the request borrows. */
static struct compile_request get_request(lua_State *L, const char *args[ARGS_MAX])
{
	struct compile_request request = {.args = args};

	luaL_checktype(L, 1, LUA_TTABLE);
	check_keys(L);
	request.source = field(L, "source", 1);
	request.name = field(L, "name", 0);
	request.cache = field(L, "cache", 0);
	get_args(L, args);
	return request;
}

static int core_start(lua_State *L)
{
	const char *args[ARGS_MAX];
	struct compile_request request = get_request(L, args);
	struct pending *pending, **handle;
	struct error error;
	int err;

	luaL_checktype(L, 2, LUA_TFUNCTION);

	handle = lua_newuserdata(L, sizeof(struct pending *));
	*handle = NULL;
	luaL_getmetatable(L, COMPILE_TYPE);
	lua_setmetatable(L, -2);
	pending = calloc(1, sizeof(*pending));
	if (!pending)
		return luaL_error(L, "out of memory");
	*handle = pending; /* from here on the userdata frees it */
	pending->done = pending->self = LUA_NOREF;
	pending->handle = handle;
	pending->done = lua_vm__ref(L, 2);
	pending->self = lua_vm__ref(L, -1);
	pending->vm = lua_vm__from(L);
	err = compile__start(lua_vm__loop(pending->vm), &request, on_compiled, pending,
			     &pending->compile);
	if (!err)
		return 1;
	*handle = NULL;
	lua_vm__unref(L, &pending->done);
	lua_vm__unref(L, &pending->self);
	free(pending);
	error__set(&error, err, "cannot start compiling: %s", strerror(-err));
	return lua_vm__fail(L, err, &error);
}

/* Runs under lua_pcall, as push_object. */
static int push_now(lua_State *L)
{
	const struct compile_now *now = lua_touserdata(L, 1);

	lua_pushlstring(L, now->object.data, now->object.len);
	push_info(L, now->cached, now->seconds);
	return 2;
}

static int core_now(lua_State *L)
{
	const char *args[ARGS_MAX];
	struct compile_request request = get_request(L, args);
	struct compile_now now = {0};
	struct error error = {0};
	int err = compile__now(&request, &now, &error), failed = 0;

	if (!err) {
		lua_pushcfunction(L, push_now);
		lua_pushlightuserdata(L, &now);
		failed = lua_pcall(L, 1, 2, 0);
	}
	buf__free(&now.object);
	if (failed)
		return lua_error(L);
	return err ? lua_vm__fail(L, err, &error) : 2;
}

static int compile_cancel(lua_State *L)
{
	struct pending **handle = luaL_checkudata(L, 1, COMPILE_TYPE);

	if (*handle && (*handle)->compile)
		compile__cancel((*handle)->compile);
	return 0;
}

/* While it is pending this happens only as the state is closed. */
static int compile_gc(lua_State *L)
{
	struct pending **handle = luaL_checkudata(L, 1, COMPILE_TYPE), *pending = *handle;

	*handle = NULL;
	if (!pending)
		return 0;
	pending->vm = NULL;
	if (pending->compile)
		compile__cancel(pending->compile); /* the callback frees it */
	else
		free(pending);
	return 0;
}

static int core_clang(lua_State *L)
{
	char path[PATH_MAX];
	struct error error;
	int err = compile__clang(path, sizeof(path), &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushstring(L, path);
	return 1;
}

static int core_cache_dir(lua_State *L)
{
	char path[PATH_MAX];
	struct error error;
	int err = compile__cache_dir(path, sizeof(path));

	if (err) {
		error__set(&error, err, "there is no directory for the cache");
		error__hint(&error, err, "set HOME or PERILUNE_CACHE");
		return lua_vm__fail(L, err, &error);
	}
	lua_pushstring(L, path);
	return 1;
}

static const luaL_Reg methods[] = {
	{"cancel", compile_cancel},
	{"__gc", compile_gc},
	{NULL, NULL},
};

static const luaL_Reg functions[] = {
	{"start", core_start},	       {"now", core_now}, {"clang", core_clang},
	{"cache_dir", core_cache_dir}, {NULL, NULL},
};

int luaopen_perilune_core_compile(lua_State *L)
{
	lua_vm__type(L, COMPILE_TYPE, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
