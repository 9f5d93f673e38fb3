/* SPDX-License-Identifier: Apache-2.0 */
#include "lua_probe.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "lua_probe_impl.h"
#include "lua_table.h"

struct lua_probe *lua_probe__check(lua_State *L)
{
	struct lua_probe *p = luaL_checkudata(L, 1, PROBE_TYPE);

	if (!p->probe)
		luaL_error(L, "this probe is closed");
	return p;
}

int lua_probe__fail(lua_State *L, int code, const char *message)
{
	struct error error;

	error__set(&error, code, "%s", message);
	return lua_vm__fail(L, code, &error);
}

static int probe_open(lua_State *L)
{
	size_t len;
	const char *object = luaL_checklstring(L, 1, &len);
	const char *name = luaL_checkstring(L, 2);
	struct lua_probe *p = lua_newuserdata(L, sizeof(*p));
	struct error error = {0};
	int err;

	memset(p, 0, sizeof(*p));
	p->vm = lua_vm__from(L);
	p->done_ref = p->self_ref = LUA_NOREF;
	luaL_getmetatable(L, PROBE_TYPE);
	lua_setmetatable(L, -2);
	err = probe__open(object, len, name, &p->probe, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static int probe_entries(lua_State *L)
{
	struct lua_probe *p = lua_probe__check(L);
	struct error error = {0};
	int err = probe__set_entries(p->probe, luaL_checkstring(L, 2),
				     (uint32_t)luaL_checknumber(L, 3), &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushboolean(L, 1);
	return 1;
}

static void work(void *arg)
{
	struct lua_probe *p = arg;
	struct error *error = &p->error;

	switch (p->kind) {
	case WORK_LOAD:
		p->code = probe__load(p->probe, error);
		break;
	case WORK_ATTACH:
		p->code = probe__attach(p->probe, p->program, p->hook, p->ifindex, p->mode,
					&p->mode_name, error);
		break;
	case WORK_DETACH:
		p->code = probe__detach(p->probe);
		if (p->code < 0)
			error__set(error, p->code, "detaching failed: %s", strerror(-p->code));
		break;
	case WORK_DRAIN:
		p->code = window__grace(p->window, &p->grace, error);
		if (!p->code)
			p->code = window__drain(p->window, p->maps, false, p->batches, &p->read,
						error);
		break;
	}
}

static int push_result(lua_State *L, struct lua_probe *p, int anchor)
{
	switch (p->kind) {
	case WORK_LOAD:
		p->loaded = true;
		lua_pushboolean(L, 1);
		return 1;
	case WORK_ATTACH:
		lua_pushstring(L, p->mode_name);
		return 1;
	case WORK_DETACH:
		lua_pushinteger(L, p->code);
		return 1;
	default:
		lua_probe__push_batches(L, p, anchor);
		lua_probe__push_cost(L, p);
		return 2;
	}
}

static void release(struct lua_probe *p)
{
	for (size_t i = 0; i < WINDOW_MAPS_MAX; i++)
		batch__free(&p->batches[i]);
	probe__detach(p->probe);
}

static void done(void *arg)
{
	struct lua_probe *p = arg;
	lua_State *L = lua_vm__state(p->vm);
	int self = p->self_ref, callback = p->done_ref, nargs;

	p->busy = false;
	p->self_ref = p->done_ref = LUA_NOREF;
	lua_vm__push(L, self);
	lua_vm__push(L, callback);
	nargs = p->code < 0 ? lua_vm__fail(L, p->code, &p->error)
			    : push_result(L, p, lua_gettop(L) - 1);
	lua_vm__unref(L, &callback);
	lua_vm__unref(L, &self);
	if (p->closing)
		release(p);
	lua_vm__call(p->vm, nargs, 0);
	lua_pop(L, 1);
}

/* Starts `kind` on a worker; the callback is at `callback`. */
int lua_probe__start(lua_State *L, struct lua_probe *p, enum work_kind kind, int callback)
{
	int err;

	luaL_checktype(L, callback, LUA_TFUNCTION);
	p->kind = kind;
	p->code = 0;
	memset(&p->error, 0, sizeof(p->error));
	p->busy = true;
	p->done_ref = lua_vm__ref(L, callback);
	p->self_ref = lua_vm__ref(L, 1);
	err = loop__work(lua_vm__loop(p->vm), work, done, p);
	if (err) {
		p->busy = false;
		lua_vm__unref(L, &p->done_ref);
		lua_vm__unref(L, &p->self_ref);
		return lua_probe__fail(L, err, "cannot start a worker");
	}
	lua_pushboolean(L, 1);
	return 1;
}

static int probe_load(lua_State *L)
{
	struct lua_probe *p = lua_probe__check(L);

	if (p->busy)
		return lua_probe__fail(L, -EBUSY, "the probe is busy");
	return lua_probe__start(L, p, WORK_LOAD, 2);
}

static int probe_attach(lua_State *L)
{
	static const char *const hooks[] = {"xdp", "tc.ingress", "tc.egress", NULL};
	static const char *const modes[] = {"auto", "native", "generic", "tcx", "clsact", NULL};
	struct lua_probe *p = lua_probe__check(L);
	const char *program;

	luaL_checktype(L, 2, LUA_TTABLE);
	if (p->busy)
		return lua_probe__fail(L, -EBUSY, "the probe is busy");
	lua_getfield(L, 2, "hook");
	p->hook = (enum hook)luaL_checkoption(L, -1, NULL, hooks);
	lua_getfield(L, 2, "mode");
	p->mode = (enum attach_mode)luaL_checkoption(L, -1, "auto", modes);
	lua_pop(L, 2);
	p->ifindex = (int)lua_table__integer(L, 2, "ifindex", 0);
	program = lua_table__string(L, 2, "program");
	luaL_argcheck(L, program && strlen(program) < sizeof(p->program), 2, "program");
	strcpy(p->program, program);
	return lua_probe__start(L, p, WORK_ATTACH, 3);
}

static int probe_detach(lua_State *L)
{
	struct lua_probe *p = lua_probe__check(L);

	if (p->busy)
		return lua_probe__fail(L, -EBUSY, "the probe is busy");
	return lua_probe__start(L, p, WORK_DETACH, 2);
}

static int probe_close(lua_State *L)
{
	struct lua_probe *p = luaL_checkudata(L, 1, PROBE_TYPE);

	if (p->busy)
		p->closing = true;
	else if (p->probe)
		release(p);
	return 0;
}

/* Batches and their layouts may outlive close(), so the rest goes only when nothing refers to the probe. */
static int probe_gc(lua_State *L)
{
	struct lua_probe *p = luaL_checkudata(L, 1, PROBE_TYPE);

	if (!p->probe)
		return 0;
	release(p);
	window__free(p->window);
	probe__free(p->probe);
	p->window = NULL;
	p->probe = NULL;
	return 0;
}

int luaopen_perilune_core_probe(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"entries", probe_entries}, {"load", probe_load},   {"attach", probe_attach},
		{"detach", probe_detach},   {"close", probe_close}, {NULL, NULL},
	};
	static const luaL_Reg functions[] = {{"open", probe_open}, {NULL, NULL}};

	luaL_newmetatable(L, PROBE_TYPE);
	lua_newtable(L);
	luaL_register(L, NULL, methods);
	luaL_register(L, NULL, lua_probe_window_methods);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, probe_gc);
	lua_setfield(L, -2, "__gc");
	lua_pushliteral(L, PROBE_TYPE);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
