/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_stream.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "http/stream.h"
#include "lua/lua_table.h"
#include "lua/lua_vm.h"

#define STREAM_TYPE "perilune.stream"

struct lua_stream {
	struct stream *stream; /* NULL: closed */
	struct lua_vm *vm;
	int bytes, ended; /* functions */
	int self;	  /* until it has ended */
};

static int fail(lua_State *L, int code)
{
	struct error error;

	error__set(&error, code, "%s", strerror(-code));
	return lua_vm__fail(L, code, &error);
}

static void shut(lua_State *L, struct lua_stream *s)
{
	stream__free(s->stream);
	s->stream = NULL;
	lua_vm__unref(L, &s->bytes);
	lua_vm__unref(L, &s->ended);
	lua_vm__unref(L, &s->self);
}

static void on_bytes(const char *bytes, size_t len, void *arg)
{
	struct lua_stream *s = arg;
	lua_State *L = lua_vm__state(s->vm);

	lua_vm__push(L, s->bytes);
	lua_pushlstring(L, bytes, len);
	lua_vm__call(s->vm, 1, 0);
}

static void on_end(int err, const char *why, void *arg)
{
	struct lua_stream *s = arg;
	struct lua_vm *vm = s->vm;
	lua_State *L = lua_vm__state(vm);

	lua_vm__push(L, s->ended);
	if (err) {
		lua_pushstring(L, why);
		lua_pushstring(L, error__name(err));
	}
	shut(L, s); /* and may be collected from here on */
	lua_vm__call(vm, err ? 2 : 0, 0);
}

static int function_at(lua_State *L, const char *name)
{
	int ref;

	lua_getfield(L, 1, name);
	luaL_checktype(L, -1, LUA_TFUNCTION);
	ref = lua_vm__ref(L, -1);
	lua_pop(L, 1);
	return ref;
}

static int core_connect(lua_State *L)
{
	struct stream_spec spec = {.bytes = on_bytes, .end = on_end};
	struct stream_tls_spec tls;
	struct lua_stream *s;
	struct error error;
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	spec.path = lua_table__string(L, 1, "path");
	spec.host = lua_table__string(L, 1, "host");
	luaL_argcheck(L, !spec.path != !spec.host, 1, "either path or host");
	spec.port = (uint16_t)lua_table__integer(L, 1, "port", 0);
	lua_getfield(L, 1, "tls");
	if (lua_istable(L, -1)) {
		tls = (struct stream_tls_spec){.name = lua_table__string(L, -1, "name"),
					       .authorities = lua_table__string(L, -1,
										"authorities"),
					       .certificate = lua_table__string(L, -1,
										"certificate"),
					       .key = lua_table__string(L, -1, "key")};
		luaL_argcheck(L, tls.name, 1, "tls: a name");
		spec.tls = &tls;
	}
	s = lua_newuserdata(L, sizeof(*s));
	*s = (struct lua_stream){.vm = lua_vm__from(L),
				 .bytes = LUA_NOREF,
				 .ended = LUA_NOREF,
				 .self = LUA_NOREF};
	luaL_getmetatable(L, STREAM_TYPE);
	lua_setmetatable(L, -2);
	s->bytes = function_at(L, "bytes");
	s->ended = function_at(L, "ended");
	spec.arg = s;
	err = stream__connect(lua_vm__loop(s->vm), &spec, &s->stream, &error);
	if (err) {
		shut(L, s);
		return lua_vm__fail(L, err, &error);
	}
	s->self = lua_vm__ref(L, -1);
	return 1;
}

static int stream_write(lua_State *L)
{
	struct lua_stream *s = luaL_checkudata(L, 1, STREAM_TYPE);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	int err = s->stream ? stream__write(s->stream, text, len) : -EPIPE;

	if (err)
		return fail(L, err);
	lua_pushboolean(L, 1);
	return 1;
}

static int stream_close(lua_State *L)
{
	shut(L, luaL_checkudata(L, 1, STREAM_TYPE));
	return 0;
}

int luaopen_perilune_core_stream(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"write", stream_write},
		{"close", stream_close},
		{"__gc", stream_close},
		{NULL, NULL},
	};
	static const luaL_Reg functions[] = {{"connect", core_connect}, {NULL, NULL}};

	lua_vm__type(L, STREAM_TYPE, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
