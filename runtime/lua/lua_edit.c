/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_edit.h"

#include <lauxlib.h>
#include <string.h>

#include "loop/edit.h"
#include "lua/lua_vm.h"

#define EDIT_TYPE "perilune.edit"
#define HISTORY_MOST 2000

struct lua_edit {
	struct edit *edit; /* NULL: closed */
	struct lua_vm *vm;
	int line, complete, self;
};

static void call_with(struct lua_edit *edit, int fn, const char *text, size_t len)
{
	lua_State *L = lua_vm__state(edit->vm);

	lua_vm__push(L, fn);
	if (text)
		lua_pushlstring(L, text, len);
	else
		lua_pushnil(L);
	lua_vm__call(edit->vm, 1, 0);
}

static void on_line(const char *text, size_t len, void *arg)
{
	struct lua_edit *edit = arg;

	call_with(edit, edit->line, text, len);
}

static void on_complete(const char *text, size_t len, void *arg)
{
	struct lua_edit *edit = arg;

	call_with(edit, edit->complete, text, len);
}

static void get_function(lua_State *L, const char *name, int *ref)
{
	lua_getfield(L, 1, name);
	luaL_argcheck(L, lua_isfunction(L, -1), 1, "line and complete must be functions");
	*ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int edit_new(lua_State *L)
{
	struct error error = {0};
	struct lua_edit *edit;
	struct edit_spec spec = {.program = "perilune",
				 .history_most = HISTORY_MOST,
				 .line = on_line,
				 .complete = on_complete};
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	edit = lua_newuserdata(L, sizeof(*edit));
	*edit = (struct lua_edit){.vm = lua_vm__from(L),
				  .line = LUA_NOREF,
				  .complete = LUA_NOREF,
				  .self = LUA_NOREF};
	luaL_getmetatable(L, EDIT_TYPE);
	lua_setmetatable(L, -2);
	get_function(L, "line", &edit->line);
	get_function(L, "complete", &edit->complete);
	lua_getfield(L, 1, "history");
	spec.history = lua_isnil(L, -1) ? NULL : luaL_checkstring(L, -1);
	spec.arg = edit;
	err = edit__new(lua_vm__loop(edit->vm), &spec, &edit->edit, &error);
	if (err)
		return lua_vm__fail(L, err, &error);
	lua_settop(L, 2);
	edit->self = lua_vm__ref(L, 2); /* until it is closed: the loop calls it */
	return 1;
}

static struct lua_edit *check(lua_State *L)
{
	return luaL_checkudata(L, 1, EDIT_TYPE);
}

static struct edit *check_open(lua_State *L)
{
	struct lua_edit *edit = check(L);

	luaL_argcheck(L, edit->edit, 1, "it is closed");
	return edit->edit;
}

static int edit_close(lua_State *L)
{
	struct lua_edit *edit = check(L);

	edit__free(edit->edit);
	edit->edit = NULL;
	lua_vm__unref(L, &edit->line);
	lua_vm__unref(L, &edit->complete);
	lua_vm__unref(L, &edit->self);
	return 0;
}

static int edit_tty(lua_State *L)
{
	lua_pushboolean(L, edit__is_tty(check_open(L)));
	return 1;
}

static int edit_prompt(lua_State *L)
{
	struct edit *edit = check_open(L);
	int err = edit__prompt(edit, luaL_checkstring(L, 2));
	struct error error;

	if (err) {
		error__set(&error, err, "cannot ask for a line: %s", strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	lua_pushboolean(L, 1);
	return 1;
}

static int edit_discard(lua_State *L)
{
	edit__discard(check_open(L));
	return 0;
}

static int edit_above(lua_State *L)
{
	struct edit *edit = check_open(L);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);

	edit__above(edit, text, len);
	return 0;
}

static int edit_insert(lua_State *L)
{
	struct edit *edit = check_open(L);

	edit__insert(edit, luaL_checkstring(L, 2));
	return 0;
}

static int edit_resize(lua_State *L)
{
	edit__resize(check_open(L));
	return 0;
}

static int edit_remember(lua_State *L)
{
	struct edit *edit = check_open(L);

	edit__remember(edit, luaL_checkstring(L, 2));
	return 0;
}

int luaopen_perilune_core_edit(lua_State *L)
{
	static const luaL_Reg functions[] = {{"new", edit_new}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
		{"tty", edit_tty},     {"prompt", edit_prompt},	    {"discard", edit_discard},
		{"above", edit_above}, {"insert", edit_insert},	    {"resize", edit_resize},
		{"close", edit_close}, {"remember", edit_remember}, {"__gc", edit_close},
		{NULL, NULL},
	};

	luaL_newmetatable(L, EDIT_TYPE);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	luaL_register(L, NULL, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
