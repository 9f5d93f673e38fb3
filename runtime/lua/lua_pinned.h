/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.pinned: a policy that goes on without its process (pinned.h), for Lua.
 *
 *	ROOT			where pins are
 *	open(policy)		→ pinned | nil, message, code; "EBUSY": another process has it
 *	look(policy)		→ { policy, version, file, pid, alive, seq, whole, digest } | nil, message, code
 *	list()			→ of these | nil, message, code
 *	digest(object, how)	→ of an object and of how its maps are read
 *	ask(policy)		its process to leave it to another → true | nil, message, code
 *	remove(policy)		of one that nobody has → true | nil, message, code
 *
 *	pinned:found()		whether there is something to adopt
 *	pinned:adopt(probe, digest)	instead of loading it → true | nil, message, code
 *	pinned:begin(probe, digest, { version =, file = })	after loading it → true | nil, message, code
 *	pinned:succeed(probe, digest, { version =, file =, seq = }, sums)	another declaration's probe is the policy's from now on; then its
 *				programs take the links
 *	pinned:undo()		they could not
 *	pinned:settled()	all that was counted before is told
 *	pinned:rest(probe, map, position)	after adopt, of a probe whose account is "inherited": { seq, wall, mono, totals = batch } of the window
 *				of the policy before | nil, message, code
 *	pinned:remove()		the end: what is pinned goes
 *	pinned:leave()		it stays, for another process
 */
#ifndef PERILUNE_LUA_PINNED_H
#define PERILUNE_LUA_PINNED_H

#include <lua.h>

int luaopen_perilune_core_pinned(lua_State *L);

#endif
