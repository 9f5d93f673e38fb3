/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_links.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/interface.h"
#include "base/netns.h"
#include "kernel/links.h"
#include "loop/loop.h"
#include "lua/lua_table.h"
#include "lua/lua_vm.h"

#define LINKS_TYPE "perilune.links"

struct lua_links {
	struct links *links; /* NULL: closed */
	struct loop_watch *watch;
	struct lua_vm *vm;
	int changed; /* the function */
	int self;    /* until it is closed */
	/* The list under way; written by the worker until it is done. */
	bool listing;
	bool closing; /* close() was asked for meanwhile */
	int done;
	int code;
	struct error error;
	struct netlink_link *list;
	size_t count;
};

static void push_link(lua_State *L, const struct netlink_link *link)
{
	lua_createtable(L, 0, 4);
	lua_pushinteger(L, link->index);
	lua_setfield(L, -2, "index");
	lua_pushstring(L, link->name);
	lua_setfield(L, -2, "name");
	lua_pushfstring(L, "%s %d %d %d", link->name, (int)link->flags, (int)link->mtu,
			(int)link->xdp);
	lua_setfield(L, -2, "state");
	if (!link->gone)
		return;
	lua_pushboolean(L, 1);
	lua_setfield(L, -2, "gone");
}

struct changes {
	lua_State *L;
	int count;
};

static void on_change(const struct netlink_link *link, void *arg)
{
	struct changes *changes = arg;

	push_link(changes->L, link);
	lua_rawseti(changes->L, -2, ++changes->count);
}

/* Calls changed(changes), then changed(nil, message, code) if some were lost. Either may close the monitor. */
static void on_readable(void *arg)
{
	struct lua_links *m = arg;
	struct lua_vm *vm = m->vm;
	lua_State *L = lua_vm__state(vm);
	struct changes changes = {L, 0};
	struct error error;
	int err;

	lua_vm__push(L, m->self);
	lua_vm__push(L, m->changed);
	lua_newtable(L);
	err = links__read(m->links, on_change, &changes);
	if (changes.count)
		lua_vm__call(vm, 1, 0);
	else
		lua_pop(L, 2);
	if (err && m->links) {
		error__set(&error, err, "changes of interfaces were lost: %s", strerror(-err));
		lua_vm__push(L, m->changed);
		lua_vm__call(vm, lua_vm__fail(L, err, &error), 0);
	}
	lua_pop(L, 1);
}

/* Listens, or does not while a list is made: changes wait in the kernel then. */
static int attend(struct lua_links *m, bool on)
{
	if (on)
		return loop_watch__new(lua_vm__loop(m->vm), links__fd(m->links), on_readable, m,
				       &m->watch);
	loop_watch__free(m->watch);
	m->watch = NULL;
	return 0;
}

static void release(struct lua_links *m)
{
	lua_State *L = lua_vm__state(m->vm);

	attend(m, false);
	links__close(m->links);
	m->links = NULL;
	lua_vm__unref(L, &m->changed);
	lua_vm__unref(L, &m->self);
}

static int core_open(lua_State *L)
{
	struct lua_links *m;
	struct error error;
	const char *name;
	int netns = NETNS_OWN, err = 0;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	name = lua_table__string(L, 1, "netns");
	m = lua_newuserdata(L, sizeof(*m));
	memset(m, 0, sizeof(*m));
	m->vm = lua_vm__from(L);
	m->changed = m->self = m->done = LUA_NOREF;
	luaL_getmetatable(L, LINKS_TYPE);
	lua_setmetatable(L, -2);
	lua_getfield(L, 1, "changed");
	luaL_checktype(L, -1, LUA_TFUNCTION);
	m->changed = lua_vm__ref(L, -1);
	lua_pop(L, 1);
	if (name)
		err = netns__open(name, &netns, &error);
	if (!err)
		err = links__open(netns, 0, &m->links, &error);
	if (netns != NETNS_OWN)
		close(netns);
	if (err)
		return lua_vm__fail(L, err, &error);
	err = attend(m, true);
	if (err) {
		error__set(&error, err, "cannot watch the interfaces: %s", strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	m->self = lua_vm__ref(L, -1);
	return 1;
}

static struct lua_links *check(lua_State *L)
{
	struct lua_links *m = luaL_checkudata(L, 1, LINKS_TYPE);

	if (!m->links || m->closing)
		luaL_error(L, "this monitor is closed");
	return m;
}

static void work(void *arg)
{
	struct lua_links *m = arg;

	m->code = links__list(m->links, &m->list, &m->count, &m->error);
}

static void done(void *arg)
{
	struct lua_links *m = arg;
	lua_State *L = lua_vm__state(m->vm);
	int nargs = 1;

	m->listing = false;
	lua_vm__push(L, m->done);
	lua_vm__unref(L, &m->done);
	if (!m->code && !m->closing)
		m->code = attend(m, true);
	if (m->code) {
		if (!m->error.message[0])
			error__set(&m->error, m->code, "cannot watch the interfaces: %s",
				   strerror(-m->code));
		nargs = lua_vm__fail(L, m->code, &m->error);
	} else {
		lua_createtable(L, (int)m->count, 0);
		for (size_t i = 0; i < m->count; i++) {
			push_link(L, &m->list[i]);
			lua_rawseti(L, -2, (int)i + 1);
		}
	}
	free(m->list);
	m->list = NULL;
	if (m->closing) {
		release(m);
		lua_pop(L, nargs + 1);
	} else {
		lua_vm__call(m->vm, nargs, 0);
	}
}

static int fail(lua_State *L, int code, const char *message)
{
	struct error error;

	error__set(&error, code, "%s", message);
	return lua_vm__fail(L, code, &error);
}

static int links_list(lua_State *L)
{
	struct lua_links *m = check(L);
	int err;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	if (m->listing)
		return fail(L, -EBUSY, "a list is being made");
	m->error.message[0] = '\0';
	m->done = lua_vm__ref(L, 2);
	m->listing = true;
	attend(m, false);
	err = loop__work(lua_vm__loop(m->vm), work, done, m);
	if (err) {
		m->listing = false;
		lua_vm__unref(L, &m->done);
		attend(m, true);
		return fail(L, err, "cannot start a worker");
	}
	lua_pushboolean(L, 1);
	return 1;
}

static int links_valid(lua_State *L)
{
	struct lua_links *m = check(L);

	lua_pushboolean(L, netns__is(luaL_checkstring(L, 2), links__netns(m->links)));
	return 1;
}

static int links_close(lua_State *L)
{
	struct lua_links *m = luaL_checkudata(L, 1, LINKS_TYPE);

	if (m->listing)
		m->closing = true;
	else if (m->links)
		release(m);
	return 0;
}

static int core_remember(lua_State *L)
{
	interface__remember((int)luaL_checkinteger(L, 1), luaL_checkstring(L, 2));
	return 0;
}

int luaopen_perilune_core_links(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"list", links_list},  {"valid", links_valid}, {"close", links_close},
		{"__gc", links_close}, {NULL, NULL},
	};
	static const luaL_Reg functions[] = {{"open", core_open},
					     {"remember", core_remember},
					     {NULL, NULL}};

	lua_vm__type(L, LINKS_TYPE, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
