/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.files: the little of the file system that Lua's own library does not have.
 *
 *	list(directory) → sorted names without . and .. | nil, message, code
 *	kind(path)      → "file", "directory", "other" | nil, message, code
 *	program(name)   → the file that a command of this name is, looked up in PATH unless it has a slash
 *	                  | nil, message, code
 */
#ifndef PERILUNE_LUA_FILES_H
#define PERILUNE_LUA_FILES_H

#include <lua.h>

int luaopen_perilune_core_files(lua_State *L);

#endif
