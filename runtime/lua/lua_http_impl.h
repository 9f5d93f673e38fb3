/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lua_http.c, of servers, and lua_http_request.c, of what is asked of a request, share; nobody else includes it.
 */
#ifndef PERILUNE_LUA_HTTP_IMPL_H
#define PERILUNE_LUA_HTTP_IMPL_H

#include <lauxlib.h>

#include "http/http.h"

#define REQUEST_TYPE "perilune.http_request"

struct lua_server;

struct lua_request {
	struct http_request *request; /* NULL: it is over */
	struct lua_server *server;
	int self; /* until it is over */
	int gone, drained;
};

/* A reference to the function that a table has by this name; LUA_NOREF when there is none. */
int lua_http__function(lua_State *L, int table, const char *name);

/* Calls what is to be called then. arg: the server */
void lua_http__on_drained(struct http_request *request, void *arg);

extern const luaL_Reg lua_http__request_methods[];

#endif
