/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <lauxlib.h>
#include <linux/types.h>
#include <string.h>
#include <time.h>

#include "bpf/ctl.h"
#include "capture/replay.h"
#include "lua/lua_batch.h"
#include "lua/lua_capture.h"
#include "lua/lua_probe_impl.h"
#include "lua/lua_table.h"
#include "probe/scope.h"

/* Gives the batches read to Lua: { [position] = batch }. */
void lua_probe__push_batches(lua_State *L, struct lua_probe *p, int anchor)
{
	lua_createtable(L, (int)window__count(p->window), 0);
	for (size_t i = 0; i < window__count(p->window); i++) {
		if (!(p->maps & (1ULL << i)))
			continue;
		lua_batch__push(L, &p->batches[i], anchor);
		lua_rawseti(L, -2, (int)i + 1);
	}
}

/* All maps of a probe are cut by one store: there is no skew. */
void lua_probe__push_cost(lua_State *L, const struct lua_probe *p)
{
	lua_createtable(L, 0, 4);
	lua_pushnumber(L, p->swap);
	lua_setfield(L, -2, "swap");
	lua_pushnumber(L, p->grace);
	lua_setfield(L, -2, "grace");
	lua_pushnumber(L, p->read);
	lua_setfield(L, -2, "read");
	lua_pushnumber(L, 0);
	lua_setfield(L, -2, "skew");
}

static enum window_kind check_kind(lua_State *L, int table)
{
	const char *kind = lua_table__string(L, table, "kind");

	if (kind && !strcmp(kind, "array"))
		return WINDOW_ARRAY;
	if (!kind || strcmp(kind, "map") != 0)
		luaL_error(L, "the kind of a windowed map is map or array, not %s",
			   kind ? kind : "missing");
	return WINDOW_MAP;
}

static int probe_windows(lua_State *L)
{
	struct lua_probe *p = lua_probe__check(L);
	struct window_spec specs[WINDOW_MAPS_MAX];
	struct lua_folds folds = {.count = 0};
	struct error error = {0};
	size_t count = lua_objlen(L, 2);
	int err;

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_argcheck(L, count <= WINDOW_MAPS_MAX, 2, "too many windowed maps");
	luaL_argcheck(L, p->loaded && !p->window && !p->object.busy, 1,
		      "windows are opened once, after load");
	for (size_t i = 0; i < count; i++) {
		int at;

		lua_rawgeti(L, 2, (int)i + 1);
		at = lua_gettop(L);
		luaL_checktype(L, at, LUA_TTABLE);
		specs[i] = (struct window_spec){
			.map = lua_table__string(L, at, "map"),
			.kind = check_kind(L, at),
			.entries = (uint32_t)lua_table__integer(L, at, "entries", 1),
			.index = lua_table__string(L, at, "index"),
		};
		specs[i].nfolds = lua_table__folds(L, at, &folds, &specs[i].folds, &specs[i].keep);
		luaL_argcheck(L, specs[i].map, 2, "a windowed map needs a name");
		lua_pop(L, 1);
	}
	err = window__new(p->probe, specs, count, &p->window, &error);
	if (err)
		return lua_vm__fail(L, err, &error);
	for (size_t i = 0; i < count; i++)
		batch__init(&p->batches[i], window__layout(p->window, i));
	lua_pushboolean(L, 1);
	return 1;
}

struct lua_probe *lua_probe__check_window(lua_State *L)
{
	struct lua_probe *p = lua_probe__check(L);

	luaL_argcheck(L, p->window, 1, "the probe has no windows yet");
	return p;
}

static lua_Integer check_range(lua_State *L, int index, lua_Integer most, const char *what)
{
	lua_Integer value = luaL_optinteger(L, index, 0);

	luaL_argcheck(L, value >= 0 && value <= most, index, what);
	return value;
}

static void push_began(lua_State *L, const struct window_flip *flip)
{
	lua_createtable(L, 0, 5);
	lua_pushinteger(L, flip->began.level);
	lua_setfield(L, -2, "level");
	lua_pushinteger(L, flip->began.thin);
	lua_setfield(L, -2, "thin");
	lua_pushinteger(L, flip->began.shed);
	lua_setfield(L, -2, "shed");
	lua_pushboolean(L, flip->by_trigger);
	lua_setfield(L, -2, "by_trigger");
	lua_pushinteger(L, flip->deepest);
	lua_setfield(L, -2, "deepest");
}

/* When it began, µs since 1970: what the ledger says, if there is one, so that whoever tells of the window says the same. */
static uint64_t wall_of(const struct lua_probe *p, uint64_t age)
{
	const struct ledger *ledger = probe__ledger(p->probe);
	struct ledger_window window;

	if (ledger && ledger__window(ledger, probe__ctl(p->probe)->state.epoch, &window))
		return window.wall;
	return (loop__wall() - age) / 1000;
}

static int probe_flip(lua_State *L)
{
	struct lua_probe *p = lua_probe__check_window(L);
	const struct window_state next = {
		.level = (uint8_t)check_range(L, 2, UINT8_MAX, "no index of a level"),
		.thin = (uint8_t)check_range(L, 3, 31, "no power of two to thin by"),
		.shed = (uint16_t)check_range(L, 4, UINT16_MAX, "no set of probes to shed"),
	};
	struct window_flip flip;
	uint64_t start = loop__now(), now, age;
	int err = window__flip(p->window, &next, &flip);

	if (err)
		return lua_probe__fail(L, err, "the last window is not drained yet");
	now = loop__now();
	age = flip.time < now ? now - flip.time : 0;
	p->swap = (double)(now - start) / 1e9;
	lua_pushnumber(L, (double)wall_of(p, age));
	lua_pushnumber(L, (double)(now - age) / 1e9);
	push_began(L, &flip);
	return 3;
}

/* probe:raised() */
static int probe_raised(lua_State *L)
{
	lua_pushboolean(L, window__is_raised(lua_probe__check_window(L)->window));
	return 1;
}

static int probe_arm(lua_State *L)
{
	struct ctl *ctl = probe__ctl(lua_probe__check_window(L)->probe);
	lua_Integer armed = check_range(L, 2, UINT16_MAX, "no set of triggers");
	lua_Integer raising = check_range(L, 3, UINT16_MAX, "no set of triggers");

	__atomic_store_n(&ctl->raising, (uint16_t)raising, __ATOMIC_RELEASE);
	__atomic_store_n(&ctl->armed, (uint16_t)armed, __ATOMIC_RELEASE);
	return 0;
}

static int probe_ways(lua_State *L)
{
	struct lua_probe *p = lua_probe__check_window(L);

	lua_createtable(L, (int)window__count(p->window), 0);
	for (size_t i = 0; i < window__count(p->window); i++) {
		lua_pushstring(L, extract_way__name(window__way(p->window, i)));
		lua_rawseti(L, -2, (int)i + 1);
	}
	return 1;
}

uint64_t lua_probe__check_maps(lua_State *L, int index)
{
	uint64_t maps = 0;

	luaL_checktype(L, index, LUA_TTABLE);
	for (int i = 0; i < WINDOW_MAPS_MAX; i++) {
		lua_rawgeti(L, index, i + 1);
		if (lua_toboolean(L, -1))
			maps |= 1ULL << i;
		lua_pop(L, 1);
	}
	return maps;
}

static int probe_drain(lua_State *L)
{
	struct lua_probe *p = lua_probe__check_window(L);

	if (!p->drain.busy)
		p->maps = lua_probe__check_maps(L, 2);
	return lua_probe__start(L, &p->drain, WORK_DRAIN, 3);
}

static int probe_drain_now(lua_State *L)
{
	struct lua_probe *p = lua_probe__check_window(L);
	struct error error = {0};
	int err;

	if (p->drain.busy)
		return lua_probe__fail(L, -EBUSY, "the probe is busy");
	p->maps = lua_probe__check_maps(L, 2);
	err = window__drain(p->window, p->maps, true, p->batches, NULL, &error);
	if (err)
		return lua_vm__fail(L, err, &error);
	lua_probe__push_batches(L, p, 1);
	return 1;
}

/* probe:look(position): what the window that goes on has as yet, as a batch */
static int probe_look(lua_State *L)
{
	struct lua_probe *p = lua_probe__check_window(L);
	lua_Integer map = check_range(L, 2, (lua_Integer)window__count(p->window),
				      "no windowed map");
	struct batch batch;
	int err;

	luaL_argcheck(L, map > 0, 2, "no windowed map");
	batch__init(&batch, window__layout(p->window, (size_t)map - 1));
	err = window__look(p->window, (size_t)map - 1, &batch);
	if (err) {
		batch__free(&batch);
		return lua_probe__fail(L, err, "the window cannot be looked at now");
	}
	return lua_batch__push(L, &batch, 1);
}

static int probe_member(lua_State *L)
{
	struct lua_probe *p = lua_probe__check_window(L);
	struct error error = {0};
	int err = scope__set(p->probe, luaL_checkstring(L, 2), luaL_checkstring(L, 3),
			     lua_toboolean(L, 4), &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushboolean(L, 1);
	return 1;
}

static int probe_renew(lua_State *L)
{
	struct lua_probe *p = lua_probe__check_window(L);
	lua_Number at = luaL_optnumber(L, 2, (lua_Number)loop__now() / 1e9);

	luaL_argcheck(L, at > 0, 2, "a time expected");
	__atomic_store_n(&probe__ctl(p->probe)->renewed, (uint64_t)(at * 1e9), __ATOMIC_RELEASE);
	return 0;
}

static int probe_clock(lua_State *L)
{
	struct lua_probe *p = lua_probe__check_window(L);
	struct timespec boot;
	uint64_t offset;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	offset = loop__wall() - ((uint64_t)boot.tv_sec * 1000000000ULL + (uint64_t)boot.tv_nsec);
	__atomic_store_n(&probe__ctl(p->probe)->wall_offset, offset, __ATOMIC_RELEASE);
	return 0;
}

static int probe_run(lua_State *L)
{
	struct lua_probe *p = lua_probe__check_window(L);
	const char *name = luaL_checkstring(L, 2);
	struct capture_frame *frame = lua_capture__frame(L, 3);
	struct error error = {0};
	int program = probe__program(p->probe, name);
	int err = program < 0 ? error__set(&error, program, "there is no program %s", name)
			      : replay__frame(p->probe, program, frame, &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushboolean(L, 1);
	return 1;
}

const luaL_Reg lua_probe_window_methods[] = {
	{"windows", probe_windows},
	{"ways", probe_ways},
	{"flip", probe_flip},
	{"raised", probe_raised},
	{"arm", probe_arm},
	{"drain", probe_drain},
	{"drain_now", probe_drain_now},
	{"look", probe_look},
	{"renew", probe_renew},
	{"clock", probe_clock},
	{"run", probe_run},
	{"member", probe_member},
	{NULL, NULL},
};
