/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.http: HTTP servers (http.h), for Lua.
 *
 *	serve(spec) → server | nil, message, code
 *	    spec: path =, mode =, group = (a Unix socket), or host =, port = (TCP; 0: any port);
 *	    tls = { certificate =, key =, clients = } (PEM texts); limits = { head_bytes =, … } as in http.h;
 *	    head(request): a head is in, the body is not read yet; what it answers ends the matter
 *	    request(request): the body is in; answers now or later
 *	    log(text): what clients did that is not HTTP
 *	server:port(), server:connections()
 *	server:close(): ends every request. Not from within a callback of it: `close` then waits for the loop.
 *
 *	request:method(), :target(), :header(name), :body(): what was asked
 *	request:too_long(): the body has, or says it has, more than limits.body_bytes
 *	request:peer() → { uid =, gid =, pid = } by a Unix socket, { address =, subject = } by TCP
 *	request:answer(status, headers, body) → true | nil, message, code
 *	    headers: list of { name, value }
 *	request:stream(status, headers, { ceiling =, drained = function(), gone = function() }) → true | nil, message, code
 *	request:write(text) → true | nil, message, code: "ENOBUFS" when the client does not read, "EPIPE" when it has gone
 *	request:finish(), request:abort()
 *	request:on_gone(fn): fn() when it is over, however it ended
 *	request:is_open(): it is not over. What is over can be asked nothing else; answers to it go nowhere ("EPIPE").
 *
 *	is_loopback(host): whether an address is the machine's own
 */
#ifndef PERILUNE_LUA_HTTP_H
#define PERILUNE_LUA_HTTP_H

#include <lua.h>

int luaopen_perilune_core_http(lua_State *L);

#endif
