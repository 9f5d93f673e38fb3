/* SPDX-License-Identifier: Apache-2.0 */
#include "lua_http.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "lua_table.h"
#include "lua_vm.h"

#define SERVER_TYPE "perilune.http_server"
#define REQUEST_TYPE "perilune.http_request"
#define HEADERS_MAX 32

struct lua_server {
	struct http_server *server; /* NULL: closed */
	struct lua_vm *vm;
	int head, request, log; /* functions */
	int self;		/* until it is closed */
	int depth;		/* of callbacks under way */
};

struct lua_request {
	struct http_request *request; /* NULL: it is over */
	struct lua_server *server;
	int self; /* until it is over */
	int gone, drained;
};

/* ---------------------------------------------------------------- callbacks */

/* Calls `fn` with the request, if there is one. */
static void call(struct lua_server *server, int fn, int self)
{
	lua_State *L = lua_vm__state(server->vm);

	if (fn == LUA_NOREF)
		return;
	server->depth++;
	lua_vm__push(L, fn);
	lua_vm__push(L, self);
	lua_vm__call(server->vm, 1, 0);
	server->depth--;
}

static void on_head(struct http_request *request, void *arg)
{
	struct lua_server *server = arg;
	lua_State *L = lua_vm__state(server->vm);
	struct lua_request *r = lua_newuserdata(L, sizeof(*r));

	*r = (struct lua_request){.request = request,
				  .server = server,
				  .self = LUA_NOREF,
				  .gone = LUA_NOREF,
				  .drained = LUA_NOREF};
	luaL_getmetatable(L, REQUEST_TYPE);
	lua_setmetatable(L, -2);
	r->self = lua_vm__ref(L, -1);
	lua_pop(L, 1);
	http_request__set_data(request, r);
	call(server, server->head, r->self);
}

static void on_request(struct http_request *request, void *arg)
{
	struct lua_server *server = arg;
	struct lua_request *r = http_request__data(request);

	call(server, server->request, r->self);
}

static void on_drained(struct http_request *request, void *arg)
{
	struct lua_request *r = http_request__data(request);

	call(arg, r->drained, r->self);
}

static void on_gone(struct http_request *request, void *arg)
{
	struct lua_server *server = arg;
	struct lua_request *r = http_request__data(request);
	lua_State *L = lua_vm__state(server->vm);
	int gone = r->gone, self = r->self;

	r->request = NULL;
	r->gone = r->self = LUA_NOREF;
	lua_vm__unref(L, &r->drained);
	call(server, gone, self);
	lua_vm__unref(L, &gone);
	lua_vm__unref(L, &self);
}

static void on_log(const char *text, void *arg)
{
	struct lua_server *server = arg;
	lua_State *L = lua_vm__state(server->vm);

	if (server->log == LUA_NOREF)
		return;
	lua_vm__push(L, server->log);
	lua_pushstring(L, text);
	lua_vm__call(server->vm, 1, 0);
}

/* ---------------------------------------------------------------- servers */

static void get_limits(lua_State *L, int table, struct http_limits *limits)
{
	lua_getfield(L, table, "limits");
	if (lua_istable(L, -1)) {
		int at = lua_gettop(L);

		limits->head_bytes = (size_t)lua_table__integer(L, at, "head_bytes", 0);
		limits->body_bytes = (size_t)lua_table__integer(L, at, "body_bytes", 0);
		limits->connections = (unsigned int)lua_table__integer(L, at, "connections", 0);
		limits->per_address = (unsigned int)lua_table__integer(L, at, "per_address", 0);
		limits->request_seconds = (unsigned int)lua_table__integer(L, at, "request_seconds",
									   0);
		limits->idle_seconds = (unsigned int)lua_table__integer(L, at, "idle_seconds", 0);
		limits->answer_seconds = (unsigned int)lua_table__integer(L, at, "answer_seconds",
									  0);
	}
	lua_pop(L, 1);
}

/* Leaves the table that holds the texts on the stack. */
static const struct http_tls *get_tls(lua_State *L, int table, struct http_tls *tls)
{
	int at;

	lua_getfield(L, table, "tls");
	if (!lua_istable(L, -1))
		return NULL;
	at = lua_gettop(L);
	tls->certificate = lua_table__string(L, at, "certificate");
	tls->key = lua_table__string(L, at, "key");
	tls->clients = lua_table__string(L, at, "clients");
	if (!tls->certificate || !tls->key)
		luaL_error(L, "serve: tls needs a certificate and a key");
	return tls;
}

static int get_function(lua_State *L, int table, const char *name)
{
	int ref = LUA_NOREF;

	lua_getfield(L, table, name);
	if (lua_isfunction(L, -1))
		ref = lua_vm__ref(L, -1);
	lua_pop(L, 1);
	return ref;
}

static void release(lua_State *L, struct lua_server *server)
{
	lua_vm__unref(L, &server->head);
	lua_vm__unref(L, &server->request);
	lua_vm__unref(L, &server->log);
	lua_vm__unref(L, &server->self);
}

static int core_serve(lua_State *L)
{
	struct http_spec spec = {.head = on_head,
				 .request = on_request,
				 .gone = on_gone,
				 .log = on_log};
	struct lua_server *server;
	struct http_tls tls = {0};
	struct error error;
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	spec.listen.path = lua_table__string(L, 1, "path");
	spec.listen.mode = (mode_t)lua_table__integer(L, 1, "mode", 0);
	spec.listen.group = lua_table__string(L, 1, "group");
	spec.listen.host = lua_table__string(L, 1, "host");
	spec.listen.port = (uint16_t)lua_table__integer(L, 1, "port", 0);
	luaL_argcheck(L, spec.listen.path || spec.listen.host, 1, "a path or a host expected");
	get_limits(L, 1, &spec.limits);
	spec.tls = get_tls(L, 1, &tls);
	server = lua_newuserdata(L, sizeof(*server));
	*server = (struct lua_server){.vm = lua_vm__from(L),
				      .head = get_function(L, 1, "head"),
				      .request = get_function(L, 1, "request"),
				      .log = get_function(L, 1, "log"),
				      .self = LUA_NOREF};
	luaL_getmetatable(L, SERVER_TYPE);
	lua_setmetatable(L, -2);
	spec.arg = server;
	err = http_server__new(lua_vm__loop(server->vm), &spec, &server->server, &error);
	if (err) {
		release(L, server);
		return lua_vm__fail(L, err, &error);
	}
	server->self = lua_vm__ref(L, -1);
	return 1;
}

static struct http_server *check_server(lua_State *L)
{
	struct lua_server *server = luaL_checkudata(L, 1, SERVER_TYPE);

	if (!server->server)
		luaL_error(L, "this server is closed");
	return server->server;
}

static int server_port(lua_State *L)
{
	lua_pushinteger(L, http_server__port(check_server(L)));
	return 1;
}

static int server_connections(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)http_server__connections(check_server(L)));
	return 1;
}

static int server_close(lua_State *L)
{
	struct lua_server *server = luaL_checkudata(L, 1, SERVER_TYPE);
	struct http_server *ended = server->server;

	if (server->depth)
		return luaL_error(L, "a server cannot be closed by its own callback");
	server->server = NULL;
	http_server__free(ended);
	release(L, server);
	return 0;
}

/* ---------------------------------------------------------------- requests */

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
	r->drained = get_function(L, 4, "drained");
	get_headers(L, 3, headers);
	return done(L,
		    http_request__stream(r->request, status, headers, (size_t)ceiling, on_drained),
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

static int core_is_loopback(lua_State *L)
{
	lua_pushboolean(L, http_listen__is_loopback(luaL_checkstring(L, 1)));
	return 1;
}

static const luaL_Reg server_methods[] = {
	{"port", server_port},
	{"connections", server_connections},
	{"close", server_close},
	{"__gc", server_close},
	{NULL, NULL},
};

static const luaL_Reg request_methods[] = {
	{"method", request_method},	{"target", request_target},
	{"header", request_header},	{"body", request_body},
	{"too_long", request_too_long}, {"peer", request_peer},
	{"answer", request_answer},	{"stream", request_stream},
	{"write", request_write},	{"finish", request_finish},
	{"abort", request_abort},	{"on_gone", request_on_gone},
	{"is_open", request_is_open},	{NULL, NULL},
};

int luaopen_perilune_core_http(lua_State *L)
{
	static const luaL_Reg functions[] = {{"serve", core_serve},
					     {"is_loopback", core_is_loopback},
					     {NULL, NULL}};

	lua_vm__type(L, SERVER_TYPE, server_methods);
	lua_vm__type(L, REQUEST_TYPE, request_methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
