/* SPDX-License-Identifier: Apache-2.0 */
#include <lauxlib.h>

#include "lua/lua_probe.h"
#include "lua/lua_probe_impl.h"

int lua_probe__measure(struct lua_probe_meter *meter, struct error *error)
{
	int err = meter->calibrated ? 0 : statistics__calibrate(&meter->own, error);

	if (err)
		return err;
	meter->calibrated = true;
	return statistics__span(meter->programs, meter->count, &meter->until, &meter->own,
				&meter->span, error);
}

static void set_number(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

void lua_probe__push_span(lua_State *L, const struct lua_probe_meter *meter)
{
	const struct statistics_span *span = &meter->span;

	lua_createtable(L, 0, 7);
	set_number(L, "runs", (double)span->runs);
	set_number(L, "ns", span->ns);
	set_number(L, "seconds", span->seconds);
	set_number(L, "busy", span->busy_s);
	set_number(L, "now", span->now_s);
	set_number(L, "used", span->used_s);
	lua_createtable(L, 0, 2);
	set_number(L, "measured_ns", meter->own.measured_ns);
	set_number(L, "added_ns", meter->own.added_ns);
	lua_setfield(L, -2, "own");
}

/*
 * probe:measure({ program name, … }, { runs =, least =, most = }, done): watches these programs until that many runs were counted
 * and `least` seconds went by, but no longer than `most`. done(span) or done(nil, message, code).
 */
static int probe_measure(lua_State *L)
{
	struct lua_probe *p = lua_probe__check(L);
	struct lua_probe_meter *meter = &p->meter;
	size_t count = lua_objlen(L, 2);

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TTABLE);
	luaL_argcheck(L, p->loaded, 1, "the probe is not loaded");
	luaL_argcheck(L, count > 0 && count <= MEASURED_MAX, 2, "how many programs?");
	if (p->measure.busy)
		return lua_probe__start(L, &p->measure, WORK_MEASURE, 4);
	meter->count = count;
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, 2, (int)i + 1);
		meter->programs[i] = probe__program(p->probe, luaL_checkstring(L, -1));
		luaL_argcheck(L, meter->programs[i] >= 0, 2, "no such program");
		lua_pop(L, 1);
	}
	lua_getfield(L, 3, "runs");
	lua_getfield(L, 3, "least");
	lua_getfield(L, 3, "most");
	meter->until = (struct statistics_until){
		.runs = (uint64_t)luaL_checknumber(L, -3),
		.least_s = luaL_checknumber(L, -2),
		.most_s = luaL_checknumber(L, -1),
		.stop = &meter->stop,
	};
	meter->stop = false;
	lua_pop(L, 3);
	return lua_probe__start(L, &p->measure, WORK_MEASURE, 4);
}

/* probe:end_span(): what is being measured is wanted no more; its done() comes soon. */
static int probe_end_span(lua_State *L)
{
	lua_probe__check(L)->meter.stop = true;
	return 0;
}

const luaL_Reg lua_probe_measure_methods[] = {
	{"measure", probe_measure},
	{"end_span", probe_end_span},
	{NULL, NULL},
};
