/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.links: interfaces as they come and go, for Lua.
 *
 *	open{ netns = name | path, changed = function(changes) }    → monitor | nil, message, code
 *			without netns: those of the process's own namespace. changes: a list of links, the oldest first; nil, message,
 *			code when some were lost or cannot be read: list() then says what there is
 *	monitor:list(done)	on a worker; done(links) | done(nil, message, code); no change is told meanwhile; "EBUSY" while one is under way
 *	monitor:valid(netns)	whether the name still stands for the namespace that was opened
 *	monitor:close()		also when collected
 *
 *	remember(index, name)	what records call the interface from now on
 *
 * A link: { index =, name =, gone = true | nil, state = text }; state differs when something has changed that may decide whether a
 * program can be attached.
 */
#ifndef PERILUNE_LUA_LINKS_H
#define PERILUNE_LUA_LINKS_H

#include <lua.h>

int luaopen_perilune_core_links(lua_State *L);

#endif
