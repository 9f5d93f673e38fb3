/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_socket.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "lua/lua_vm.h"

#define SOCKET_TYPE "perilune.socket"

struct lua_socket {
	int fd; /* -1: closed */
};

static int open_socket(const struct sockaddr_un *address, int type, int *out)
{
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address))) {
		err = -errno;
		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

static int core_connect(lua_State *L)
{
	static const char *const kinds[] = {"stream", "dgram", NULL};
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len;
	const char *path = luaL_checklstring(L, 1, &len);
	int type = types[luaL_checkoption(L, 2, NULL, kinds)], err = 0;
	struct lua_socket *s = lua_newuserdata(L, sizeof(*s));

	s->fd = -1;
	luaL_getmetatable(L, SOCKET_TYPE);
	lua_setmetatable(L, -2);
	if (len >= sizeof(address.sun_path))
		err = -ENAMETOOLONG;
	else
		memcpy(address.sun_path, path, len);
	if (!err)
		err = open_socket(&address, type, &s->fd);
	return err ? lua_vm__fail_errno(L, err, path) : 1;
}

static struct lua_socket *check(lua_State *L)
{
	struct lua_socket *s = luaL_checkudata(L, 1, SOCKET_TYPE);

	luaL_argcheck(L, s->fd >= 0, 1, "this socket is closed");
	return s;
}

/* Of a stream as much as it takes; a message goes whole or not at all. */
static int send_all(int fd, const char *text, size_t len, size_t *sent)
{
	do {
		ssize_t n = send(fd, text + *sent, len - *sent, MSG_NOSIGNAL);

		if (n >= 0)
			*sent += (size_t)n;
		else if (errno != EINTR)
			return -errno;
	} while (*sent < len);
	return 0;
}

static int socket_send(lua_State *L)
{
	struct lua_socket *s = check(L);
	size_t len, sent = 0;
	const char *text = luaL_checklstring(L, 2, &len);
	int err = send_all(s->fd, text, len, &sent), pushed;

	/* A receiver whose queue is full, and one that has no memory for more just now. */
	if (err == -ENOBUFS)
		err = -EAGAIN;
	if (!err) {
		lua_pushboolean(L, 1);
		return 1;
	}
	pushed = lua_vm__fail_errno(L, err, "cannot send");
	lua_pushinteger(L, (lua_Integer)sent);
	return pushed + 1;
}

static int socket_fd(lua_State *L)
{
	lua_pushinteger(L, check(L)->fd);
	return 1;
}

static int socket_close(lua_State *L)
{
	struct lua_socket *s = luaL_checkudata(L, 1, SOCKET_TYPE);

	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	return 0;
}

int luaopen_perilune_core_socket(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"send", socket_send},	{"fd", socket_fd}, {"close", socket_close},
		{"__gc", socket_close}, {NULL, NULL},
	};
	static const luaL_Reg functions[] = {{"connect", core_connect}, {NULL, NULL}};

	lua_vm__type(L, SOCKET_TYPE, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
