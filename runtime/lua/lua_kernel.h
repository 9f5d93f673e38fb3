/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.kernel: what this machine can do and which interfaces it has. See lua_kernel.c for its functions.
 */
#ifndef PERILUNE_LUA_KERNEL_H
#define PERILUNE_LUA_KERNEL_H

#include <lua.h>

int luaopen_perilune_core_kernel(lua_State *L);

#endif
