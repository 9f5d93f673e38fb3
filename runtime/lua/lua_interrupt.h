/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.interrupt: Lua code that a person typed and that Ctrl-C ends, even where it never ends by itself and the loop never
 * hears of the signal.
 *
 *	call(fn, …)	→ true, results | false, error; the error is the text "interrupted" after SIGINT
 *	plain(fn)	fn, from now on never compiled to machine code, in which nothing can interrupt it
 *
 * A second SIGINT while the first is without effect (in one long call of the C library) ends the process as SIGINT does.
 */
#ifndef PERILUNE_LUA_INTERRUPT_H
#define PERILUNE_LUA_INTERRUPT_H

#include <lua.h>

int luaopen_perilune_core_interrupt(lua_State *L);

#endif
