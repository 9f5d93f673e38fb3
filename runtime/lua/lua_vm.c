/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_vm.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "lua/lua_batch.h"
#include "lua/lua_bench.h"
#include "lua/lua_capture.h"
#include "lua/lua_child.h"
#include "lua/lua_compile.h"
#include "lua/lua_confine.h"
#include "lua/lua_edit.h"
#include "lua/lua_files.h"
#include "lua/lua_filter.h"
#include "lua/lua_http.h"
#include "lua/lua_interrupt.h"
#include "lua/lua_kernel.h"
#include "lua/lua_links.h"
#include "lua/lua_loop.h"
#include "lua/lua_map.h"
#include "lua/lua_pinned.h"
#include "lua/lua_pins.h"
#include "lua/lua_probe.h"
#include "lua/lua_secret.h"
#include "lua/lua_service.h"
#include "lua/lua_socket.h"
#include "lua/lua_store.h"
#include "lua/lua_stream.h"
#include "lua/lua_tap.h"
#include "lua/lua_term.h"
#include "lua/lua_twin.h"

static const char vm_key; /* its address is the registry key of the VM */

struct lua_vm {
	lua_State *L;
	struct loop *loop;
	int on_error;
};

static int vm_on_error(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	lua_vm__on_error(lua_vm__from(L));
	return 0;
}

static int luaopen_perilune_core_vm(lua_State *L)
{
	static const luaL_Reg functions[] = {{"on_error", vm_on_error}, {NULL, NULL}};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
#ifdef PERILUNE_FAULTS
	lua_pushboolean(L, 1); /* faults may be injected: only in builds for tests */
	lua_setfield(L, -2, "faults");
#endif
	return 1;
}

static const luaL_Reg core_modules[] = {
	{"perilune.core.batch", luaopen_perilune_core_batch},
	{"perilune.core.bench", luaopen_perilune_core_bench},
	{"perilune.core.capture", luaopen_perilune_core_capture},
	{"perilune.core.child", luaopen_perilune_core_child},
	{"perilune.core.compile", luaopen_perilune_core_compile},
	{"perilune.core.confine", luaopen_perilune_core_confine},
	{"perilune.core.edit", luaopen_perilune_core_edit},
	{"perilune.core.files", luaopen_perilune_core_files},
	{"perilune.core.filter", luaopen_perilune_core_filter},
	{"perilune.core.http", luaopen_perilune_core_http},
	{"perilune.core.interrupt", luaopen_perilune_core_interrupt},
	{"perilune.core.kernel", luaopen_perilune_core_kernel},
	{"perilune.core.links", luaopen_perilune_core_links},
	{"perilune.core.loop", luaopen_perilune_core_loop},
	{"perilune.core.map", luaopen_perilune_core_map},
	{"perilune.core.pinned", luaopen_perilune_core_pinned},
	{"perilune.core.pins", luaopen_perilune_core_pins},
	{"perilune.core.probe", luaopen_perilune_core_probe},
	{"perilune.core.store", luaopen_perilune_core_store},
	{"perilune.core.secret", luaopen_perilune_core_secret},
	{"perilune.core.service", luaopen_perilune_core_service},
	{"perilune.core.socket", luaopen_perilune_core_socket},
	{"perilune.core.stream", luaopen_perilune_core_stream},
	{"perilune.core.tap", luaopen_perilune_core_tap},
	{"perilune.core.term", luaopen_perilune_core_term},
	{"perilune.core.twin", luaopen_perilune_core_twin},
	{"perilune.core.vm", luaopen_perilune_core_vm},
	{NULL, NULL},
};

/* Appends dir/lua/?.lua;dir/lua/?/init.lua; of every directory of a colon-separated list. */
static int append_path(struct buf *path, const char *dirs)
{
	int err = 0;

	while (!err && dirs && *dirs) {
		int len = (int)strcspn(dirs, ":");

		if (len)
			err = buf__printf(path, "%.*s/lua/?.lua;%.*s/lua/?/init.lua;", len, dirs,
					  len, dirs);
		dirs += len + (dirs[len] == ':');
	}
	return err;
}

/* Perilune's own modules first, then the system's. */
static int set_package_path(lua_State *L, const struct lua_vm_paths *paths)
{
	struct buf path;
	int err;

	buf__init(&path, 64 << 10);
	err = append_path(&path, paths->prefix);
	if (!err)
		err = append_path(&path, paths->share);
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "path");
	if (!err)
		err = buf__puts(&path, lua_tostring(L, -1));
	lua_pop(L, 1);
	if (!err) {
		lua_pushlstring(L, path.data, path.len);
		lua_setfield(L, -2, "path");
	}
	lua_pop(L, 1);
	buf__free(&path);
	return err;
}

static void preload(lua_State *L)
{
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	luaL_register(L, NULL, core_modules);
	lua_pop(L, 2);
}

int lua_vm__new(struct loop *loop, const struct lua_vm_paths *paths, struct lua_vm **out,
		struct error *error)
{
	struct lua_vm *vm = calloc(1, sizeof(*vm));
	int err;

	if (!vm)
		return error__set(error, -ENOMEM, "out of memory");
	vm->on_error = LUA_NOREF;
	vm->loop = loop;
	vm->L = luaL_newstate();
	if (!vm->L) {
		free(vm);
		return error__set(error, -ENOMEM, "cannot create a Lua state");
	}
	luaL_openlibs(vm->L);
	lua_pushlightuserdata(vm->L, (void *)&vm_key);
	lua_pushlightuserdata(vm->L, vm);
	lua_rawset(vm->L, LUA_REGISTRYINDEX);
	preload(vm->L);
	err = set_package_path(vm->L, paths);
	if (err) {
		lua_vm__free(vm);
		return error__set(error, err, "the search path is too long");
	}
	*out = vm;
	return 0;
}

void lua_vm__free(struct lua_vm *vm)
{
	if (!vm)
		return;
	lua_close(vm->L);
	free(vm);
}

lua_State *lua_vm__state(struct lua_vm *vm)
{
	return vm->L;
}

struct loop *lua_vm__loop(struct lua_vm *vm)
{
	return vm->loop;
}

struct lua_vm *lua_vm__from(lua_State *L)
{
	struct lua_vm *vm;

	lua_pushlightuserdata(L, (void *)&vm_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	vm = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return vm;
}

/* An error that is a string gets a traceback; anything else (a table with an exit status, say) is handed on as it is. */
static int with_traceback(lua_State *L)
{
	if (!lua_isstring(L, 1))
		return 1;
	luaL_traceback(L, L, lua_tostring(L, 1), 1);
	return 1;
}

static void report(struct lua_vm *vm)
{
	lua_State *L = vm->L;
	const char *text;

	if (vm->on_error != LUA_NOREF) {
		lua_rawgeti(L, LUA_REGISTRYINDEX, vm->on_error);
		lua_pushvalue(L, -2);
		if (!lua_pcall(L, 1, 0, 0)) {
			lua_pop(L, 1);
			return;
		}
		text = lua_tostring(L, -1);
		fprintf(stderr, "perilune: while reporting an error: %s\n", text ? text : "?");
		lua_pop(L, 1);
	}
	text = lua_tostring(L, -1);
	fprintf(stderr, "perilune: %s\n", text ? text : "an error that is not text");
	lua_pop(L, 1);
}

int lua_vm__call(struct lua_vm *vm, int nargs, int nresults)
{
	lua_State *L = vm->L;
	int base = lua_gettop(L) - nargs, err;

	lua_pushcfunction(L, with_traceback);
	lua_insert(L, base);
	err = lua_pcall(L, nargs, nresults, base);
	lua_remove(L, base);
	if (!err)
		return 0;
	report(vm);
	return -ECANCELED;
}

void lua_vm__on_error(struct lua_vm *vm)
{
	lua_vm__unref(vm->L, &vm->on_error);
	vm->on_error = luaL_ref(vm->L, LUA_REGISTRYINDEX);
}

int lua_vm__fail(lua_State *L, int code, const struct error *error)
{
	lua_pushnil(L);
	if (error->hint[0])
		lua_pushfstring(L, "%s (%s)", error->message, error->hint);
	else
		lua_pushstring(L, error->message);
	lua_pushstring(L, error__name(code));
	return 3;
}

int lua_vm__fail_errno(lua_State *L, int code, const char *what)
{
	struct error error;

	error__set(&error, code, "%s: %s", what, strerror(-code));
	return lua_vm__fail(L, code, &error);
}

void lua_vm__type(lua_State *L, const char *type, const luaL_Reg *methods)
{
	luaL_newmetatable(L, type);
	luaL_register(L, NULL, methods);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

int lua_vm__ref(lua_State *L, int index)
{
	lua_pushvalue(L, index);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

void lua_vm__push(lua_State *L, int ref)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
}

void lua_vm__unref(lua_State *L, int *ref)
{
	luaL_unref(L, LUA_REGISTRYINDEX, *ref);
	*ref = LUA_NOREF;
}
