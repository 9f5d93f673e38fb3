/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "lua/lua_files.h"

#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "lua/lua_vm.h"

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

/* Whether it is a file that may be executed; errno says why not. */
static bool executable(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return false;
	errno = EACCES;
	return S_ISREG(st.st_mode) && !access(path, X_OK);
}

static int files_program(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	const char *path = getenv("PATH"), *end;
	char full[PATH_MAX];

	if (strchr(name, '/')) {
		if (!executable(name))
			return fail(L, name);
		lua_pushstring(L, name);
		return 1;
	}
	for (path = path ? path : "/usr/bin:/bin"; *path; path = *end ? end + 1 : end) {
		end = strchrnul(path, ':');
		if (snprintf(full, sizeof(full), "%.*s/%s", (int)(end - path), path, name) <
			    (int)sizeof(full) &&
		    executable(full)) {
			lua_pushstring(L, full);
			return 1;
		}
	}
	errno = ENOENT;
	return fail(L, name);
}

int luaopen_perilune_core_files(lua_State *L)
{
	static const luaL_Reg functions[] = {{"list", files_list},
					     {"kind", files_kind},
					     {"program", files_program},
					     {NULL, NULL}};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
