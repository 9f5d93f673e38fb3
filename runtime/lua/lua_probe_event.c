/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe:events(map, type, fn): the events of a ring buffer, for Lua. From open to close the userdata refers to itself, so that whoever only
 * wants to be called need not keep it.
 */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "lua/lua_batch.h"
#include "lua/lua_probe_impl.h"
#include "probe/event.h"

#define EVENTS_TYPE "perilune.events"

struct lua_events {
	struct event_batch *events;
	struct lua_vm *vm;
	int fn;
	int self; /* LUA_NOREF: closed */
};

static void on_events(struct batch *batch, void *arg)
{
	struct lua_events *e = arg;
	lua_State *L = lua_vm__state(e->vm);

	lua_vm__push(L, e->self);
	lua_vm__push(L, e->fn);
	lua_batch__push(L, batch, lua_gettop(L) - 1);
	lua_vm__call(e->vm, 1, 0);
	lua_pop(L, 1);
}

static struct lua_events *check(lua_State *L)
{
	return luaL_checkudata(L, 1, EVENTS_TYPE);
}

static int events_consume(lua_State *L)
{
	struct lua_events *e = check(L);

	lua_pushinteger(L, e->events ? event_batch__consume(e->events) : 0);
	return 1;
}

static int events_close(lua_State *L)
{
	struct lua_events *e = check(L);

	if (e->events)
		event_batch__close(e->events);
	lua_vm__unref(L, &e->fn);
	lua_vm__unref(L, &e->self);
	return 0;
}

static int events_gc(lua_State *L)
{
	struct lua_events *e = check(L);

	event_batch__free(e->events);
	e->events = NULL;
	return 0;
}

static void make_type(lua_State *L)
{
	static const luaL_Reg methods[] = {{"consume", events_consume},
					   {"close", events_close},
					   {NULL, NULL}};

	if (luaL_newmetatable(L, EVENTS_TYPE)) {
		lua_newtable(L);
		luaL_register(L, NULL, methods);
		lua_setfield(L, -2, "__index");
		lua_pushcfunction(L, events_gc);
		lua_setfield(L, -2, "__gc");
		lua_pushliteral(L, EVENTS_TYPE);
		lua_setfield(L, -2, "__metatable");
	}
	lua_pop(L, 1);
}

int lua_probe__events(lua_State *L)
{
	struct lua_probe *p = lua_probe__check(L);
	const char *map = luaL_checkstring(L, 2), *type = luaL_checkstring(L, 3);
	struct lua_events *e;
	struct error error = {0};
	int err;

	luaL_checktype(L, 4, LUA_TFUNCTION);
	luaL_argcheck(L, p->loaded, 1, "the probe is not loaded yet");
	make_type(L);
	e = lua_newuserdata(L, sizeof(*e));
	*e = (struct lua_events){.vm = p->vm, .fn = LUA_NOREF, .self = LUA_NOREF};
	luaL_getmetatable(L, EVENTS_TYPE);
	lua_setmetatable(L, -2);
	err = event_batch__open(lua_vm__loop(p->vm), p->probe, map, type, on_events, e, &e->events,
				&error);
	if (err)
		return lua_vm__fail(L, err, &error);
	e->fn = lua_vm__ref(L, 4);
	e->self = lua_vm__ref(L, -1);
	return 1;
}
