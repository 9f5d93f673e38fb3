/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.edit: lines that a person types, while the loop goes on.
 *
 *	new{ line = function(text | nil), complete = function(text before the cursor), history = path | nil } → e
 *	e:tty()			whether lines are edited on a terminal, and not just read
 *	e:prompt(text)		asks for a line; one call of `line` follows, with nil at the end of the input
 *	e:discard()		gives up what has been typed
 *	e:above(text)		whole lines above the one that is being typed
 *	e:insert(text)		at the cursor, from within `complete`
 *	e:resize()		the terminal has another size
 *	e:remember(line)	puts it into the history
 *	e:close()		gives the terminal back; also when collected
 *
 * On failure nil, message, code. `line` and `complete` come on the loop.
 */
#ifndef PERILUNE_LUA_EDIT_H
#define PERILUNE_LUA_EDIT_H

#include <lua.h>

int luaopen_perilune_core_edit(lua_State *L);

#endif
