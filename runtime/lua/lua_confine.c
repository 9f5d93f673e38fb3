/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_confine.h"

#include <errno.h>
#include <lauxlib.h>
#include <luajit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/confine.h"
#include "lua/lua_vm.h"

#define TYPE "perilune.confine"
#define NS 1e9

struct lua_confine {
	struct confine *confine;
};

/* ---- the child: one per process, so it may use static storage */

static struct {
	struct confine_peer *peer; /* NULL in every process that is no such child */
	lua_Alloc allocate;	   /* the state's own */
	char own[512];
} here;

struct service {
	lua_State *L;
	int serve; /* index of the function on the stack */
};

static int say(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);

	if (!here.peer)
		return luaL_error(L, "say is for children only");
	for (size_t at = 0; at < len; at += CONFINE_MESSAGE)
		confine_peer__send(here.peer, CONFINE_OUTPUT, text + at, len - at);
	return 0;
}

/* Notes each line of the code that is not perilune's own as it is entered, so that it is known whatever ends it. */
static void note_line(lua_State *L, lua_Debug *ar)
{
	char note[CONFINE_NOTE];

	if (!lua_getinfo(L, "S", ar) || *ar->source != '@' ||
	    !strncmp(ar->source, here.own, strlen(here.own)))
		return;
	snprintf(note, sizeof(note), "%d:%s", ar->currentline, ar->source + 1);
	confine_peer__note(here.peer, note);
}

/* An error object has words of its own; a text gets a traceback. */
static int with_traceback(lua_State *L)
{
	if (luaL_callmeta(L, 1, "__tostring"))
		return 1;
	if (lua_isstring(L, 1))
		luaL_traceback(L, L, lua_tostring(L, 1), 1);
	else
		lua_pushfstring(L, "(an error object: a %s)", luaL_typename(L, 1));
	return 1;
}

/*
 * Memory that is refused ends the child at once: an error could be caught, and what then goes on would not be what happens where
 * there is more memory.
 */
static void *allocate(void *ud, void *old, size_t before, size_t size)
{
	void *got = here.allocate(ud, old, before, size);

	if (!got && size) {
		confine_peer__send(here.peer, CONFINE_MEMORY, "", 0);
		_exit(0);
	}
	return got;
}

/* Called in protected mode: whatever fails in here, for want of memory too, is an answer. */
static int answer(lua_State *L)
{
	const char *message = lua_touserdata(L, 2);
	size_t len = (size_t)lua_tointeger(L, 3);

	lua_pushvalue(L, 1);
	lua_pushlstring(L, message, len);
	lua_call(L, 1, 1);
	luaL_checkstring(L, -1);
	return 1;
}

static int respond(const struct service *service, const char *message, size_t len)
{
	lua_State *L = service->L;
	enum confine_kind kind;
	const char *text = "";
	size_t size = 0;
	int err;

	lua_pushcfunction(L, with_traceback);
	lua_pushcfunction(L, answer);
	lua_pushvalue(L, service->serve);
	lua_pushlightuserdata(L, (void *)message);
	lua_pushinteger(L, (lua_Integer)len);
	err = lua_pcall(L, 3, 1, lua_gettop(L) - 4);
	kind = err == LUA_ERRMEM ? CONFINE_MEMORY : err ? CONFINE_FAILED : CONFINE_REPLY;
	if (kind != CONFINE_MEMORY && lua_type(L, -1) == LUA_TSTRING)
		text = lua_tolstring(L, -1, &size);
	err = confine_peer__send(here.peer, kind, text, size);
	lua_pop(L, 2);
	return err;
}

static void serve(struct confine_peer *peer, void *arg)
{
	const struct service *service = arg;
	const char *message;
	size_t len;
	void *ud;

	here.peer = peer;
	here.allocate = lua_getallocf(service->L, &ud);
	lua_setallocf(service->L, allocate, ud);
	if (*here.own) {
		luaJIT_setmode(service->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
		lua_sethook(service->L, note_line, LUA_MASKLINE, 0);
	}
	while (!confine_peer__receive(peer, &message, &len))
		if (respond(service, message, len))
			break;
}

/* ---- the parent */

static double number_field(lua_State *L, const char *name)
{
	double value;

	lua_getfield(L, 1, name);
	value = luaL_checknumber(L, -1);
	lua_pop(L, 1);
	return value;
}

static int fork_(lua_State *L)
{
	struct service service = {.L = L, .serve = 3};
	struct confine_spec spec = {.serve = serve, .arg = &service};
	struct lua_confine *self;
	struct error error = {0};
	const char *own;
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	spec.memory = (uint64_t)number_field(L, "memory");
	spec.cpu_ns = (uint64_t)(number_field(L, "seconds") * NS);
	lua_getfield(L, 1, "files");
	spec.files = lua_toboolean(L, -1);
	lua_settop(L, 1);
	lua_getfield(L, 1, "own");
	own = luaL_optstring(L, 2, "");
	lua_getfield(L, 1, "serve");
	luaL_checktype(L, 3, LUA_TFUNCTION);
	luaL_checkstack(L, 16, "no room to call");
	snprintf(here.own, sizeof(here.own), "%s", own);
	self = lua_newuserdata(L, sizeof(*self));
	self->confine = NULL;
	luaL_getmetatable(L, TYPE);
	lua_setmetatable(L, -2);
	err = confine__start(&spec, &self->confine, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static struct confine *check(lua_State *L)
{
	struct lua_confine *self = luaL_checkudata(L, 1, TYPE);

	if (!self->confine)
		luaL_error(L, "this child is closed");
	return self->confine;
}

/* Output goes to the function on top of the stack, if there is one. */
static void pass_on(const char *text, size_t len, void *arg)
{
	lua_State *L = arg;

	if (lua_isnil(L, -1))
		return;
	lua_pushvalue(L, -1);
	lua_pushlstring(L, text, len);
	if (lua_pcall(L, 1, 0, 0))
		lua_pop(L, 1); /* what cannot be written down is no reason to stop */
}

static int push_failure(lua_State *L, const struct confine_answer *got)
{
	lua_pushnil(L);
	switch (got->kind) {
	case CONFINE_FAILED:
		lua_pushlstring(L, got->text, got->len);
		lua_pushliteral(L, "ECANCELED");
		return 3;
	case CONFINE_MEMORY:
		lua_pushliteral(L, "not enough memory");
		lua_pushliteral(L, "ENOMEM");
		return 3;
	case CONFINE_TIME:
		lua_pushliteral(L, "no answer in time");
		lua_pushliteral(L, "ETIME");
		lua_pushnumber(L, (double)got->cpu_ns / NS);
		return 4;
	default:
		if (got->signal)
			lua_pushfstring(L, "signal %d (%s)", got->signal, strsignal(got->signal));
		else
			lua_pushliteral(L, "an end without an answer");
		lua_pushliteral(L, "ECHILD");
		return 3;
	}
}

static int push_answer(lua_State *L, const struct confine_answer *got)
{
	if (got->kind != CONFINE_REPLY)
		return push_failure(L, got);
	lua_pushlstring(L, got->text, got->len);
	return 1;
}

static int ask(lua_State *L)
{
	struct confine *confine = check(L);
	size_t len;
	const char *message = luaL_checklstring(L, 2, &len);
	double seconds = luaL_checknumber(L, 3);
	struct confine_answer got;
	struct error error = {0};
	int err;

	lua_settop(L, 4);
	err = confine__ask(confine, message, len, seconds > 0 ? (uint64_t)(seconds * NS) : 0,
			   pass_on, L, &got);
	if (err) {
		error__set(&error, err, "cannot ask the child: %s", strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	return push_answer(L, &got);
}

/* child:post(message) → true; the answer is fetched by poll. */
static int post(lua_State *L)
{
	struct confine *confine = check(L);
	size_t len;
	const char *message = luaL_checklstring(L, 2, &len);
	struct error error = {0};
	int err = confine__post(confine, message, len);

	if (err) {
		error__set(&error, err, "cannot ask the child: %s", strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	lua_pushboolean(L, 1);
	return 1;
}

/* child:poll(output) → as ask, or nil, message, "EAGAIN" when there is no answer yet. */
static int poll_(lua_State *L)
{
	struct confine *confine = check(L);
	struct confine_answer got;
	struct error error = {0};
	int err;

	lua_settop(L, 2);
	err = confine__poll(confine, pass_on, L, &got);
	if (err) {
		error__set(&error, err, "no answer: %s", strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	return push_answer(L, &got);
}

static int fd(lua_State *L)
{
	lua_pushinteger(L, confine__fd(check(L)));
	return 1;
}

static int line(lua_State *L)
{
	const char *note = confine__note(check(L));
	char *rest;
	long number = strtol(note, &rest, 10);

	if (rest == note || *rest != ':')
		return 0;
	lua_pushstring(L, rest + 1);
	lua_pushinteger(L, number);
	return 2;
}

static int close_(lua_State *L)
{
	struct lua_confine *self = luaL_checkudata(L, 1, TYPE);

	/* A child has copies of its parent's other children, which are not its own. */
	if (!here.peer)
		confine__free(self->confine);
	self->confine = NULL;
	return 0;
}

int luaopen_perilune_core_confine(lua_State *L)
{
	static const luaL_Reg functions[] = {{"fork", fork_}, {"say", say}, {NULL, NULL}};
	static const luaL_Reg methods[] = {{"ask", ask}, {"post", post}, {"poll", poll_},
					   {"fd", fd},	 {"line", line}, {"close", close_},
					   {NULL, NULL}};

	luaL_newmetatable(L, TYPE);
	lua_newtable(L);
	luaL_register(L, NULL, methods);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, close_);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	lua_pushinteger(L, CONFINE_MESSAGE);
	lua_setfield(L, -2, "MESSAGE");
	return 1;
}
