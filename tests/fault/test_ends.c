/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a window does not hold up the loop: grace periods here last until a timer on the loop has fired some times. Were anything
 * of it done on the loop, the timer could not, and the window would end with an error.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <lauxlib.h>
#include <linux/types.h>
#include <lua.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <net/if.h>

#include "../unit/foreign.h"
#include "../unit/kinds.h"
#include "../unit/netns.h"
#include "../unit/program.h"
#include "loop/loop.h"
#include "lua/lua_vm.h"

/* closes(begin): ends WINDOWS windows by begin(done); each only while the timer fires. Globals: gate, foreign, kinds, interface. */
static const char common[] =
	"local loop = require 'perilune.core.loop'\n"
	"local TICKS, WINDOWS = 20, 10\n"
	"function closes(begin)\n"
	"  local ticks, closed, timer, open = 0, 0, nil, nil\n"
	"  local function tick()\n"
	"    ticks = ticks + 1\n"
	"    if ticks == TICKS then assert(io.open(gate, 'w')):close() end\n"
	"    timer:start(loop.now() + 0.001)\n"
	"  end\n"
	"  local function done(batches, cost)\n"
	"    failure = failure or not batches and cost\n"
	"      or ticks < TICKS and ('a window was closed after %d ticks'):format(ticks)\n"
	"      or not (cost.swap >= 0 and cost.grace > 0 and cost.read > 0 and cost.skew == 0) and 'what it took'\n"
	"    closed = closed + 1\n"
	"    if failure or closed == WINDOWS then timer:close() loop.stop() return end\n"
	"    open()\n"
	"  end\n"
	"  function open()\n"
	"    ticks = 0\n"
	"    os.remove(gate)\n"
	"    assert(begin(done))\n"
	"  end\n"
	"  timer = loop.timer(tick)\n"
	"  open()\n"
	"  timer:start(loop.now())\n"
	"  loop.run()\n"
	"  assert(not failure, failure)\n"
	"  assert(closed == WINDOWS)\n"
	"end\n"
	"function wait(start)\n"
	"  local ok, message\n"
	"  assert(start(function(...) ok, message = ... loop.stop() end))\n"
	"  loop.run()\n"
	"  assert(ok, message)\n"
	"end\n";

static const char flip[] =
	"local p = assert(require('perilune.core.probe').open(kinds, 'test'))\n"
	"for _, map in ipairs { 'rows', 'cpu_rows', 'events', 'latest' } do assert(p:entries(map, 100)) end\n"
	"wait(function(done) return p:load(done) end)\n"
	"assert(p:windows { { map = 'rows', kind = 'map' }, { map = 'cpu_rows', kind = 'map' } })\n"
	"closes(function(done)\n"
	"  assert(p:flip(1))\n"
	"  return p:drain({ true, true }, done)\n"
	"end)\n"
	"p:close()\n";

static const char twin[] =
	"for hook, program in pairs { xdp = 'watch_xdp', ['tc.ingress'] = 'watch' } do\n"
	"  local t = assert(require('perilune.core.twin').open(foreign, 'test'))\n"
	"  wait(function(done) return t:load(done) end)\n"
	"  wait(function(done) return t:attach({ hook = hook, program = program, ifindex = interface }, done) end)\n"
	"  wait(function(done) return t:windows({ { map = 'flows' } }, done) end)\n"
	"  closes(function(done) return t:swap({ true }, done) end)\n"
	"  t:close()\n"
	"end\n";

static void set_object(lua_State *L, const char *name, const char *source)
{
	size_t len = 0;
	unsigned char *object = program__compile(source, &len);

	assert_non_null(object);
	lua_pushlstring(L, (const char *)object, len);
	lua_setglobal(L, name);
	free(object);
}

static void run(const char *chunk)
{
	char gate[] = "/tmp/perilune-gate.XXXXXX";
	const char *source = getenv("PERILUNE_SOURCE");
	struct lua_vm_paths paths = {.share = source ? source : "."};
	struct error error = {0};
	struct lua_vm *vm;
	struct loop *loop;
	lua_State *L;
	int fd = mkstemp(gate), failed;

	assert_true(fd >= 0);
	close(fd);
	setenv("PERILUNE_FAULT_GRACE_UNTIL", gate, 1);
	assert_int_equal(loop__new(&loop), 0);
	assert_int_equal(lua_vm__new(loop, &paths, &vm, &error), 0);
	L = lua_vm__state(vm);
	lua_pushstring(L, gate);
	lua_setglobal(L, "gate");
	lua_pushinteger(L, (lua_Integer)if_nametoindex("a0"));
	lua_setglobal(L, "interface");
	set_object(L, "foreign", foreign_source);
	set_object(L, "kinds", kinds_source);
	failed = luaL_dostring(L, common) || luaL_dostring(L, chunk);
	if (failed)
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
	loop__settle(loop);
	lua_vm__free(vm);
	loop__free(loop);
	unsetenv("PERILUNE_FAULT_GRACE_UNTIL");
	unlink(gate);
	assert_false(failed);
}

static void a_flip_leaves_the_loop_alone(void **state)
{
	(void)state;
	run(flip);
}

static void a_twin_leaves_the_loop_alone(void **state)
{
	(void)state;
	run(twin);
}

static int setup(void **state)
{
	(void)state;
	return netns__enter() || netns__run("ip link add a0 type veth peer name b0 && "
					    "ip link set a0 up && ip link set b0 up")
		       ? -1
		       : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flip_leaves_the_loop_alone),
		cmocka_unit_test(a_twin_leaves_the_loop_alone),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
