/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_probe.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "base/interface.h"
#include "base/netns.h"
#include "lua/lua_probe_impl.h"
#include "lua/lua_table.h"

struct lua_probe *lua_probe__check(lua_State *L)
{
	struct lua_probe *p = luaL_checkudata(L, 1, PROBE_TYPE);

	if (!p->probe)
		luaL_error(L, "this probe is closed");
	return p;
}

struct probe *lua_probe__get(lua_State *L, int index)
{
	struct lua_probe *p = luaL_checkudata(L, index, PROBE_TYPE);

	luaL_argcheck(L, p->probe, index, "this probe is closed");
	return p->probe;
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
	p->object = p->drain = p->measure =
		(struct lua_probe_work){.probe = p, .done_ref = LUA_NOREF, .self_ref = LUA_NOREF};
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

static int take_over(struct lua_probe *p, struct error *error)
{
	const char *programs[HOOKS];

	for (int hook = 0; hook < HOOKS; hook++)
		programs[hook] = *p->programs[hook] ? p->programs[hook] : NULL;
	return probe__take_over(p->probe, p->from->probe, programs, error);
}

static void work(void *arg)
{
	struct lua_probe_work *w = arg;
	struct lua_probe *p = w->probe;
	struct error *error = &w->error;

	switch (w->kind) {
	case WORK_LOAD:
		w->code = probe__load(p->probe, error);
		break;
	case WORK_ATTACH:
		w->code = probe__attach(p->probe, p->program, &p->place, &p->mode_name, error);
		break;
	case WORK_RELEASE:
	case WORK_DETACH:
		w->code = w->kind == WORK_DETACH ? probe__detach(p->probe)
						 : probe__release(p->probe, p->place.ifindex);
		if (w->code < 0)
			error__set(error, w->code, "detaching failed: %s", strerror(-w->code));
		break;
	case WORK_TAKE_OVER:
		w->code = take_over(p, error);
		break;
	case WORK_ALIVE:
		w->code = probe__alive(p->probe, p->place.ifindex);
		break;
	case WORK_DRAIN:
		w->code = window__grace(p->window, &p->grace, error);
		if (!w->code)
			w->code = window__drain(p->window, p->maps, false, p->batches, &p->read,
						error);
		break;
	case WORK_MEASURE:
		w->code = lua_probe__measure(&p->meter, error);
		break;
	case WORK_READ:
		w->code = window__grace(p->window, &p->grace, error);
		if (!w->code)
			w->code = window__read(p->window, p->maps, false, p->batches, &p->read,
					       error);
		break;
	case WORK_CLEAR:
		w->code = window__clear(p->window, p->maps, error);
		break;
	case WORK_DROP:
		w->code = probe__drop_unclaimed(p->probe);
		if (w->code < 0)
			error__set(error, w->code, "detaching failed: %s", strerror(-w->code));
		break;
	}
}

static int push_result(lua_State *L, struct lua_probe_work *w, int anchor)
{
	struct lua_probe *p = w->probe;

	switch (w->kind) {
	case WORK_LOAD:
		p->loaded = true;
		lua_pushboolean(L, 1);
		return 1;
	case WORK_ATTACH:
		lua_pushstring(L, p->mode_name);
		return 1;
	case WORK_RELEASE:
	case WORK_DETACH:
	case WORK_DROP:
		lua_pushinteger(L, w->code);
		return 1;
	case WORK_ALIVE:
		lua_pushboolean(L, w->code);
		return 1;
	case WORK_TAKE_OVER:
	case WORK_CLEAR:
		lua_pushboolean(L, 1);
		return 1;
	case WORK_MEASURE:
		lua_probe__push_span(L, &p->meter);
		return 1;
	default:
		lua_probe__push_batches(L, p, anchor);
		lua_probe__push_cost(L, p);
		return 2;
	}
}

/* Once nothing is under way. */
static void release(struct lua_probe *p)
{
	if (p->object.busy || p->drain.busy || p->measure.busy)
		return;
	for (size_t i = 0; i < WINDOW_MAPS_MAX; i++)
		batch__free(&p->batches[i]);
	probe__detach(p->probe);
}

static void done(void *arg)
{
	struct lua_probe_work *w = arg;
	struct lua_probe *p = w->probe;
	lua_State *L = lua_vm__state(p->vm);
	int self = w->self_ref, callback = w->done_ref, nargs;

	w->busy = false;
	w->self_ref = w->done_ref = LUA_NOREF;
	lua_vm__push(L, self);
	lua_vm__push(L, callback);
	nargs = w->code < 0 ? lua_vm__fail(L, w->code, &w->error)
			    : push_result(L, w, lua_gettop(L) - 1);
	lua_vm__unref(L, &callback);
	lua_vm__unref(L, &self);
	if (p->closing)
		release(p);
	lua_vm__call(p->vm, nargs, 0);
	lua_pop(L, 1);
}

int lua_probe__start(lua_State *L, struct lua_probe_work *w, enum work_kind kind, int callback)
{
	int err;

	luaL_checktype(L, callback, LUA_TFUNCTION);
	if (w->busy)
		return lua_probe__fail(L, -EBUSY, "the probe is busy");
	w->kind = kind;
	w->code = 0;
	memset(&w->error, 0, sizeof(w->error));
	w->busy = true;
	w->done_ref = lua_vm__ref(L, callback);
	w->self_ref = lua_vm__ref(L, 1);
	err = loop__work(lua_vm__loop(w->probe->vm), work, done, w);
	if (err) {
		w->busy = false;
		lua_vm__unref(L, &w->done_ref);
		lua_vm__unref(L, &w->self_ref);
		return lua_probe__fail(L, err, "cannot start a worker");
	}
	lua_pushboolean(L, 1);
	return 1;
}

static int probe_load(lua_State *L)
{
	return lua_probe__start(L, &lua_probe__check(L)->object, WORK_LOAD, 2);
}

static int probe_attach(lua_State *L)
{
	static const char *const hooks[] = {"xdp", "tc.ingress", "tc.egress", NULL};
	static const char *const modes[] = {"auto", "native", "generic", "tcx", "clsact", NULL};
	struct lua_probe *p = lua_probe__check(L);
	const char *program, *name;
	enum hook hook;
	enum attach_mode mode;

	luaL_checktype(L, 2, LUA_TTABLE);
	if (p->object.busy)
		return lua_probe__fail(L, -EBUSY, "the probe is busy");
	lua_getfield(L, 2, "hook");
	hook = (enum hook)luaL_checkoption(L, -1, NULL, hooks);
	lua_getfield(L, 2, "mode");
	mode = (enum attach_mode)luaL_checkoption(L, -1, "auto", modes);
	lua_pop(L, 2);
	program = lua_table__string(L, 2, "program");
	luaL_argcheck(L, program && strlen(program) < sizeof(p->program), 2, "program");
	strcpy(p->program, program);
	name = lua_table__string(L, 2, "iface");
	luaL_argcheck(L, !name || strlen(name) < sizeof(p->name), 2, "iface");
	strcpy(p->name, name ? name : "");
	p->place = (struct probe_place){.hook = hook,
					.mode = mode,
					.ifindex = (int)lua_table__integer(L, 2, "ifindex", 0),
					.name = name ? p->name : NULL};
	return lua_probe__start(L, &p->object, WORK_ATTACH, 3);
}

/* probe:METHOD(ifindex, done) */
static int of_interface(lua_State *L, enum work_kind kind)
{
	struct lua_probe *p = lua_probe__check(L);
	int ifindex = (int)luaL_checkinteger(L, 2);

	luaL_argcheck(L, ifindex > 0, 2, "the index of an interface expected");
	if (!p->object.busy)
		p->place = (struct probe_place){.ifindex = ifindex};
	return lua_probe__start(L, &p->object, kind, 3);
}

static int probe_release(lua_State *L)
{
	return of_interface(L, WORK_RELEASE);
}

static int probe_alive(lua_State *L)
{
	return of_interface(L, WORK_ALIVE);
}

static int probe_detach(lua_State *L)
{
	return lua_probe__start(L, &lua_probe__check(L)->object, WORK_DETACH, 2);
}

/* probe:take_over(from, programs, done) */
static int probe_take_over(lua_State *L)
{
	static const char *const hooks[HOOKS] = {"xdp", "tc.ingress", "tc.egress"};
	struct lua_probe *p = lua_probe__check(L);
	struct lua_probe *from = luaL_checkudata(L, 2, PROBE_TYPE);

	luaL_argcheck(L, from->probe && from != p, 2, "another probe expected");
	luaL_checktype(L, 3, LUA_TTABLE);
	if (p->object.busy || from->object.busy)
		return lua_probe__fail(L, -EBUSY, "the probe is busy");
	for (int hook = 0; hook < HOOKS; hook++) {
		const char *program = lua_table__string(L, 3, hooks[hook]);

		luaL_argcheck(L, !program || strlen(program) < sizeof(p->programs[hook]), 3,
			      "program");
		strcpy(p->programs[hook], program ? program : "");
	}
	p->from = from;
	return lua_probe__start(L, &p->object, WORK_TAKE_OVER, 4);
}

static int probe_netns(lua_State *L)
{
	struct lua_probe *p = lua_probe__check(L);
	const char *name = lua_isnoneornil(L, 2) ? NULL : luaL_checkstring(L, 2);
	struct error error;
	int fd = NETNS_OWN, err;

	if (p->object.busy)
		return lua_probe__fail(L, -EBUSY, "the probe is busy");
	err = name ? netns__open(name, &fd, &error) : 0;
	if (!err)
		err = probe__set_netns(p->probe, fd, &error);
	if (fd != NETNS_OWN)
		close(fd);
	if (err)
		return lua_vm__fail(L, err, &error);
	interface__ask(!name);
	lua_pushboolean(L, 1);
	return 1;
}

static int probe_close(lua_State *L)
{
	struct lua_probe *p = luaL_checkudata(L, 1, PROBE_TYPE);

	p->closing = true;
	if (p->probe)
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
		{"entries", probe_entries},
		{"load", probe_load},
		{"netns", probe_netns},
		{"attach", probe_attach},
		{"release", probe_release},
		{"alive", probe_alive},
		{"detach", probe_detach},
		{"take_over", probe_take_over},
		{"close", probe_close},
		{"events", lua_probe__events},
		{NULL, NULL},
	};
	static const luaL_Reg functions[] = {{"open", probe_open}, {NULL, NULL}};

	luaL_newmetatable(L, PROBE_TYPE);
	lua_newtable(L);
	luaL_register(L, NULL, methods);
	luaL_register(L, NULL, lua_probe_window_methods);
	luaL_register(L, NULL, lua_probe_measure_methods);
	luaL_register(L, NULL, lua_probe_maps_methods);
	luaL_register(L, NULL, lua_probe_ledger_methods);
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
