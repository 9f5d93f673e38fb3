/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "lua/lua_loop.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loop/loop.h"
#include "lua/lua_vm.h"
#include "probe/urgency.h"

#define TIMER_TYPE "perilune.timer"
#define SIGNAL_TYPE "perilune.signal"

struct lua_timer {
	struct loop_timer *timer; /* NULL: closed */
	struct loop_watch *watch; /* in place of a timer: of a descriptor */
	struct lua_vm *vm;
	int fn;
	int self; /* keeps the userdata while it runs, so that a timer need not be held by anybody
		     else */
};

struct lua_signal {
	struct loop_signal *signal; /* NULL: closed */
	struct lua_vm *vm;
	int fn;
	int self; /* until it is closed */
};

static int core_run(lua_State *L)
{
	int err = loop__run(lua_vm__loop(lua_vm__from(L)));

	if (err)
		return lua_vm__fail_errno(L, err, "the loop is running already");
	lua_pushboolean(L, 1);
	return 1;
}

static int core_stop(lua_State *L)
{
	loop__stop(lua_vm__loop(lua_vm__from(L)));
	return 0;
}

static int core_now(lua_State *L)
{
	lua_pushnumber(L, (double)loop__now() / 1e9);
	return 1;
}

static int core_wall(lua_State *L)
{
	uint64_t us = loop__wall() / 1000; /* whole ones */

	lua_pushnumber(L, (double)us);
	return 1;
}

static int core_boot(lua_State *L)
{
	uint64_t us = loop__boot() / 1000;

	lua_pushnumber(L, (double)us);
	return 1;
}

static int core_pid(lua_State *L)
{
	lua_pushinteger(L, getpid());
	return 1;
}

static int core_rfc3339(lua_State *L)
{
	double us = luaL_checknumber(L, 1), rest = luaL_optnumber(L, 2, 0);
	char text[64];
	struct tm tm;
	time_t seconds;
	size_t len;
	long ns;

	luaL_argcheck(L, us >= 0 && us < 253402300800e6 && us == floor(us), 1,
		      "whole microseconds since 1970 expected");
	luaL_argcheck(L, rest >= 0 && rest < 1000 && rest == floor(rest), 2,
		      "0 to 999 nanoseconds expected");
	seconds = (time_t)((uint64_t)us / 1000000);
	ns = (long)((uint64_t)us % 1000000 * 1000) + (long)rest;
	gmtime_r(&seconds, &tm);
	len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, sizeof(text) - len, ".%09ldZ", ns);
	lua_pushstring(L, text);
	return 1;
}

/* For lua_vm__call(): what is called may free `timer`, so nothing of it is touched afterwards. */
static void on_timer(void *arg)
{
	struct lua_timer *timer = arg;
	struct lua_vm *vm = timer->vm;
	lua_State *L = lua_vm__state(vm);

	lua_vm__push(L, timer->fn);
	lua_vm__unref(L, &timer->self);
	lua_vm__call(vm, 0, 0);
}

/* On the stack, with the function at index 1. */
static struct lua_timer *push_timer(lua_State *L)
{
	struct lua_timer *timer;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	timer = lua_newuserdata(L, sizeof(*timer));
	*timer = (struct lua_timer){.vm = lua_vm__from(L), .fn = LUA_NOREF, .self = LUA_NOREF};
	luaL_getmetatable(L, TIMER_TYPE);
	lua_setmetatable(L, -2);
	timer->fn = lua_vm__ref(L, 1);
	return timer;
}

static int core_timer(lua_State *L)
{
	struct lua_timer *timer = push_timer(L);
	int err = loop_timer__new(lua_vm__loop(timer->vm), on_timer, timer, &timer->timer);

	return err ? luaL_error(L, "cannot make a timer: %s", strerror(-err)) : 1;
}

static void on_step(void *arg)
{
	struct lua_timer *timer = arg;

	lua_vm__push(lua_vm__state(timer->vm), timer->fn);
	lua_vm__call(timer->vm, 0, 0);
}

static int core_on_step(lua_State *L)
{
	struct lua_timer *timer = push_timer(L);
	int err = loop_timer__on_step(lua_vm__loop(timer->vm), on_step, timer, &timer->timer);

	if (err)
		return lua_vm__fail_errno(L, err, "cannot watch the clock");
	timer->self = lua_vm__ref(L, -1);
	return 1;
}

/* Like a step: called again and again until it is closed. With a true third argument, whenever it can be written. */
static int core_watch(lua_State *L)
{
	int fd = (int)luaL_checkinteger(L, 1), err;
	bool writable = lua_toboolean(L, 3);
	struct lua_timer *timer;

	lua_remove(L, 1);
	timer = push_timer(L);
	err = loop_watch__new(lua_vm__loop(timer->vm), fd, on_step, timer, &timer->watch);
	if (!err && writable)
		err = loop_watch__want(timer->watch, false, true);
	if (err)
		return lua_vm__fail_errno(L, err, "cannot watch this descriptor");
	timer->self = lua_vm__ref(L, -1);
	return 1;
}

static struct lua_timer *check_timer(lua_State *L)
{
	struct lua_timer *timer = luaL_checkudata(L, 1, TIMER_TYPE);

	if (!timer->timer)
		luaL_error(L, "this timer is closed");
	return timer;
}

static int timer_start(lua_State *L)
{
	struct lua_timer *timer = check_timer(L);
	double deadline = luaL_checknumber(L, 2);
	uint64_t ns = 1;
	int err;

	luaL_argcheck(L, deadline == deadline, 2, "a time expected, not NaN");
	if (deadline >= 9e9) /* centuries; infinity too */
		ns = 9000000000000000000ULL;
	else if (deadline > 0)
		ns = (uint64_t)ceil(deadline * 1e9);
	while ((double)ns / 1e9 < deadline && ns < 9000000000000000000ULL)
		ns++; /* not before it by now() either, which rounds */
	err = loop_timer__start(timer->timer, ns);
	if (err)
		return lua_vm__fail_errno(L, err, "cannot start a timer");
	if (timer->self == LUA_NOREF)
		timer->self = lua_vm__ref(L, 1);
	lua_settop(L, 1);
	return 1;
}

static int timer_stop(lua_State *L)
{
	struct lua_timer *timer = check_timer(L);

	loop_timer__stop(timer->timer);
	lua_vm__unref(L, &timer->self);
	return 0;
}

static int timer_close(lua_State *L)
{
	struct lua_timer *timer = luaL_checkudata(L, 1, TIMER_TYPE);

	loop_timer__free(timer->timer);
	loop_watch__free(timer->watch);
	timer->timer = NULL;
	timer->watch = NULL;
	lua_vm__unref(L, &timer->fn);
	lua_vm__unref(L, &timer->self);
	return 0;
}

static void on_signal(int signum, void *arg)
{
	struct lua_signal *signal = arg;
	struct lua_vm *vm = signal->vm;
	lua_State *L = lua_vm__state(vm);

	lua_vm__push(L, signal->fn);
	lua_pushfstring(L, "SIG%s", sigabbrev_np(signum));
	lua_vm__call(vm, 1, 0);
}

static int signal_number(const char *name)
{
	if (!strncmp(name, "SIG", 3))
		for (int signum = 1; signum < NSIG; signum++) {
			const char *known = sigabbrev_np(signum);

			if (known && !strcmp(known, name + 3))
				return signum;
		}
	return 0;
}

static int core_signal(lua_State *L)
{
	int signum = signal_number(luaL_checkstring(L, 1)), err;
	struct lua_signal *signal;

	luaL_argcheck(L, signum, 1, "a signal's name expected, like SIGINT");
	luaL_checktype(L, 2, LUA_TFUNCTION);
	signal = lua_newuserdata(L, sizeof(*signal));
	*signal = (struct lua_signal){.vm = lua_vm__from(L), .fn = LUA_NOREF, .self = LUA_NOREF};
	luaL_getmetatable(L, SIGNAL_TYPE);
	lua_setmetatable(L, -2);
	signal->fn = lua_vm__ref(L, 2);
	err = loop_signal__new(lua_vm__loop(signal->vm), signum, on_signal, signal,
			       &signal->signal);
	if (err)
		return lua_vm__fail_errno(L, err, "cannot watch this signal");
	signal->self = lua_vm__ref(L, -1);
	return 1;
}

static int signal_close(lua_State *L)
{
	struct lua_signal *signal = luaL_checkudata(L, 1, SIGNAL_TYPE);

	loop_signal__free(signal->signal);
	signal->signal = NULL;
	lua_vm__unref(L, &signal->fn);
	lua_vm__unref(L, &signal->self);
	return 0;
}

static int core_urgent(lua_State *L)
{
	lua_pushboolean(L, !urgency__begin());
	return 1;
}

static const luaL_Reg timer_methods[] = {
	{"start", timer_start}, {"stop", timer_stop}, {"close", timer_close},
	{"__gc", timer_close},	{NULL, NULL},
};

static const luaL_Reg signal_methods[] = {
	{"close", signal_close},
	{"__gc", signal_close},
	{NULL, NULL},
};

static const luaL_Reg functions[] = {
	{"run", core_run},
	{"stop", core_stop},
	{"now", core_now},
	{"wall", core_wall},
	{"boot", core_boot},
	{"pid", core_pid},
	{"timer", core_timer},
	{"signal", core_signal},
	{"rfc3339", core_rfc3339},
	{"on_step", core_on_step},
	{"watch", core_watch},
	{"urgent", core_urgent},
	{NULL, NULL},
};

int luaopen_perilune_core_loop(lua_State *L)
{
	lua_vm__type(L, TIMER_TYPE, timer_methods);
	lua_vm__type(L, SIGNAL_TYPE, signal_methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
