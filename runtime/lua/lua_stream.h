/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.stream: a client's end of a connection (stream.h).
 *
 *	connect(spec) → s | nil, message, code
 *	    spec: path = of a Unix socket, or host = (a name or an address), port =;
 *	    tls = { name = the host's, authorities =, certificate =, key = } (PEM texts; authorities: else the system's), or nil;
 *	    bytes(text): something has come; ended(message, code): the other end has closed (no message), or it broke
 *	s:write(text) → true | nil, message, code
 *	s:close(): nothing is called any more
 *
 * Does not keep the loop running, and is kept until it has ended or is closed.
 */
#ifndef PERILUNE_LUA_STREAM_H
#define PERILUNE_LUA_STREAM_H

#include <lua.h>

int luaopen_perilune_core_stream(lua_State *L);

#endif
