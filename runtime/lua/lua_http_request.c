/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_http_impl.h"

#include <errno.h>

#include "lua/lua_table.h"
#include "lua/lua_vm.h"

#define HEADERS_MAX 32

static struct http_request *check_request(lua_State *L)
{
	struct lua_request *r = luaL_checkudata(L, 1, REQUEST_TYPE);

	if (!r->request)
		luaL_error(L, "this request is over");
	return r->request;
}

static int request_method(lua_State *L)
{
	lua_pushstring(L, http_request__method(check_request(L)));
	return 1;
}

static int request_target(lua_State *L)
{
	lua_pushstring(L, http_request__target(check_request(L)));
	return 1;
}

static int request_header(lua_State *L)
{
	lua_pushstring(L, http_request__header(check_request(L), luaL_checkstring(L, 2)));
	return 1;
}

static int request_body(lua_State *L)
{
	size_t len;
	const char *body = http_request__body(check_request(L), &len);

	lua_pushlstring(L, body, len);
	return 1;
}

static int request_too_long(lua_State *L)
{
	lua_pushboolean(L, http_request__is_too_long(check_request(L)));
	return 1;
}

static int request_long_head(lua_State *L)
{
	lua_pushboolean(L, http_request__has_long_head(check_request(L)));
	return 1;
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *value)
{
	if (!value[0])
		return;
	lua_pushstring(L, value);
	lua_setfield(L, -2, name);
}

static int request_peer(lua_State *L)
{
	struct http_peer peer;

	http_request__peer(check_request(L), &peer);
	lua_newtable(L);
	if (peer.local) {
		set_integer(L, "uid", peer.uid);
		set_integer(L, "gid", peer.gid);
		set_integer(L, "pid", peer.pid);
	}
	set_text(L, "address", peer.address);
	set_text(L, "subject", peer.subject);
	return 1;
}

/* The texts stay on the stack, so that they stay. */
static void get_headers(lua_State *L, int table, struct http_header headers[HEADERS_MAX + 1])
{
	size_t count;

	luaL_checktype(L, table, LUA_TTABLE);
	count = lua_objlen(L, table);
	luaL_argcheck(L, count <= HEADERS_MAX, table, "too many headers");
	luaL_checkstack(L, 3 * HEADERS_MAX, "headers");
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, table, (int)i + 1);
		luaL_checktype(L, -1, LUA_TTABLE);
		lua_rawgeti(L, -1, 1);
		lua_rawgeti(L, -2, 2);
		headers[i] = (struct http_header){luaL_checkstring(L, -2), luaL_checkstring(L, -1)};
	}
	headers[count] = (struct http_header){NULL, NULL};
}

static int done(lua_State *L, int err, const char *what)
{
	if (err)
		return lua_vm__fail_errno(L, err, what);
	lua_pushboolean(L, 1);
	return 1;
}

static int request_answer(lua_State *L)
{
	struct lua_request *r = luaL_checkudata(L, 1, REQUEST_TYPE);
	unsigned int status = (unsigned int)luaL_checkinteger(L, 2);
	struct http_header headers[HEADERS_MAX + 1];
	size_t len;
	const char *body = luaL_checklstring(L, 4, &len);

	get_headers(L, 3, headers);
	return done(L,
		    r->request ? http_request__answer(r->request, status, headers, body, len)
			       : -EPIPE,
		    "cannot answer");
}

static int request_stream(lua_State *L)
{
	struct lua_request *r = luaL_checkudata(L, 1, REQUEST_TYPE);
	unsigned int status = (unsigned int)luaL_checkinteger(L, 2);
	struct http_header headers[HEADERS_MAX + 1];
	lua_Integer ceiling;

	luaL_checktype(L, 4, LUA_TTABLE);
	if (!r->request)
		return lua_vm__fail_errno(L, -EPIPE, "cannot answer");
	ceiling = lua_table__integer(L, 4, "ceiling", 1 << 20);
	lua_vm__unref(L, &r->drained);
	r->drained = lua_http__function(L, 4, "drained");
	get_headers(L, 3, headers);
	return done(L,
		    http_request__stream(r->request, status, headers, (size_t)ceiling,
					 lua_http__on_drained),
		    "cannot answer");
}

static int request_write(lua_State *L)
{
	struct lua_request *r = luaL_checkudata(L, 1, REQUEST_TYPE);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);

	return done(L, r->request ? http_request__write(r->request, text, len) : -EPIPE,
		    "cannot write to the client");
}

static int request_finish(lua_State *L)
{
	struct lua_request *r = luaL_checkudata(L, 1, REQUEST_TYPE);

	if (r->request)
		http_request__finish(r->request);
	return 0;
}

static int request_abort(lua_State *L)
{
	struct lua_request *r = luaL_checkudata(L, 1, REQUEST_TYPE);

	if (r->request)
		http_request__abort(r->request);
	return 0;
}

static int request_on_gone(lua_State *L)
{
	struct lua_request *r = luaL_checkudata(L, 1, REQUEST_TYPE);

	luaL_checktype(L, 2, LUA_TFUNCTION);
	if (!r->request)
		return luaL_error(L, "this request is over");
	lua_vm__unref(L, &r->gone);
	r->gone = lua_vm__ref(L, 2);
	return 0;
}

static int request_is_open(lua_State *L)
{
	struct lua_request *r = luaL_checkudata(L, 1, REQUEST_TYPE);

	lua_pushboolean(L, r->request != NULL);
	return 1;
}

const luaL_Reg lua_http__request_methods[] = {
	{"method", request_method},
	{"target", request_target},
	{"header", request_header},
	{"body", request_body},
	{"too_long", request_too_long},
	{"long_head", request_long_head},
	{"peer", request_peer},
	{"answer", request_answer},
	{"stream", request_stream},
	{"write", request_write},
	{"finish", request_finish},
	{"abort", request_abort},
	{"on_gone", request_on_gone},
	{"is_open", request_is_open},
	{NULL, NULL},
};
