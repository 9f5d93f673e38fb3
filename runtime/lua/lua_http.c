/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_http.h"

#include "lua/lua_http_impl.h"
#include "lua/lua_table.h"
#include "lua/lua_vm.h"

#define SERVER_TYPE "perilune.http_server"

struct lua_server {
	struct http_server *server; /* NULL: closed */
	struct lua_vm *vm;
	int head, request, log; /* functions */
	int self;		/* until it is closed */
	int depth;		/* of callbacks under way */
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

void lua_http__on_drained(struct http_request *request, void *arg)
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

int lua_http__function(lua_State *L, int table, const char *name)
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
				      .head = lua_http__function(L, 1, "head"),
				      .request = lua_http__function(L, 1, "request"),
				      .log = lua_http__function(L, 1, "log"),
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

int luaopen_perilune_core_http(lua_State *L)
{
	static const luaL_Reg functions[] = {{"serve", core_serve},
					     {"is_loopback", core_is_loopback},
					     {NULL, NULL}};

	lua_vm__type(L, SERVER_TYPE, server_methods);
	lua_vm__type(L, REQUEST_TYPE, lua_http__request_methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
