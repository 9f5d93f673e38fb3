/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "lua/lua_child.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "loop/loop.h"
#include "lua/lua_vm.h"

#define CHILD_TYPE "perilune.child"
#define ARGS_MAX 1024

struct lua_child {
	struct loop_child *child; /* NULL: it has ended */
	struct lua_vm *vm;
	int output, done; /* functions */
	int self;	  /* until it has ended */
};

static void on_output(int fd, const char *bytes, size_t len, void *arg)
{
	struct lua_child *child = arg;
	lua_State *L = lua_vm__state(child->vm);

	lua_vm__push(L, child->output);
	lua_pushinteger(L, fd);
	lua_pushlstring(L, bytes, len);
	lua_vm__call(child->vm, 2, 0);
}

static void on_end(struct loop_child_result *result, void *arg)
{
	struct lua_child *child = arg;
	struct lua_vm *vm = child->vm;
	lua_State *L = lua_vm__state(vm);
	int self = child->self;

	child->child = NULL;
	child->self = LUA_NOREF;
	lua_vm__push(L, self);
	lua_vm__unref(L, &self);
	lua_vm__push(L, child->done);
	lua_vm__unref(L, &child->done);
	lua_vm__unref(L, &child->output);
	if (result->signal) {
		const char *name = sigabbrev_np(result->signal);

		lua_pushnil(L);
		lua_pushfstring(L, name ? "SIG%s" : "%s", name ? name : "a signal");
		lua_vm__call(vm, 2, 0);
	} else {
		lua_pushinteger(L, result->status);
		lua_vm__call(vm, 1, 0);
	}
	lua_pop(L, 1);
}

/* The strings of the list at the top of the stack, which holds on to them. What is wrong with them may be a client's doing. */
static int get_argv(lua_State *L, const char *argv[ARGS_MAX])
{
	size_t count, len;

	if (!lua_istable(L, -1) || !lua_objlen(L, -1))
		luaL_error(L, "start: argv must be a list of strings");
	count = lua_objlen(L, -1);
	if (count >= ARGS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < count; i++) {
		lua_rawgeti(L, -1, (int)i + 1);
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "start: argv must be a list of strings");
		argv[i] = lua_tolstring(L, -1, &len);
		if (strlen(argv[i]) != len)
			return -EINVAL;
		lua_pop(L, 1);
	}
	argv[count] = NULL;
	return 0;
}

static int core_start(lua_State *L)
{
	const char *argv[ARGS_MAX];
	struct loop_child_spec spec = {.argv = argv, .on_output = on_output};
	struct lua_child *child;
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	lua_getfield(L, 1, "output");
	luaL_checktype(L, 3, LUA_TFUNCTION);
	lua_getfield(L, 1, "input");
	if (lua_type(L, 4) == LUA_TSTRING)
		spec.input = lua_tolstring(L, 4, &spec.input_len);
	else
		spec.keep_input = lua_toboolean(L, 4);
	lua_getfield(L, 1, "handed");
	spec.handed = luaL_optlstring(L, 5, NULL, &spec.handed_len);
	lua_getfield(L, 1, "argv");
	err = get_argv(L, argv);
	if (err)
		return lua_vm__fail_errno(L, err, "the arguments of a program");
	child = lua_newuserdata(L, sizeof(*child));
	*child = (struct lua_child){.vm = lua_vm__from(L), .output = LUA_NOREF, .done = LUA_NOREF};
	luaL_getmetatable(L, CHILD_TYPE);
	lua_setmetatable(L, -2);
	child->output = lua_vm__ref(L, 3);
	child->done = lua_vm__ref(L, 2);
	child->self = lua_vm__ref(L, -1);
	err = loop_child__start(lua_vm__loop(child->vm), &spec, on_end, child, &child->child);
	if (!err)
		return 1;
	lua_vm__unref(L, &child->output);
	lua_vm__unref(L, &child->done);
	lua_vm__unref(L, &child->self);
	return lua_vm__fail_errno(L, err, argv[0]);
}

static int child_signal(lua_State *L)
{
	static const char *const names[] = {"SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2", NULL};
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR2};
	struct lua_child *child = luaL_checkudata(L, 1, CHILD_TYPE);
	int signum = signals[luaL_checkoption(L, 2, NULL, names)];

	if (child->child)
		loop_child__signal(child->child, signum);
	return 0;
}

static int child_kill(lua_State *L)
{
	struct lua_child *child = luaL_checkudata(L, 1, CHILD_TYPE);

	if (child->child)
		loop_child__kill(child->child);
	return 0;
}

static int child_write(lua_State *L)
{
	struct lua_child *child = luaL_checkudata(L, 1, CHILD_TYPE);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	int err = child->child ? loop_child__write(child->child, text, len) : -EPIPE;

	if (err)
		return lua_vm__fail_errno(L, err, "cannot write to the process");
	lua_pushboolean(L, 1);
	return 1;
}

static int child_pause(lua_State *L)
{
	struct lua_child *child = luaL_checkudata(L, 1, CHILD_TYPE);

	if (child->child)
		loop_child__pause(child->child);
	return 0;
}

static int child_resume(lua_State *L)
{
	struct lua_child *child = luaL_checkudata(L, 1, CHILD_TYPE);

	if (child->child)
		loop_child__resume(child->child);
	return 0;
}

static int child_pid(lua_State *L)
{
	struct lua_child *child = luaL_checkudata(L, 1, CHILD_TYPE);

	if (child->child)
		lua_pushinteger(L, loop_child__pid(child->child));
	else
		lua_pushnil(L);
	return 1;
}

static int core_program(lua_State *L)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path));

	if (len < 0)
		return lua_vm__fail_errno(L, -errno, "cannot find this program");
	lua_pushlstring(L, path, (size_t)len);
	return 1;
}

static int core_follow(lua_State *L)
{
	pid_t parent = (pid_t)luaL_checkinteger(L, 1);

	/* It may have ended before we asked: then it is not our parent any more. */
	lua_pushboolean(L, !prctl(PR_SET_PDEATHSIG, SIGKILL) && getppid() == parent);
	return 1;
}

int luaopen_perilune_core_child(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"signal", child_signal},
		{"kill", child_kill},
		{"write", child_write},
		{"pause", child_pause},
		{"resume", child_resume},
		{"pid", child_pid},
		{NULL, NULL},
	};
	static const luaL_Reg functions[] = {{"start", core_start},
					     {"program", core_program},
					     {"follow", core_follow},
					     {NULL, NULL}};

	lua_vm__type(L, CHILD_TYPE, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
