/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_pinned.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <time.h>

#include "loop/loop.h"
#include "lua/lua_batch.h"
#include "lua/lua_probe_impl.h"
#include "lua/lua_table.h"
#include "probe/pinned.h"

#define PINNED_TYPE "perilune.pinned"

static int core_open(lua_State *L)
{
	const char *policy = luaL_checkstring(L, 1);
	struct pinned **pinned = lua_newuserdata(L, sizeof(struct pinned *));
	struct error error = {0};
	int err;

	*pinned = NULL;
	luaL_getmetatable(L, PINNED_TYPE);
	lua_setmetatable(L, -2);
	err = pinned__open(PINNED_ROOT, policy, pinned, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static void push_look(lua_State *L, const struct pinned_look *look)
{
	lua_createtable(L, 0, 8);
	lua_pushstring(L, look->policy);
	lua_setfield(L, -2, "policy");
	lua_pushstring(L, look->version);
	lua_setfield(L, -2, "version");
	lua_pushstring(L, look->file);
	lua_setfield(L, -2, "file");
	lua_pushinteger(L, look->pid);
	lua_setfield(L, -2, "pid");
	lua_pushboolean(L, look->alive);
	lua_setfield(L, -2, "alive");
	lua_pushboolean(L, look->whole);
	lua_setfield(L, -2, "whole");
	lua_pushnumber(L, (double)look->seq);
	lua_setfield(L, -2, "seq");
	if (look->readable) {
		lua_pushlstring(L, (const char *)look->digest, sizeof(look->digest));
		lua_setfield(L, -2, "digest");
	}
}

static int core_look(lua_State *L)
{
	const char *policy = luaL_checkstring(L, 1);
	struct pinned_look look;
	struct error error = {0};
	int err = pinned__look(PINNED_ROOT, policy, &look);

	if (err) {
		error__set(&error, err, "%s: %s", policy,
			   err == -ENOENT ? "nothing of that policy is pinned" : strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	push_look(L, &look);
	return 1;
}

struct listing {
	lua_State *L;
	int count;
};

static void append(const struct pinned_look *look, void *arg)
{
	struct listing *listing = arg;

	push_look(listing->L, look);
	lua_rawseti(listing->L, -2, ++listing->count);
}

static int core_list(lua_State *L)
{
	struct listing listing = {.L = L};
	struct error error = {0};
	int err;

	lua_newtable(L);
	err = pinned__each(PINNED_ROOT, append, &listing);
	if (!err)
		return 1;
	error__set(&error, err, PINNED_ROOT ": %s", strerror(-err));
	return lua_vm__fail(L, err, &error);
}

static int core_digest(lua_State *L)
{
	unsigned char digest[LEDGER_DIGEST];
	size_t len;
	const char *object = luaL_checklstring(L, 1, &len);

	pinned__digest(object, len, luaL_checkstring(L, 2), digest);
	lua_pushlstring(L, (const char *)digest, sizeof(digest));
	return 1;
}

static int core_ask(lua_State *L)
{
	const char *policy = luaL_checkstring(L, 1);
	struct error error = {0};
	int err = pinned__ask(PINNED_ROOT, policy, &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushboolean(L, 1);
	return 1;
}

static int core_remove(lua_State *L)
{
	const char *policy = luaL_checkstring(L, 1);
	struct error error = {0};
	int err = pinned__forget(PINNED_ROOT, policy, &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushboolean(L, 1);
	return 1;
}

static struct pinned *check(lua_State *L)
{
	struct pinned **pinned = luaL_checkudata(L, 1, PINNED_TYPE);

	if (!*pinned)
		luaL_error(L, "these pins are closed");
	return *pinned;
}

static int pinned_found(lua_State *L)
{
	lua_pushboolean(L, pinned__found(check(L)));
	return 1;
}

static const unsigned char *check_digest(lua_State *L, int index)
{
	size_t len;
	const char *digest = luaL_checklstring(L, index, &len);

	luaL_argcheck(L, len == LEDGER_DIGEST, index, "no digest");
	return (const unsigned char *)digest;
}

static int answer(lua_State *L, int err, const struct error *error)
{
	if (err)
		return lua_vm__fail(L, err, error);
	lua_pushboolean(L, 1);
	return 1;
}

static int pinned_adopt(lua_State *L)
{
	struct pinned *pinned = check(L);
	struct lua_probe *p = luaL_checkudata(L, 2, PROBE_TYPE);
	struct error error = {0};
	int err;

	luaL_argcheck(L, p->probe && !p->loaded && !p->object.busy, 2, "a fresh probe expected");
	err = pinned__adopt(pinned, p->probe, check_digest(L, 3), &error);
	p->loaded = !err;
	return answer(L, err, &error);
}

/*
 * Windows are numbered from the µs since the machine began: higher than all that there were since then, as a window takes longer than one,
 * so that whoever tells windows apart by boot and number never takes a new one for an old.
 */
static uint64_t first_seq(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int pinned_begin(lua_State *L)
{
	struct pinned *pinned = check(L);
	struct lua_probe *p = luaL_checkudata(L, 2, PROBE_TYPE);
	struct pinned_about about = {.digest = check_digest(L, 3),
				     .seq = first_seq(),
				     .wall = loop__wall() / 1000,
				     .mono = loop__now()};
	struct error error = {0};

	luaL_argcheck(L, p->probe && p->loaded && !p->window && !p->object.busy, 2,
		      "a loaded probe without windows expected");
	luaL_checktype(L, 4, LUA_TTABLE);
	about.version = lua_table__string(L, 4, "version");
	about.file = lua_table__string(L, 4, "file");
	luaL_argcheck(L, about.version && about.file, 4, "version and file expected");
	return answer(L, pinned__begin(pinned, p->probe, &about, &error), &error);
}

static int pinned_succeed(lua_State *L)
{
	struct pinned *pinned = check(L);
	struct lua_probe *p = luaL_checkudata(L, 2, PROBE_TYPE);
	struct pinned_about about = {.digest = check_digest(L, 3),
				     .wall = loop__wall() / 1000,
				     .mono = loop__now()};
	double sums[LEDGER_SUMS];
	size_t count = lua_probe__check_sums(L, 5, sums);
	struct error error = {0};

	luaL_argcheck(L, p->window && !probe__ledger(p->probe) && !p->object.busy && !p->drain.busy,
		      2, "a probe with windows and without a ledger expected");
	luaL_checktype(L, 4, LUA_TTABLE);
	about.version = lua_table__string(L, 4, "version");
	about.file = lua_table__string(L, 4, "file");
	about.seq = (uint64_t)lua_table__integer(L, 4, "seq", 0);
	luaL_argcheck(L, about.version && about.file && about.seq, 4,
		      "version, file and seq expected");
	return answer(L, pinned__succeed(pinned, p->probe, p->window, &about, sums, count, &error),
		      &error);
}

static int pinned_undo(lua_State *L)
{
	pinned__undo(check(L));
	return 0;
}

static int pinned_settled(lua_State *L)
{
	pinned__settled(check(L));
	return 0;
}

static int pinned_rest(lua_State *L)
{
	const struct pinned *pinned = check(L);
	struct lua_probe *p = luaL_checkudata(L, 2, PROBE_TYPE);
	const char *name = luaL_checkstring(L, 3);
	lua_Integer at = luaL_checkinteger(L, 4);
	struct ledger_window when;
	struct error error = {0};
	struct batch batch;
	int err;

	luaL_argcheck(L, p->window, 2, "a probe with windows expected");
	luaL_argcheck(L, at > 0 && (size_t)at <= window__count(p->window), 4, "no windowed map");
	batch__init(&batch, window__layout(p->window, (size_t)at - 1));
	err = pinned__rest(pinned, name, batch.layout, &when, &batch, &error);
	if (err) {
		batch__free(&batch);
		return lua_vm__fail(L, err, &error);
	}
	lua_createtable(L, 0, 4);
	lua_pushnumber(L, (double)when.seq);
	lua_setfield(L, -2, "seq");
	lua_pushnumber(L, (double)when.wall);
	lua_setfield(L, -2, "wall");
	lua_pushnumber(L, (double)when.mono / 1e9);
	lua_setfield(L, -2, "mono");
	lua_batch__push(L, &batch, 2);
	lua_setfield(L, -2, "totals");
	return 1;
}

static int pinned_remove(lua_State *L)
{
	struct pinned **pinned = luaL_checkudata(L, 1, PINNED_TYPE);

	pinned__remove(*pinned);
	*pinned = NULL;
	return 0;
}

/* Also when it is collected: what is pinned is not to go by an oversight. */
static int pinned_leave(lua_State *L)
{
	struct pinned **pinned = luaL_checkudata(L, 1, PINNED_TYPE);

	pinned__leave(*pinned);
	*pinned = NULL;
	return 0;
}

int luaopen_perilune_core_pinned(lua_State *L)
{
	static const luaL_Reg methods[] = {{"found", pinned_found}, {"adopt", pinned_adopt},
					   {"begin", pinned_begin}, {"remove", pinned_remove},
					   {"leave", pinned_leave}, {"succeed", pinned_succeed},
					   {"undo", pinned_undo},   {"settled", pinned_settled},
					   {"rest", pinned_rest},   {NULL, NULL}};
	static const luaL_Reg functions[] = {{"open", core_open}, {"look", core_look},
					     {"list", core_list}, {"digest", core_digest},
					     {"ask", core_ask},	  {"remove", core_remove},
					     {NULL, NULL}};

	luaL_newmetatable(L, PINNED_TYPE);
	lua_newtable(L);
	luaL_register(L, NULL, methods);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, pinned_leave);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	lua_pushliteral(L, PINNED_ROOT);
	lua_setfield(L, -2, "ROOT");
	return 1;
}
