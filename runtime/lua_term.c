/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.term: the terminal as far as a display needs it.
 *
 *   isatty(fd) → boolean
 *   size([fd]) → columns, rows | nil, message, code
 *   write(fd, text) → true | nil, message, code, bytes written
 *
 * A write waits for the reader at most STALL_MS at a time, so that one that has stopped reading cannot keep the loop from
 * its signals: it then fails with "EAGAIN", and the rest is the caller's to keep.
 */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "error.h"
#include "lua_term.h"
#include "lua_vm.h"

#define STALL_MS 1000

/* A pipe or terminal that polls as writable takes this much without blocking (PIPE_BUF). */
#define CHUNK 4096

static int fail(lua_State *L, int code, const char *what)
{
	struct error error;

	error__set(&error, code, "%s: %s", what, strerror(-code));
	return lua_vm__fail(L, code, &error);
}

static int isatty_(lua_State *L)
{
	lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
	return 1;
}

static int size(lua_State *L)
{
	int fd = (int)luaL_optinteger(L, 1, STDOUT_FILENO);
	struct winsize w = {0};

	if (ioctl(fd, TIOCGWINSZ, &w))
		return fail(L, -errno, "cannot read the size of the terminal");
	if (!w.ws_col || !w.ws_row) /* a terminal that does not know, such as a serial line */
		return fail(L, -ENODATA, "the terminal does not know its size");
	lua_pushinteger(L, w.ws_col);
	lua_pushinteger(L, w.ws_row);
	return 2;
}

static int write_all(int fd, const char *text, size_t len, size_t *written)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	while (*written < len) {
		size_t left = len - *written;
		int ready = poll(&p, 1, STALL_MS);
		ssize_t n;

		if (!ready)
			return -EAGAIN;
		if (ready < 0 && errno != EINTR)
			return -errno;
		if (ready < 0)
			continue;
		n = write(fd, text + *written, left < CHUNK ? left : CHUNK);
		if (n >= 0)
			*written += (size_t)n;
		else if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
	return 0;
}

static int write_(lua_State *L)
{
	int fd = (int)luaL_checkinteger(L, 1), err, pushed;
	size_t len, written = 0;
	const char *text = luaL_checklstring(L, 2, &len);

	err = write_all(fd, text, len, &written);
	if (!err) {
		lua_pushboolean(L, 1);
		return 1;
	}
	pushed = fail(L, err, "cannot write the output");
	lua_pushinteger(L, (lua_Integer)written);
	return pushed + 1;
}

int luaopen_perilune_core_term(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"isatty", isatty_},
		{"size", size},
		{"write", write_},
		{NULL, NULL},
	};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
