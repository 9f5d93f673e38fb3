/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_service.h"

#include <errno.h>
#include <lauxlib.h>
#include <linux/capability.h>
#include <string.h>

#include "loop/service.h"
#include "lua/lua_vm.h"

#define SERVICE_TYPE "perilune.service"

static const struct {
	const char *name;
	int number;
} capabilities[] = {
	{"bpf", CAP_BPF},
	{"chown", CAP_CHOWN},
	{"dac_override", CAP_DAC_OVERRIDE},
	{"dac_read_search", CAP_DAC_READ_SEARCH},
	{"fowner", CAP_FOWNER},
	{"kill", CAP_KILL},
	{"net_admin", CAP_NET_ADMIN},
	{"net_bind_service", CAP_NET_BIND_SERVICE},
	{"net_raw", CAP_NET_RAW},
	{"perfmon", CAP_PERFMON},
	{"setgid", CAP_SETGID},
	{"setpcap", CAP_SETPCAP},
	{"setuid", CAP_SETUID},
	{"sys_admin", CAP_SYS_ADMIN},
	{"sys_module", CAP_SYS_MODULE},
	{"sys_ptrace", CAP_SYS_PTRACE},
	{"sys_resource", CAP_SYS_RESOURCE},
};

#define COUNT (sizeof(capabilities) / sizeof(capabilities[0]))

static int core_open(lua_State *L)
{
	struct service **service = lua_newuserdata(L, sizeof(struct service *));
	struct error error;
	int err;

	*service = NULL;
	luaL_getmetatable(L, SERVICE_TYPE);
	lua_setmetatable(L, -2);
	err = service__open(service, &error);
	if (err)
		return lua_vm__fail(L, err, &error);
	if (!*service)
		lua_pushboolean(L, 0);
	return 1;
}

static struct service *check(lua_State *L)
{
	return *(struct service **)luaL_checkudata(L, 1, SERVICE_TYPE);
}

static int service_tell(lua_State *L)
{
	int err = service__tell(check(L), luaL_checkstring(L, 2));

	if (err)
		return lua_vm__fail_errno(L, err, "cannot tell the service manager");
	lua_pushboolean(L, 1);
	return 1;
}

static int service_watchdog(lua_State *L)
{
	uint64_t us = service__watchdog(check(L));

	if (us)
		lua_pushnumber(L, (double)us / 1e6);
	else
		lua_pushnil(L);
	return 1;
}

static int service_gc(lua_State *L)
{
	struct service **service = luaL_checkudata(L, 1, SERVICE_TYPE);

	service__free(*service);
	*service = NULL;
	return 0;
}

static void push_set(lua_State *L, const char *name, uint64_t set)
{
	lua_newtable(L);
	for (size_t i = 0; i < COUNT; i++) {
		if (!(set >> capabilities[i].number & 1))
			continue;
		lua_pushboolean(L, 1);
		lua_setfield(L, -2, capabilities[i].name);
	}
	lua_setfield(L, -2, name);
}

static uint64_t check_set(lua_State *L, int index)
{
	uint64_t set = 0;

	luaL_checktype(L, index, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
		size_t i = 0;

		while (i < COUNT && strcmp(capabilities[i].name, name))
			i++;
		luaL_argcheck(L, i < COUNT, index, "the name of a capability expected");
		set |= 1ULL << capabilities[i].number;
	}
	return set;
}

static int core_rights(lua_State *L)
{
	struct service_rights rights;
	int err = service__rights(&rights);

	if (err)
		return lua_vm__fail_errno(L, err, "cannot read the capabilities of this process");
	lua_newtable(L);
	push_set(L, "effective", rights.effective);
	push_set(L, "permitted", rights.permitted);
	push_set(L, "bounding", rights.bounding);
	return 1;
}

static int core_keep_rights(lua_State *L)
{
	uint64_t own = check_set(L, 1), handed = check_set(L, 2);
	int err = service__keep_rights(own, handed);

	if (err)
		return lua_vm__fail_errno(L, err, "cannot lay down capabilities");
	lua_pushboolean(L, 1);
	return 1;
}

int luaopen_perilune_core_service(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"tell", service_tell},
		{"watchdog", service_watchdog},
		{"__gc", service_gc},
		{NULL, NULL},
	};
	static const luaL_Reg functions[] = {{"open", core_open},
					     {"rights", core_rights},
					     {"keep_rights", core_keep_rights},
					     {NULL, NULL}};

	lua_vm__type(L, SERVICE_TYPE, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
