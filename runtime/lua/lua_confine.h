/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.confine: Lua in a child that can be killed (confine.h).
 *
 *	fork{ serve =, memory =, seconds =, files =, own = } → child | nil, message, code
 *	    forks; in the child, serve(message) → reply (texts) answers every message until the parent is done with it.
 *	    memory: bytes it may take beyond what the process has; seconds: of processor time in all its life; files: whether it
 *	    may open files to read them. With `own` (how
 *	    the sources of perilune's own Lua begin, "@/…/") the child runs without JIT, slower, and notes which line of
 *	    other code it is in.
 *	child:ask(message, seconds [, output]) → reply
 *	    | nil, text, "ECANCELED"      serve raised an error: its text and traceback; the child can be asked again
 *	    | nil, text, "ENOMEM"         it needed more memory
 *	    | nil, text, "ETIME", used    it did not answer in that time, of which the processor gave it `used` seconds
 *	    | nil, text, "ECHILD"         it died; the text says of what
 *	    output(text) is called for what the child says meanwhile. After all but ECANCELED the child is gone.
 *	child:post(message) → true: the same without waiting
 *	child:poll([output]) → the answer to it, as from ask | nil, text, "EAGAIN": not yet; when child:fd() is readable there may be one
 *	child:line() → file, line: where the child noted it was last, or nil
 *	child:close(): kills it if it is still there
 *	say(text): in a child, for the parent's output function
 *
 * A message is a text of 1 to MESSAGE bytes; what is longer is cut on its way to the parent, and an error on its way to the child.
 */
#ifndef PERILUNE_LUA_CONFINE_H
#define PERILUNE_LUA_CONFINE_H

#include <lua.h>

int luaopen_perilune_core_confine(lua_State *L);

#endif
