/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_kernel.h"

#include <errno.h>
#include <lauxlib.h>
#include <net/if.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/error.h"
#include "base/interface.h"
#include "base/netns.h"
#include "extract/extract_kinds.h"
#include "kernel/kernel.h"
#include "lua/lua_vm.h"

static void set_text(lua_State *L, const char *key, const char *text)
{
	lua_pushstring(L, text);
	lua_setfield(L, -2, key);
}

static void set_bool(lua_State *L, const char *key, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, int value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, key);
}

static int capabilities(lua_State *L)
{
	struct capability list[KERNEL_CAPABILITIES_MAX];
	size_t count = kernel__probe(list, KERNEL_CAPABILITIES_MAX);

	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		const struct capability *c = &list[i];

		lua_createtable(L, 0, 8);
		set_text(L, "name", c->name);
		set_text(L, "what", c->what);
		set_text(L, "costs", c->costs);
		set_text(L, "remedy", c->remedy);
		set_bool(L, "required", c->required);
		set_bool(L, "ok", !c->result);
		if (c->result)
			set_text(L, "code", error__name(c->result));
		if (c->detail[0])
			set_text(L, "detail", c->detail);
		lua_rawseti(L, -2, (int)i + 1);
	}
	return 1;
}

static int map_ways(lua_State *L)
{
	struct extract_kind kinds[EXTRACT_KINDS_MAX];
	size_t count = extract_kinds__try(kinds);

	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		lua_createtable(L, 0, 4);
		set_text(L, "type", kinds[i].type);
		if (kinds[i].result) {
			set_text(L, "code", error__name(kinds[i].result));
		} else {
			set_text(L, "quiet", extract_way__name(kinds[i].quiet));
			set_text(L, "used", extract_way__name(kinds[i].used));
			set_text(L, "large", extract_way__name(kinds[i].large));
			lua_pushinteger(L, EXTRACT_GATHER_MAX);
			lua_setfield(L, -2, "large_from");
		}
		lua_rawseti(L, -2, (int)i + 1);
	}
	return 1;
}

struct question {
	const char *name; /* NULL: the default route's */
	struct interface found;
	struct error *error;
};

static int ask(void *arg)
{
	struct question *q = arg;

	return q->name ? interface__find(q->name, &q->found, q->error)
		       : interface__default(&q->found, q->error);
}

/* Asks in the network namespace whose name is at `index`; when there is no name, in our own. */
static int ask_in(lua_State *L, int index, struct question *question, struct error *error)
{
	const char *netns = luaL_optstring(L, index, NULL);
	int fd = NETNS_OWN, err = netns ? netns__open(netns, &fd, error) : 0;

	question->error = error;
	if (!err)
		err = netns__call(fd, ask, question, error);
	if (fd != NETNS_OWN)
		close(fd);
	return err;
}

static int interface(lua_State *L)
{
	struct question question = {.name = luaL_checkstring(L, 1)};
	const struct interface *found = &question.found;
	struct error error;
	int err = ask_in(L, 2, &question, &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_createtable(L, 0, 4);
	set_text(L, "name", found->name);
	set_integer(L, "index", found->index);
	set_integer(L, "mtu", found->mtu);
	set_bool(L, "up", found->up);
	return 1;
}

/* Under lua_pcall, so that no memory error leaves the kernel's list behind. */
static int push_names(lua_State *L)
{
	const struct if_nameindex *all = lua_touserdata(L, 1);

	lua_newtable(L);
	for (int i = 0; all[i].if_index; i++) {
		lua_pushstring(L, all[i].if_name);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

static int interfaces(lua_State *L)
{
	struct if_nameindex *all = if_nameindex();
	int err;

	if (!all)
		return lua_vm__fail_errno(L, -errno, "cannot list the interfaces");
	lua_pushcfunction(L, push_names);
	lua_pushlightuserdata(L, all);
	err = lua_pcall(L, 1, 1, 0);
	if_freenameindex(all);
	return err ? lua_error(L) : 1;
}

static int default_interface(lua_State *L)
{
	struct question question = {.name = NULL};
	struct error error;
	int err = ask_in(L, 1, &question, &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushstring(L, question.found.name);
	return 1;
}

/* Whether there is a network namespace of this name. */
static int netns(lua_State *L)
{
	struct error error;
	int fd, err = netns__open(luaL_checkstring(L, 1), &fd, &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	close(fd);
	lua_pushboolean(L, 1);
	return 1;
}

static int effective(lua_State *L)
{
	struct kernel_rights rights;
	int err = kernel__rights(&rights);

	if (err)
		return lua_vm__fail_errno(L, err, "cannot read the capabilities of this process");
	lua_createtable(L, 0, 6);
	set_bool(L, "root", rights.root);
	set_bool(L, "bpf", rights.enough);
	set_bool(L, "cap_sys_admin", rights.sys_admin);
	set_bool(L, "cap_bpf", rights.bpf);
	set_bool(L, "cap_net_admin", rights.net_admin);
	set_bool(L, "cap_perfmon", rights.perfmon);
	return 1;
}

static int versions(lua_State *L)
{
	struct utsname name;

	lua_createtable(L, 0, 3);
	set_text(L, "libbpf", kernel__libbpf_version());
	if (!uname(&name)) {
		set_text(L, "kernel", name.release);
		set_text(L, "machine", name.machine);
	}
	return 1;
}

int luaopen_perilune_core_kernel(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"capabilities", capabilities},
		{"map_ways", map_ways},
		{"interface", interface},
		{"interfaces", interfaces},
		{"default_interface", default_interface},
		{"netns", netns},
		{"effective", effective},
		{"versions", versions},
		{NULL, NULL},
	};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
