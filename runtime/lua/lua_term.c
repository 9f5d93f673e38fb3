/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.term: the terminal and the standard streams, as far as a display or a conversation needs them.
 *
 *   isatty(fd) → boolean
 *   size([fd]) → columns, rows | nil, message, code
 *   read(fd) → text, "" at its end | nil, message, code: "EAGAIN" when there is nothing yet
 *   write(fd, text[, wait = true]) → true | nil, message, code, bytes written
 *   keys(fn) → k | nil, message, code; from now on fn(bytes) is called with what is typed, key by key, unseen and without waiting for
 *              a line, and fn(nil) when the terminal is gone; k:close() puts the terminal as it was, and so does the end of the process
 *
 * A write waits for the reader at most STALL_MS at a time, so that one that has stopped reading cannot keep the loop from
 * its signals: it then fails with "EAGAIN", and the rest is the caller's to keep. With wait = false, it does not wait at all.
 */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/error.h"
#include "loop/loop.h"
#include "lua/lua_term.h"
#include "lua/lua_vm.h"

#define STALL_MS 1000

#define KEYS_TYPE "perilune.keys"

struct lua_keys {
	struct loop_watch *watch; /* NULL: closed */
	struct lua_vm *vm;
	int fn, self;
};

/* How the terminal was: a process has one. */
static struct termios before;
static bool changed;

static void restore(void)
{
	if (changed)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	changed = false;
}

/* A pipe or terminal that polls as writable takes this much without blocking (PIPE_BUF). */
#define CHUNK 4096

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
		return lua_vm__fail_errno(L, -errno, "cannot read the size of the terminal");
	if (!w.ws_col || !w.ws_row) /* a terminal that does not know, such as a serial line */
		return lua_vm__fail_errno(L, -ENODATA, "the terminal does not know its size");
	lua_pushinteger(L, w.ws_col);
	lua_pushinteger(L, w.ws_row);
	return 2;
}

static int write_all(int fd, const char *text, size_t len, int wait_ms, size_t *written)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	while (*written < len) {
		size_t left = len - *written;
		int ready = poll(&p, 1, wait_ms);
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
	bool wait = lua_isnoneornil(L, 3) || lua_toboolean(L, 3);

	err = write_all(fd, text, len, wait ? STALL_MS : 0, &written);
	if (!err) {
		lua_pushboolean(L, 1);
		return 1;
	}
	pushed = lua_vm__fail_errno(L, err, "cannot write the output");
	lua_pushinteger(L, (lua_Integer)written);
	return pushed + 1;
}

static int read_(lua_State *L)
{
	int fd = (int)luaL_checkinteger(L, 1), ready;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char bytes[16384];
	ssize_t n = -1;

	ready = poll(&p, 1, 0);
	if (!ready)
		errno = EAGAIN;
	else if (ready > 0)
		n = read(fd, bytes, sizeof(bytes));
	if (n < 0)
		return lua_vm__fail_errno(L, errno == EINTR ? -EAGAIN : -errno, "cannot read");
	lua_pushlstring(L, bytes, (size_t)n);
	return 1;
}

static int keys_close(lua_State *L)
{
	struct lua_keys *keys = luaL_checkudata(L, 1, KEYS_TYPE);

	if (keys->watch)
		restore();
	loop_watch__free(keys->watch);
	keys->watch = NULL;
	lua_vm__unref(L, &keys->fn);
	lua_vm__unref(L, &keys->self);
	return 0;
}

static void on_keys(void *arg)
{
	struct lua_keys *keys = arg;
	struct lua_vm *vm = keys->vm;
	lua_State *L = lua_vm__state(vm);
	char bytes[256];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	lua_vm__push(L, keys->self); /* what is called may close it */
	lua_vm__push(L, keys->fn);
	if (n > 0) {
		lua_pushlstring(L, bytes, (size_t)n);
	} else {
		loop_watch__free(keys->watch);
		keys->watch = NULL;
		lua_pushnil(L);
	}
	lua_vm__call(vm, 1, 0);
	lua_pop(L, 1);
}

/* Ctrl-C stays a signal. */
static int read_keys_alone(void)
{
	static bool registered;
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &before))
		return -errno;
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw))
		return -errno;
	changed = true;
	if (!registered)
		registered = !atexit(restore);
	return 0;
}

static int keys(lua_State *L)
{
	struct lua_keys *keys;
	int err;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	keys = lua_newuserdata(L, sizeof(*keys));
	*keys = (struct lua_keys){.vm = lua_vm__from(L), .fn = LUA_NOREF, .self = LUA_NOREF};
	luaL_getmetatable(L, KEYS_TYPE);
	lua_setmetatable(L, -2);
	err = read_keys_alone();
	if (!err)
		err = loop_watch__new(lua_vm__loop(keys->vm), STDIN_FILENO, on_keys, keys,
				      &keys->watch);
	if (err) {
		restore();
		return lua_vm__fail_errno(L, err, "cannot read keys");
	}
	keys->fn = lua_vm__ref(L, 1);
	keys->self = lua_vm__ref(L, 2);
	return 1;
}

int luaopen_perilune_core_term(lua_State *L)
{
	static const luaL_Reg methods[] = {{"close", keys_close},
					   {"__gc", keys_close},
					   {NULL, NULL}};
	static const luaL_Reg functions[] = {
		{"isatty", isatty_}, {"size", size}, {"read", read_},
		{"write", write_},   {"keys", keys}, {NULL, NULL},
	};

	luaL_newmetatable(L, KEYS_TYPE);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_register(L, NULL, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
