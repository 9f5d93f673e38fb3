/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.service: the service manager, and the rights of this process (service.h).
 *
 *	open() → s, or false when nobody manages this process | nil, message, code
 *	s:tell(state) → true | nil, message, code
 *	s:watchdog() → seconds between two "WATCHDOG=1" that the manager allows, or nil
 *	rights() → { effective =, permitted =, bounding = } | nil, message, code
 *	keep_rights(own, handed) → true | nil, message, code
 *
 * Rights are tables of names without CAP_, in small letters: { bpf = true, net_admin = true }; those that have no name here are
 * not in them.
 */
#ifndef PERILUNE_LUA_SERVICE_H
#define PERILUNE_LUA_SERVICE_H

#include <lua.h>

int luaopen_perilune_core_service(lua_State *L);

#endif
