/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two halves of the harness: from a BPF object to a record and the compiler's view of it (harness.c), and from there through the
 * runtime's readers (decode.c).
 */
#ifndef PERILUNE_TESTS_LAYOUT_HARNESS_H
#define PERILUNE_TESTS_LAYOUT_HARNESS_H

#include <lua.h>

#include "extract/extract.h"

/* A Lua state with view.lua and fields.lua; NULL, having said why. */
lua_State *decode__open(const char *source);

/* Reads the entry of a map, with per-CPU values apart. `btf` describes it. On an error nothing is to be freed. */
int decode__read(const struct btf *btf, uint32_t key_type, uint32_t value_type, int map_fd,
		 struct layout **layout, struct batch *batch, struct error *error);

/* Prints the record as `J JSON`, and as `L …` lines what Lua sees. The batch is handed over to Lua, and empty then. */
int decode__print(lua_State *L, struct batch *batch);

#endif
