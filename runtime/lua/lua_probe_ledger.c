/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods of a probe whose windows are accounted for in a ledger (ledger.h):
 *
 *	probe:read(maps, done)	in place of drain: done(batches, cost); nothing is cleared
 *	probe:exported(sums)	what was read last is written out, and the sums (a list of numbers) are these
 *	probe:clear(maps, done)	done(true); then the window may be flipped
 *	probe:told(sums [, wall, mono])	what the policy before has counted (pinned.h) is written out, and the sums are these; when the window that
 *				goes on began, µs and s
 *	probe:account()		→ { half = "clean" | "quiet" | "clearing" | "inherited", sums = list, current =, closed = { seq, wall (µs),
 *				mono (s), level, thin, shed }, renewed = s or nil }
 *	probe:empty(map)	takes all members out of a set
 *	probe:drop(done)	detaches links that were found and not attached to since: done(count)
 *	probe:leave()		what is attached stays so
 */
#include <errno.h>
#include <lauxlib.h>
#include <linux/types.h>

#include "bpf/ctl.h"
#include "lua/lua_probe_impl.h"
#include "probe/ledger.h"
#include "probe/scope.h"

static struct lua_probe *check(lua_State *L)
{
	struct lua_probe *p = lua_probe__check_window(L);

	luaL_argcheck(L, probe__ledger(p->probe), 1, "the probe has no ledger");
	return p;
}

static int start(lua_State *L, enum work_kind kind)
{
	struct lua_probe *p = check(L);

	if (!p->drain.busy)
		p->maps = lua_probe__check_maps(L, 2);
	return lua_probe__start(L, &p->drain, kind, 3);
}

static int probe_read(lua_State *L)
{
	return start(L, WORK_READ);
}

static int probe_clear(lua_State *L)
{
	return start(L, WORK_CLEAR);
}

size_t lua_probe__check_sums(lua_State *L, int index, double sums[LEDGER_SUMS])
{
	size_t count = lua_objlen(L, index);

	luaL_checktype(L, index, LUA_TTABLE);
	luaL_argcheck(L, count <= LEDGER_SUMS, index, "too many sums");
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, index, (int)i + 1);
		sums[i] = luaL_checknumber(L, -1);
		lua_pop(L, 1);
	}
	return count;
}

static int probe_told(lua_State *L)
{
	struct lua_probe *p = check(L);
	struct ledger *ledger = probe__ledger(p->probe);
	const union ctl_state *state = &probe__ctl(p->probe)->state;
	double sums[LEDGER_SUMS];
	size_t count = lua_probe__check_sums(L, 2, sums);

	luaL_argcheck(L, window__half(p->window) == LEDGER_INHERITED, 1, "all is told already");
	ledger__may_die("inheriting");
	if (!lua_isnoneornil(L, 3))
		ledger__intend(ledger, state->epoch, (uint64_t)luaL_checknumber(L, 3),
			       (uint64_t)(luaL_checknumber(L, 4) * 1e9 + 0.5), state->both);
	ledger__exported(ledger, state->epoch - 1, sums, count);
	ledger__may_die("inherited");
	window__told(p->window);
	return 0;
}

static int probe_exported(lua_State *L)
{
	struct lua_probe *p = check(L);
	double sums[LEDGER_SUMS];
	size_t count = lua_probe__check_sums(L, 2, sums);

	ledger__may_die("written");
	ledger__exported(probe__ledger(p->probe), probe__ctl(p->probe)->state.epoch - 1, sums,
			 count);
	ledger__may_die("exported");
	return 0;
}

static void set(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

/* Sets the field `key` of the table on top to what is known of a window, if anything is. */
static void set_window(lua_State *L, const struct ledger *ledger, uint32_t epoch, const char *key)
{
	struct ledger_window window;
	union ctl_state state;

	if (!ledger__window(ledger, epoch, &window))
		return;
	state.both = window.state;
	lua_createtable(L, 0, 6);
	set(L, "seq", (double)window.seq);
	set(L, "wall", (double)window.wall);
	set(L, "mono", (double)window.mono / 1e9);
	set(L, "level", state.level);
	set(L, "thin", state.thin);
	set(L, "shed", state.shed);
	lua_setfield(L, -2, key);
}

static int probe_account(lua_State *L)
{
	static const char *const halves[] = {"clean", "quiet", "clearing", "inherited"};
	struct lua_probe *p = check(L);
	const struct ledger *ledger = probe__ledger(p->probe);
	const struct ctl *ctl = probe__ctl(p->probe);
	enum ledger_half half = window__half(p->window);
	double sums[LEDGER_SUMS];
	size_t count = ledger__sums(ledger, sums);

	lua_createtable(L, 0, 5);
	lua_pushstring(L, half <= LEDGER_INHERITED ? halves[half] : "clean");
	lua_setfield(L, -2, "half");
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		lua_pushnumber(L, sums[i]);
		lua_rawseti(L, -2, (int)i + 1);
	}
	lua_setfield(L, -2, "sums");
	set_window(L, ledger, ctl->state.epoch, "current");
	set_window(L, ledger, ctl->state.epoch - 1, "closed");
	if (ctl->renewed)
		set(L, "renewed", (double)ctl->renewed / 1e9);
	return 1;
}

static int probe_empty(lua_State *L)
{
	struct lua_probe *p = check(L);
	struct error error = {0};
	int err = scope__empty(p->probe, luaL_checkstring(L, 2), &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushboolean(L, 1);
	return 1;
}

static int probe_drop(lua_State *L)
{
	return lua_probe__start(L, &check(L)->object, WORK_DROP, 2);
}

static int probe_leave(lua_State *L)
{
	struct lua_probe *p = check(L);

	if (p->object.busy)
		return lua_probe__fail(L, -EBUSY, "the probe is busy");
	probe__leave(p->probe);
	lua_pushboolean(L, 1);
	return 1;
}

const luaL_Reg lua_probe_ledger_methods[] = {
	{"read", probe_read},	    {"exported", probe_exported}, {"clear", probe_clear},
	{"account", probe_account}, {"told", probe_told},	  {"empty", probe_empty},
	{"drop", probe_drop},	    {"leave", probe_leave},	  {NULL, NULL},
};
