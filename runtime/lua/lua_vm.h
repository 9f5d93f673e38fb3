/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only creator of a lua_State, and the only guarded door into Lua.
 *
 * Everything that calls back into Lua from the loop goes through lua_vm__call(): an error becomes a traceback handed to
 * the VM's error handler, and the loop lives on.
 */
#ifndef PERILUNE_LUA_VM_H
#define PERILUNE_LUA_VM_H

#include <lauxlib.h>
#include <lua.h>

#include "base/error.h"
#include "loop/loop.h"

struct lua_vm;

/* Where Lua modules, templates and BPF headers are looked for. All borrowed for the time of the call. */
struct lua_vm_paths {
	const char *share;  /* holds lua/, templates/ and bpf/ */
	const char *prefix; /* searched before it, colon-separated, same structure; may be NULL */
};

int lua_vm__new(struct loop *loop, const struct lua_vm_paths *paths, struct lua_vm **out,
		struct error *error);
void lua_vm__free(struct lua_vm *vm);

lua_State *lua_vm__state(struct lua_vm *vm);
struct loop *lua_vm__loop(struct lua_vm *vm);

/* The VM that owns this state (any of its coroutines). */
struct lua_vm *lua_vm__from(lua_State *L);

/*
 * Calls the function below its `nargs` arguments on the stack, as lua_pcall does, with a traceback added to an error.
 * Returns 0, with the results pushed, or -ECANCELED, with nothing pushed: the error has then been passed to the error
 * handler (lua_vm__on_error), or written to standard error when there is none.
 */
int lua_vm__call(struct lua_vm *vm, int nargs, int nresults);

/*
 * Registers the Lua function at the top of the stack (popped) as error handler: handler(message_with_traceback). For Lua it is
 * perilune.core.vm.on_error(handler).
 */
void lua_vm__on_error(struct lua_vm *vm);

/* For bindings that fail: pushes nil, message (with the hint in brackets), errno name; returns 3. */
int lua_vm__fail(lua_State *L, int code, const struct error *error);
/* The same where there is nothing to say but the -errno `code`: "what: its text". */
int lua_vm__fail_errno(lua_State *L, int code, const char *what);

/* Makes a type of userdata with these methods, __gc and its like among them. Pushes nothing. */
void lua_vm__type(lua_State *L, const char *type, const luaL_Reg *methods);

/* Keeps the value at `index` as a callback, gives it back, lets it go. LUA_NOREF is allowed in the last two. */
int lua_vm__ref(lua_State *L, int index);
void lua_vm__push(lua_State *L, int ref);
void lua_vm__unref(lua_State *L, int *ref);

#endif
