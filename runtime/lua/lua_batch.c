/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_batch.h"

#include <errno.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "extract/json.h"
#include "lua/lua_vm.h"

#define TYPE "perilune.batch"
#define LAYOUTS "perilune.batch.layouts" /* registry: hash → the table that b:layout() gives */
#define MAX_JSON (512UL << 20)

struct lua_batch {
	struct batch batch;
	int anchor;
	bool closed;
};

static struct lua_batch *check(lua_State *L)
{
	struct lua_batch *self = luaL_checkudata(L, 1, TYPE);

	if (self->closed)
		luaL_error(L, "this batch is closed");
	return self;
}

struct batch *lua_batch__check(lua_State *L, int index)
{
	struct lua_batch *self = luaL_checkudata(L, index, TYPE);

	if (self->closed)
		luaL_error(L, "this batch is closed");
	return &self->batch;
}

/* A buffer that Lua frees should it run out of memory before we do. */
static struct buf *push_buf(lua_State *L, size_t ceiling)
{
	struct buf *buf = lua_newuserdata(L, sizeof(*buf));

	buf__init(buf, ceiling);
	luaL_getmetatable(L, TYPE ".buf");
	lua_setmetatable(L, -2);
	return buf;
}

static int buf_gc(lua_State *L)
{
	buf__free(lua_touserdata(L, 1));
	return 0;
}

static int push_text(lua_State *L, struct buf *buf)
{
	lua_pushlstring(L, buf->data ? buf->data : "", buf->len);
	buf__free(buf);
	return 1;
}

static int batch_pointer(lua_State *L)
{
	lua_pushlightuserdata(L, check(L)->batch.records);
	return 1;
}

static int batch_count(lua_State *L)
{
	lua_pushnumber(L, (lua_Number)check(L)->batch.count);
	return 1;
}

static int batch_stride(lua_State *L)
{
	lua_pushnumber(L, check(L)->batch.layout->stride);
	return 1;
}

static void set_number(lua_State *L, const char *key, uint32_t value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

static void push_dims(lua_State *L, const struct field *f)
{
	lua_createtable(L, (int)f->ndims, 0);
	for (uint32_t i = 0; i < f->ndims; i++) {
		lua_createtable(L, 0, 2);
		set_number(L, "count", f->dims[i].count);
		set_number(L, "stride", f->dims[i].stride);
		lua_rawseti(L, -2, (int)i + 1);
	}
	lua_setfield(L, -2, "dims");
}

static void push_field(lua_State *L, const struct layout *layout, size_t index)
{
	static const char *const kinds[] = {
		[FIELD_UINT] = "uint",	     [FIELD_INT] = "int",
		[FIELD_BE_UINT] = "be_uint", [FIELD_BOOL] = "bool",
		[FIELD_FLOAT] = "float",     [FIELD_ENUM] = "enum",
		[FIELD_POINTER] = "pointer", [FIELD_ADDRESS] = "address",
		[FIELD_IPV4] = "ipv4",	     [FIELD_PROTOCOL] = "protocol",
		[FIELD_FLAGS] = "flags",     [FIELD_IFINDEX] = "ifindex",
		[FIELD_TIME] = "time",	     [FIELD_TEXT] = "text",
		[FIELD_BYTES] = "bytes",
	};
	const struct field *f = &layout->fields[index];

	lua_createtable(L, 0, 12);
	lua_pushstring(L, f->name);
	lua_setfield(L, -2, "name");
	lua_pushstring(L, kinds[f->kind]);
	lua_setfield(L, -2, "kind");
	set_number(L, "offset", f->offset);
	set_number(L, "size", f->size);
	set_number(L, "count", f->count);
	set_number(L, "index", (uint32_t)index);
	lua_pushboolean(L, f->key);
	lua_setfield(L, -2, "key");
	lua_pushboolean(L, f->is_signed);
	lua_setfield(L, -2, "signed");
	if (f->bits) {
		set_number(L, "bit", f->bit);
		set_number(L, "bits", f->bits);
	}
	if (f->ndims)
		push_dims(L, f);
}

static int push_layout(lua_State *L, const struct layout *layout, const char *hash)
{
	lua_createtable(L, 0, 3);
	lua_pushstring(L, hash);
	lua_setfield(L, -2, "hash");
	set_number(L, "stride", layout->stride);
	lua_createtable(L, (int)layout->nfields, 0);
	for (size_t i = 0; i < layout->nfields; i++) {
		push_field(L, layout, i);
		lua_rawseti(L, -2, (int)i + 1);
	}
	lua_setfield(L, -2, "fields");
	return 1;
}

int lua_batch__push_layout(lua_State *L, const struct layout *layout)
{
	char hash[17];

	snprintf(hash, sizeof(hash), "%016" PRIx64, layout->hash);
	lua_getfield(L, LUA_REGISTRYINDEX, LAYOUTS);
	lua_getfield(L, -1, hash);
	if (!lua_isnil(L, -1))
		return 1;
	lua_pop(L, 1);
	push_layout(L, layout, hash);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, hash);
	return 1;
}

static int batch_layout(lua_State *L)
{
	return lua_batch__push_layout(L, check(L)->batch.layout);
}

/* The record numbers of the table at `index`, from 0, in memory that Lua collects. */
static uint32_t *push_indexes(lua_State *L, int index, size_t n, size_t records)
{
	uint32_t *indexes = lua_newuserdata(L, n * sizeof(*indexes) + 1);

	for (size_t i = 0; i < n; i++) {
		lua_Number number;

		lua_rawgeti(L, index, (int)i + 1);
		number = lua_tonumber(L, -1);
		lua_pop(L, 1);
		if (!(number >= 1 && number <= (lua_Number)records))
			luaL_error(L, "record %d of the list is none of the %d records", (int)i + 1,
				   (int)records);
		indexes[i] = (uint32_t)number - 1;
	}
	return indexes;
}

static int batch_json(lua_State *L)
{
	static const char *const form_names[] = {"row", "entry", "value", NULL};
	static const enum json_form forms[] = {JSON_ROW, JSON_ENTRY, JSON_VALUE};
	struct batch *batch = &check(L)->batch;
	enum json_form form = forms[luaL_checkoption(L, 4, "row", form_names)];
	bool listed = !lua_isnoneornil(L, 2);
	const uint32_t *indexes = NULL;
	size_t count = batch->count;
	struct buf *out;
	int err;

	if (listed) {
		luaL_checktype(L, 2, LUA_TTABLE);
		count = lua_objlen(L, 2);
	}
	if (!lua_isnoneornil(L, 3)) {
		lua_Number limit = luaL_checknumber(L, 3);

		luaL_argcheck(L, limit >= 0, 3, "a limit is not negative");
		if (limit < (lua_Number)count)
			count = (size_t)limit;
	}
	if (listed)
		indexes = push_indexes(L, 2, count, batch->count);
	out = push_buf(L, MAX_JSON);
	err = json__records(out, batch, form, indexes, count);
	return err ? lua_vm__fail_errno(L, err, "the records as JSON") : push_text(L, out);
}

static int batch_merge(lua_State *L)
{
	static const char *const how_names[] = {"fold", "newest", "absent", NULL};
	struct batch *batch = &check(L)->batch;
	const struct batch *other = lua_batch__check(L, 2);
	enum batch_merge how = (enum batch_merge)luaL_checkoption(L, 3, NULL, how_names);
	lua_Number most = luaL_checknumber(L, 4);
	size_t left_out = 0;
	int err;

	luaL_argcheck(L, most >= 0 && most < UINT32_MAX, 4, "how many is not a number");
	err = batch__merge(batch, other, how, (size_t)most, &left_out);
	if (err)
		return lua_vm__fail_errno(L, err, "the records of two reads");
	lua_pushnumber(L, (lua_Number)left_out);
	return 1;
}

static const struct field *check_field(lua_State *L, const struct layout *layout)
{
	lua_Number index = luaL_checknumber(L, 2);

	if (!(index >= 0 && index < (lua_Number)layout->nfields))
		luaL_error(L, "there is no field %f", index);
	return &layout->fields[(size_t)index];
}

/* Record number `index` on the stack, from 1. */
static const unsigned char *check_record(lua_State *L, const struct batch *batch, int index)
{
	lua_Number record = luaL_checknumber(L, index);

	luaL_argcheck(L, record >= 1 && record <= (lua_Number)batch->count, index,
		      "there is no such record");
	return batch->records + ((size_t)record - 1) * batch->layout->stride;
}

/* The bytes of a field as they may lie apart from a record: element after element. */
static int bytes_text(const struct field *f, const unsigned char *bytes, struct buf *out)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < f->count; i++) {
		if (i)
			err = buf__append(out, " ", 1);
		if (!err)
			err = layout__element_text(f, bytes + (size_t)i * f->size, out);
	}
	return err;
}

static int batch_text(lua_State *L)
{
	struct batch *batch = &check(L)->batch;
	const struct field *f = check_field(L, batch->layout);
	struct buf *out = push_buf(L, MAX_JSON);
	int err;

	if (lua_type(L, 3) == LUA_TSTRING) {
		size_t len;
		const char *bytes = lua_tolstring(L, 3, &len);

		luaL_argcheck(L, len == (size_t)f->size * f->count, 3,
			      "not the size of this field");
		err = bytes_text(f, (const unsigned char *)bytes, out);
	} else {
		err = layout__text(f, check_record(L, batch, 3), out);
	}
	return err ? lua_vm__fail_errno(L, err, f->name) : push_text(L, out);
}

static int batch_element_text(lua_State *L)
{
	struct batch *batch = &check(L)->batch;
	const struct field *f = check_field(L, batch->layout);
	const unsigned char *record = check_record(L, batch, 3);
	lua_Number element = luaL_checknumber(L, 4);
	struct buf *out = push_buf(L, MAX_JSON);
	int err;

	luaL_argcheck(L, element >= 0 && element < f->count, 4, "there is no such element");
	err = layout__element_text(f, record + layout__element(f, (uint32_t)element), out);
	return err ? lua_vm__fail_errno(L, err, f->name) : push_text(L, out);
}

static int batch_raw(lua_State *L)
{
	struct batch *batch = &check(L)->batch;
	const struct field *f = check_field(L, batch->layout);
	const char *text = luaL_checkstring(L, 3);
	unsigned char *bytes = lua_newuserdata(L, f->size);

	if (layout__parse(f, text, bytes))
		return 0;
	lua_pushlstring(L, (const char *)bytes, f->size);
	return 1;
}

static int batch_close(lua_State *L)
{
	struct lua_batch *self = luaL_checkudata(L, 1, TYPE);

	batch__free(&self->batch);
	luaL_unref(L, LUA_REGISTRYINDEX, self->anchor);
	self->anchor = LUA_NOREF;
	self->closed = true;
	return 0;
}

static int batch_tostring(lua_State *L)
{
	const struct lua_batch *self = luaL_checkudata(L, 1, TYPE);

	if (self->closed)
		lua_pushliteral(L, "batch (closed)");
	else
		lua_pushfstring(L, "batch (%d records)", (int)self->batch.count);
	return 1;
}

static void make_types(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"pointer", batch_pointer},
		{"count", batch_count},
		{"stride", batch_stride},
		{"layout", batch_layout},
		{"json", batch_json},
		{"merge", batch_merge},
		{"text", batch_text},
		{"element_text", batch_element_text},
		{"raw", batch_raw},
		{"close", batch_close},
		{"__gc", batch_close},
		{"__tostring", batch_tostring},
		{NULL, NULL},
	};

	if (luaL_newmetatable(L, TYPE)) {
		luaL_register(L, NULL, methods);
		lua_pushvalue(L, -1);
		lua_setfield(L, -2, "__index");
		lua_newtable(L);
		lua_setfield(L, LUA_REGISTRYINDEX, LAYOUTS);
	}
	if (luaL_newmetatable(L, TYPE ".buf")) {
		lua_pushcfunction(L, buf_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_pop(L, 2);
}

int lua_batch__push(lua_State *L, struct batch *batch, int anchor_index)
{
	struct lua_batch *self;

	if (anchor_index < 0 && anchor_index > LUA_REGISTRYINDEX)
		anchor_index = lua_gettop(L) + anchor_index + 1;
	make_types(L);
	self = lua_newuserdata(L, sizeof(*self));
	*self = (struct lua_batch){.anchor = LUA_NOREF};
	batch__init(&self->batch, batch->layout);
	luaL_getmetatable(L, TYPE);
	lua_setmetatable(L, -2);
	if (anchor_index) {
		lua_pushvalue(L, anchor_index);
		self->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
	}
	self->batch = *batch;
	batch__init(batch, batch->layout);
	return 1;
}

static int address_text(lua_State *L)
{
	size_t len;
	const char *octets = luaL_checklstring(L, 1, &len);
	char text[46];

	luaL_argcheck(L, len == 16, 1, "an address has 16 bytes");
	layout__address_text((const uint8_t *)octets, text);
	lua_pushstring(L, text);
	return 1;
}

int luaopen_perilune_core_batch(lua_State *L)
{
	static const luaL_Reg functions[] = {{"address_text", address_text}, {NULL, NULL}};

	make_types(L);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
