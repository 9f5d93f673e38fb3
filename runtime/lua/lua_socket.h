/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.socket: the sending end of a Unix socket, which never waits.
 *
 *	connect(path, kind) → s | nil, message, code
 *	    kind: "stream", or "dgram" for messages that stay whole, like those to syslog. EAGAIN: too many wait to be accepted
 *	s:send(text) → true | nil, message, code, bytes sent
 *	    "EAGAIN": the other end does not take more now; of a stream, some may have been sent. "EMSGSIZE": of a message
 *	s:fd() → its descriptor, to be watched
 *	s:close()
 */
#ifndef PERILUNE_LUA_SOCKET_H
#define PERILUNE_LUA_SOCKET_H

#include <lua.h>

int luaopen_perilune_core_socket(lua_State *L);

#endif
