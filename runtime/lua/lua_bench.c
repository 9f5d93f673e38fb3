/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_bench.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/bench_child.h"
#include "bench/bench_inject.h"
#include "lua/lua_batch.h"
#include "lua/lua_bench_net.h"
#include "lua/lua_bench_prog.h"
#include "lua/lua_vm.h"

#define ARGUMENTS_MAX 16
#define TYPE "perilune.bench.table"

struct lua_bench {
	struct bench_table *table; /* NULL: closed, and no batch needs its layout */
	struct lua_vm *vm;
	bool closed, busy;
	enum extract_way way;
	struct bench_result result;
	struct error error;
	int err, fn, self;
};

static enum extract_way check_way(lua_State *L, int index)
{
	static const char *const names[] = {"best", "mapped", "gather", "batch", "single", NULL};

	return (enum extract_way)luaL_checkoption(L, index, NULL, names);
}

static struct lua_bench *check(lua_State *L)
{
	struct lua_bench *self = luaL_checkudata(L, 1, TYPE);

	if (self->closed)
		luaL_error(L, "this table is closed");
	return self;
}

static int fail_busy(lua_State *L)
{
	struct error error;

	error__set(&error, -EBUSY, "the table is being read");
	return lua_vm__fail(L, -EBUSY, &error);
}

static int push_result(lua_State *L, int err, const struct bench_result *result,
		       const struct error *error)
{
	if (err)
		return lua_vm__fail(L, err, error);
	lua_pushnumber(L, (double)result->ns / 1e9);
	lua_pushnumber(L, (double)result->entries);
	return 2;
}

static int new_table(lua_State *L)
{
	static const char *const kinds[] = {"hash", "array", NULL};
	enum bench_kind kind = (enum bench_kind)luaL_checkoption(L, 1, NULL, kinds);
	lua_Number entries = luaL_checknumber(L, 2);
	struct lua_bench *self;
	struct error error;
	int err;

	luaL_argcheck(L, entries >= 1 && entries <= 1e8, 2, "1 to 100 million entries");
	self = lua_newuserdata(L, sizeof(*self));
	*self = (struct lua_bench){.vm = lua_vm__from(L), .fn = LUA_NOREF, .self = LUA_NOREF};
	luaL_getmetatable(L, TYPE);
	lua_setmetatable(L, -2);
	err = bench_table__new(kind, (uint32_t)entries, &self->table, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static int table_fill(lua_State *L)
{
	struct lua_bench *self = check(L);
	struct error error;
	int err;

	if (self->busy)
		return fail_busy(L);
	err = bench_table__fill(self->table);
	if (err) {
		error__set(&error, err, "filling the map failed: %s", strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	lua_pushboolean(L, 1);
	return 1;
}

static int table_read(lua_State *L)
{
	struct lua_bench *self = check(L);
	struct bench_work work = {.way = check_way(L, 2)};
	struct bench_result result;
	struct error error = {0};
	int err;

	if (lua_istable(L, 3)) {
		lua_getfield(L, 3, "clear");
		lua_getfield(L, 3, "json");
		lua_getfield(L, 3, "most");
		work.clear = lua_toboolean(L, -3);
		work.json = lua_toboolean(L, -2);
		work.most = (uint64_t)lua_tonumber(L, -1);
	}
	if (self->busy)
		return fail_busy(L);
	err = bench_table__read(self->table, &work, &result, &error);
	return push_result(L, err, &result, &error);
}

static int table_batch(lua_State *L)
{
	struct lua_bench *self = check(L);
	enum extract_way way = check_way(L, 2);
	struct bench_result result;
	struct error error = {0};
	struct batch batch;
	int err;

	if (self->busy)
		return fail_busy(L);
	batch__init(&batch, bench_table__layout(self->table));
	err = bench_table__take(self->table, way, &batch, &result, &error);
	if (err) {
		batch__free(&batch);
		return lua_vm__fail(L, err, &error);
	}
	lua_batch__push(L, &batch, 1);
	lua_pushnumber(L, (double)result.ns / 1e9);
	return 2;
}

static void drain(void *arg)
{
	struct lua_bench *self = arg;
	struct bench_work work = {.way = self->way, .clear = true};

	self->err = bench_table__read(self->table, &work, &self->result, &self->error);
}

static void drained(void *arg)
{
	struct lua_bench *self = arg;
	struct lua_vm *vm = self->vm;
	lua_State *L = lua_vm__state(vm);

	self->busy = false;
	lua_vm__push(L, self->fn);
	lua_vm__unref(L, &self->fn);
	lua_vm__unref(L, &self->self);
	lua_vm__call(vm, push_result(L, self->err, &self->result, &self->error), 0);
}

static int table_drain(lua_State *L)
{
	struct lua_bench *self = check(L);
	struct error error;
	int err;

	self->way = check_way(L, 2);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	if (self->busy)
		return fail_busy(L);
	err = loop__work(lua_vm__loop(self->vm), drain, drained, self);
	if (err) {
		error__set(&error, err, "cannot start a worker: %s", strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	self->busy = true;
	self->fn = lua_vm__ref(L, 3);
	self->self = lua_vm__ref(L, 1);
	lua_pushboolean(L, 1);
	return 1;
}

static int table_id(lua_State *L)
{
	lua_pushnumber(L, bench_table__id(check(L)->table));
	return 1;
}

static int child(lua_State *L)
{
	const char *argv[ARGUMENTS_MAX + 1] = {NULL};
	struct bench_child result;
	struct error error;
	size_t count;
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	count = lua_objlen(L, 1);
	luaL_argcheck(L, count && count <= ARGUMENTS_MAX, 1, "a program and a few arguments");
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, 1, (int)i + 1);
		argv[i] = luaL_checkstring(L, -1); /* stays on the stack */
	}
	err = bench_child__run(argv, &result, &error);
	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushnumber(L, (double)result.ns / 1e9);
	lua_pushnumber(L, (double)result.peak_kb);
	return 2;
}

static int bare(lua_State *L)
{
	size_t len;
	const char *object = luaL_checklstring(L, 1, &len);
	struct error error = {0};
	uint64_t ns = 0;
	int err = bench_inject__bare(object, len, luaL_checkstring(L, 2), luaL_checkint(L, 3), &ns,
				     &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushnumber(L, (double)ns / 1e9);
	return 1;
}

static int self(lua_State *L)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path));

	lua_pushlstring(L, path, len > 0 ? (size_t)len : 0);
	return 1;
}

/* Batches that came of it need its layout, so the map goes only with the last of them. */
static int table_close(lua_State *L)
{
	struct lua_bench *self = luaL_checkudata(L, 1, TYPE);

	self->closed = true;
	return 0;
}

static int table_gc(lua_State *L)
{
	struct lua_bench *self = luaL_checkudata(L, 1, TYPE);

	bench_table__free(self->table);
	self->table = NULL;
	return 0;
}

int luaopen_perilune_core_bench(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"fill", table_fill},	{"read", table_read},	{"batch", table_batch},
		{"drain", table_drain}, {"close", table_close}, {"id", table_id},
		{"__gc", table_gc},	{NULL, NULL},
	};
	static const luaL_Reg functions[] = {{"table", new_table},
					     {"child", child},
					     {"self", self},
					     {"bare", bare},
					     {NULL, NULL}};

	lua_vm__type(L, TYPE, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	lua_bench_net__add(L);
	lua_bench_prog__add(L);
	return 1;
}
