/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.bench.program(object) → p | nil, message, code: a BPF object's program, to be measured.
 *
 * - p:cost() → { instructions =, verified =, states =, map_bytes = }
 * - p:run(frame, repeat) → ns for one | nil, message, code
 * - p:close()
 */
#ifndef PERILUNE_LUA_BENCH_PROG_H
#define PERILUNE_LUA_BENCH_PROG_H

#include <lua.h>

/* Makes the type, and sets the function in the table at the top of the stack. */
void lua_bench_prog__add(lua_State *L);

#endif
