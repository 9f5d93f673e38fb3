/* SPDX-License-Identifier: Apache-2.0 */
/* perilune.store on its binding: values kept, read back, refused; writing on a worker; logs and locks. */
#include <lauxlib.h>
#include <lua.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loop/loop.h"
#include "lua/lua_vm.h"

static char root[64];
static struct loop *loop;
static struct lua_vm *vm;

static int setup(void **state)
{
	struct error error;

	(void)state;
	strcpy(root, "/tmp/perilune-test-store-XXXXXX");
	if (!mkdtemp(root) || setenv("PERILUNE_STATE", root, 1) || loop__new(&loop))
		return -1;
	if (lua_vm__new(loop, &(struct lua_vm_paths){.share = PERILUNE_BUILD_SHARE}, &vm, &error))
		return -1;
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	loop__settle(loop);
	lua_vm__free(vm);
	loop__free(loop);
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static void run(const char *chunk)
{
	lua_State *L = lua_vm__state(vm);
	char text[4096];

	snprintf(
		text, sizeof(text),
		"local store, core, loop = require 'perilune.base.store', require 'perilune.core.store', "
		"require 'perilune.core.loop' local kept = assert(store.open()) %s",
		chunk);
	if (luaL_loadstring(L, text) || lua_pcall(L, 0, 0, 0))
		fail_msg("%s", lua_tostring(L, -1));
}

static void test_values(void **state)
{
	(void)state;
	run("local value = { n = 1.5, list = { 1, 2, 'x\\0y' }, deep = { [7] = true } }"
	    "assert(kept:save('learnt/p.state', 'baseline', 3, value))"
	    "local back = assert(kept:load('learnt/p.state', 'baseline', 3))"
	    "assert(back.n == 1.5 and back.list[3] == 'x\\0y' and back.deep[7] == true)"
	    "local none, message, code = kept:load('learnt/p.state', 'baseline', 4)"
	    "assert(none == nil and code == 'EBADMSG' and message:find('version 3, not 4', 1, true), message)"
	    "none, message, code = kept:load('learnt/p.state', 'cost', 3)"
	    "assert(none == nil and code == 'EBADMSG' and message:find('holds baseline, not cost', 1, true))"
	    "none, message, code = kept:load('learnt/q.state', 'baseline', 3)"
	    "assert(none == nil and code == 'ENOENT')"
	    "assert(kept:remove 'learnt/p.state' and not kept:remove 'learnt/p.state')"
	    "assert(not pcall(kept.path, kept, '../x') and not pcall(kept.path, kept, 'a//b'))"
	    "assert(not pcall(kept.save, kept, 'f', 'k', 1, print))");
}

static void test_damage(void **state)
{
	(void)state;
	run("assert(kept:save('d', 'k', 1, { a = 'text' }))"
	    "local path = kept:path 'd' local whole = assert(core.read(path, 1000))"
	    "for i = 1, #whole do"
	    "  local byte = string.char((whole:byte(i) + 1) % 256)"
	    "  assert(core.replace(path, whole:sub(1, i - 1) .. byte .. whole:sub(i + 1)))"
	    "  local value, _, code = kept:load('d', 'k', 1)"
	    "  assert(value == nil and code == 'EBADMSG', i)"
	    "  assert(core.replace(path, whole:sub(1, i - 1)))"
	    "  value, _, code = kept:load('d', 'k', 1)"
	    "  assert(value == nil and code == 'EBADMSG', i)"
	    "end");
}

/* Writes follow one another; the last value stays, and every callback that is made says that it went well. */
static void test_soon(void **state)
{
	(void)state;
	run("local called = 0 "
	    "for i = 1, 50 do kept:save_soon('s', 'k', 1, { i = i }, function(ok) assert(ok) called = i end) end "
	    "loop.run() assert(called == 50) assert(kept:load('s', 'k', 1).i == 50)"
	    "kept:save_soon('s/below', 'k', 1, {}, function(ok, message, code)"
	    "  called = code assert(ok == nil and message) end)"
	    "loop.run() assert(called == 'ENOTDIR', called)");
}

static void test_logs(void **state)
{
	(void)state;
	run("local log = assert(kept:log 'audit.log') assert(log:write('a\\n') == 2)"
	    "local none, _, code = kept:log 'audit.log' assert(none == nil and code == 'EBUSY')"
	    "for _, line in ipairs { 'b\\n', 'c\\n', 'd\\n' } do assert(log:rotate(2)) log:write(line) end "
	    "assert(log:sync() and log:size() == 2) log:close()"
	    "local function text(name) return core.read(kept:path(name), 100) end "
	    "assert(text 'audit.log' == 'd\\n' and text 'audit.log.1' == 'c\\n' and text 'audit.log.2' == 'b\\n')"
	    "assert(not text 'audit.log.3') assert(not pcall(log.write, log, 'x'))"
	    "local lock = assert(kept:lock 'p') local no, _, why = kept:lock 'p'"
	    "assert(no == nil and why == 'EBUSY') lock:close() assert(kept:lock 'p')");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_soon),
		cmocka_unit_test(test_logs),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
