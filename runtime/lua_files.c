/* SPDX-License-Identifier: Apache-2.0 */
#include "lua_files.h"

#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"
#include "lua_vm.h"

static int fail(lua_State *L, const char *path)
{
	struct error error;
	int code = -errno;

	error__set(&error, code, "%s: %s", path, strerror(errno));
	return lua_vm__fail(L, code, &error);
}

static int files_list(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort), kept = 0;

	if (count < 0)
		return fail(L, path);
	lua_createtable(L, count, 0);
	for (int i = 0; i < count; i++) {
		if (strcmp(entries[i]->d_name, ".") && strcmp(entries[i]->d_name, "..")) {
			lua_pushstring(L, entries[i]->d_name);
			lua_rawseti(L, -2, ++kept);
		}
		free(entries[i]);
	}
	free(entries);
	return 1;
}

static int files_kind(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct stat st;

	if (stat(path, &st))
		return fail(L, path);
	lua_pushstring(L, S_ISREG(st.st_mode)	? "file"
			  : S_ISDIR(st.st_mode) ? "directory"
						: "other");
	return 1;
}

int luaopen_perilune_core_files(lua_State *L)
{
	static const luaL_Reg functions[] = {{"list", files_list},
					     {"kind", files_kind},
					     {NULL, NULL}};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
