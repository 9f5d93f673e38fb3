/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.child: other processes, for Lua.
 *
 *	start({ argv = { program, … }, output = function(fd, bytes), input =, handed = }, done)   → child | nil, message, code
 *			output: what it writes, as it comes, to its standard output (1) or standard error (2);
 *			done(status | nil, signal | nil): an exit status, or the name of the signal that ended it;
 *			input: a text that it can read, or true: its standard input stays open, for child:write; else that is empty;
 *			handed: at most 32 kB that it can read from /dev/fd/3 and that nobody else sees
 *	child:write(text)	→ true | nil, message, code: "EPIPE" when it has ended or closed its input, "ENOBUFS" when it does not read
 *	child:pause(), child:resume()	its outputs are not read any more, and read again
 *	child:pid()		→ its process id, or nil when it has ended
 *	child:signal(name)	"SIGTERM"; nothing when it has ended
 *	child:kill()		with what it started
 *	program()		→ path of the program that runs | nil, message, code
 *	follow(pid)		this process is killed when its parent `pid` ends, however that ends; false when it has already
 *
 * A child leads a session of its own and ends with the loop.
 */
#ifndef PERILUNE_LUA_CHILD_H
#define PERILUNE_LUA_CHILD_H

#include <lua.h>

int luaopen_perilune_core_child(lua_State *L);

#endif
