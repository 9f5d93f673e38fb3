/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune: finds its own files, makes the loop and the Lua state, and hands the arguments to lua/perilune/main.lua.
 */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "loop/loop.h"
#include "lua/lua_vm.h"

#define EXIT_WRONG 2 /* the command or the installation is wrong */

static bool has_lua(const char *share)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/lua/perilune/main.lua", share);
	return !access(path, R_OK);
}

/*
 * Where lua/, templates/ and bpf/ are: PREFIX/share/perilune for PREFIX/bin/perilune, and the source tree for a program in its build
 * tree. An installed program never looks into the tree it was built in.
 */
static int find_share(char *out, size_t size)
{
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *dir, *slash;

	if (len <= 0)
		return -errno;
	exe[len] = '\0';
	slash = strrchr(exe, '/');
	if (slash)
		*slash = '\0';
	dir = strrchr(exe, '/');
	if (dir && !strcmp(dir, "/bin")) {
		*dir = '\0';
		if (snprintf(out, size, "%s/" PERILUNE_INSTALL_SHARE, exe) >= (int)size)
			return -ENAMETOOLONG;
	} else {
		snprintf(out, size, "%s", PERILUNE_BUILD_SHARE);
	}
	return has_lua(out) ? 0 : -ENOENT;
}

/* require("perilune.main")(arguments, { version, share, path }) → exit status */
static int run(struct lua_vm *vm, const char *share, const char *path, int argc, char **argv)
{
	lua_State *L = lua_vm__state(vm);
	int status;

	lua_getglobal(L, "require");
	lua_pushliteral(L, "perilune.main");
	if (lua_vm__call(vm, 1, 1))
		return EXIT_WRONG;
	lua_createtable(L, argc, 0);
	for (int i = 1; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i);
	}
	lua_newtable(L);
	lua_pushliteral(L, PERILUNE_VERSION);
	lua_setfield(L, -2, "version");
	lua_pushstring(L, share);
	lua_setfield(L, -2, "share");
	lua_pushstring(L, path);
	lua_setfield(L, -2, "path");
	if (lua_vm__call(vm, 2, 1))
		return EXIT_FAILURE;
	status = (int)lua_tointeger(L, -1);
	lua_pop(L, 1);
	return status;
}

/* A program may be started with its standard streams closed: no file of ours may become one of them. */
static int fill_standard_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	return fd < 0 ? -errno : close(fd);
}

/* A program on a hook of an interface is a descriptor, and there may be thousands of interfaces. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	struct lua_vm *vm = NULL;
	struct loop *loop = NULL;
	struct error error = {0};
	char share[PATH_MAX];
	const char *path = getenv("PERILUNE_PATH");
	int status = EXIT_WRONG;

	signal(SIGPIPE, SIG_IGN); /* a closed output is an error code, and a reason to end */
	if (fill_standard_streams())
		return EXIT_WRONG;
	raise_file_limit();
	if (find_share(share, sizeof(share))) {
		fprintf(stderr,
			"perilune: cannot find its Lua files in %s (install it whole, or run it from its build "
			"tree)\n",
			share);
		return EXIT_WRONG;
	}
	if (loop__new(&loop)) {
		fprintf(stderr, "perilune: cannot create an event loop\n");
		return EXIT_WRONG;
	}
	if (lua_vm__new(loop, &(struct lua_vm_paths){.share = share, .prefix = path}, &vm, &error))
		fprintf(stderr, "perilune: %s\n", error.message);
	else
		status = run(vm, share, path, argc, argv);
	loop__settle(loop); /* what is still owed is called while Lua is there */
	lua_vm__free(vm);
	loop__free(loop);
	return status;
}
