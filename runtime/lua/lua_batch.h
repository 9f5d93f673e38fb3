/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch of records as Lua sees it: the userdata behind the views of lua/perilune/records/view.lua.
 *
 * b:pointer()  address of the first record, for ffi.cast; valid until b:close() or collection
 * b:count() b:stride()
 * b:layout()   { hash="16 hex digits", stride=, fields={ {name=, kind=, offset=, size=, count=, key=, signed=, index=,
 *              bit=, bits=, dims={{count=, stride=}, …}}, … } }: one table per layout, not to be changed. As struct field in
 *              layout.h; kind is "uint" "int" "be_uint" "bool" "float" "enum" "pointer" "address" "ipv4" "protocol" "flags"
 *              "ifindex" "time" "text" or "bytes"; index counts from 0; bit and bits only for bitfields, dims (outermost first)
 *              only for arrays
 * b:json([indexes[, limit[, form]]])  JSON text `[{…},…]` of the records with these numbers (from 1), or of
 *              all, at most `limit` of them | nil, message, code; form: "row", "entry" or "value", see json.h
 * b:merge(other, how, most)   the records of `other`, of the same layout, go into this one, of at most so many; of a key that both have,
 *              the value is "fold": folded as the layout says, "newest": the other's, "absent": what it was; → how many found no room |
 *              nil, message, code
 * b:text(index, raw | i)      text of field `index` (from 0): of its raw bytes, or of record i (from 1)
 * b:element_text(index, i, e) text of element e (from 0) of an array of record i
 * b:raw(index, text)          the other way, for addresses, bytes, text and names of enums: raw bytes,
 *              or nil when it is no such value
 * b:close()    frees the records; any later use but close is an error
 */
#ifndef PERILUNE_LUA_BATCH_H
#define PERILUNE_LUA_BATCH_H

#include <lua.h>

#include "extract/extract.h"

/*
 * Pushes a userdata that takes over the records of `batch`, which is left empty. The value at
 * `anchor_index` (0: none) is kept alive with it: give what owns the layout and its BTF. Returns 1.
 * A Lua memory error leaves `batch` as it was.
 */
int lua_batch__push(lua_State *L, struct batch *batch, int anchor_index);

/* The batch at `index`, or a Lua error. Valid as long as the value is and is not closed. */
struct batch *lua_batch__check(lua_State *L, int index);

/* Pushes the table that b:layout() gives of a layout. Returns 1. perilune.core.batch must have been loaded. */
int lua_batch__push_layout(lua_State *L, const struct layout *layout);

/* perilune.core.batch: { address_text = function(16 bytes) → text }. */
int luaopen_perilune_core_batch(lua_State *L);

#endif
