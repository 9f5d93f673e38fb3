/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_interrupt.h"

#include <lauxlib.h>
#include <luajit.h>
#include <signal.h>

static lua_State *volatile running; /* what a signal is for: one process has one */
static volatile sig_atomic_t signals;

/*
 * The hook stays until the call ends: code that catches the error is ended at its next step outside of the pcall that caught it.
 */
static void stop(lua_State *L, lua_Debug *at)
{
	(void)at;
	lua_pushliteral(L, "interrupted");
	lua_error(L);
}

/* Setting a hook is what LuaJIT allows in a signal handler. */
static void on_signal(int signum)
{
	if (signals++) {
		signal(signum, SIG_DFL);
		raise(signum);
		return;
	}
	if (running)
		lua_sethook(running, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static int interrupt_call(lua_State *L)
{
	struct sigaction action = {.sa_handler = on_signal}, before;
	lua_State *outer = running;
	int err;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	signals = 0;
	running = L;
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, &before);
	err = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
	lua_sethook(L, NULL, 0, 0);
	sigaction(SIGINT, &before, NULL);
	running = outer;
	lua_pushboolean(L, !err);
	lua_insert(L, 1);
	return lua_gettop(L);
}

static int interrupt_plain(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	luaJIT_setmode(L, 1, LUAJIT_MODE_ALLFUNC | LUAJIT_MODE_OFF);
	return 1;
}

int luaopen_perilune_core_interrupt(lua_State *L)
{
	static const luaL_Reg functions[] = {{"call", interrupt_call},
					     {"plain", interrupt_plain},
					     {NULL, NULL}};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
