/* SPDX-License-Identifier: Apache-2.0 */
/* From records in memory to Lua's views: the C binding together with view.lua and shape.lua. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/types.h>

#include "btf.h"
#include "lua/lua_batch.h"
#include "records.h"

#define RECORDS 3000

static struct btf *btf;
static struct layout *layout;

static int group_setup(void **state)
{
	(void)state;
	btf = test_btf();
	if (!btf)
		return -1;
	return test_layout(btf, test_type(btf, "test_key", BTF_KIND_STRUCT),
			   sizeof(struct test_key), test_type(btf, "test_value", BTF_KIND_STRUCT),
			   sizeof(struct test_value), &layout, NULL);
}

static int group_teardown(void **state)
{
	(void)state;
	layout__free(layout);
	btf__free(btf);
	return 0;
}

/* Record i, from 0: source 10.0.<i / 100>.<i % 100>, destination 2001:db8::<i % 10>. */
static void fill(struct batch *batch)
{
	batch__init(batch, layout);
	batch->records = calloc(RECORDS, layout->stride);
	assert_non_null(batch->records);
	batch->count = batch->capacity = RECORDS;
	for (uint32_t i = 0; i < RECORDS; i++) {
		unsigned char *record = batch->records + (size_t)i * layout->stride;
		struct test_key key = {
			.src = {{[10] = 255, 255, 10, 0, (uint8_t)(i / 100), (uint8_t)(i % 100)}},
			.dst = {{0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)(i % 10)}},
			.dport = i % 2 ? 0x3500 : 0x5000,
			.proto = i % 2 ? 17 : 6,
		};
		struct test_value value = {
			.packets = i,
			.bytes = i ? 1000ULL * i : (1ULL << 53) + 1,
			.drift = -(int64_t)i,
			.first = 1500000000ULL * (i + 1),
			.seen = i == 7,
			.state = i % 3 ? STATE_OPEN : STATE_SHUT,
			.error = i == 5 ? ERROR_LOST : (enum error_code)(-(int)i),
			.comm = "curl",
			.mac = {2, [5] = (uint8_t)i},
			.net = 0x0100000a,
			.id = 0x0100000000000000ULL,
			.sizes = {i, i + 1, i + 2},
			.at = {i, (int16_t)-(int)i},
		};

		memcpy(record, &key, sizeof(key));
		memcpy(record + layout->value_offset, &value, sizeof(value));
	}
}

static int setup(void **state)
{
	const char *source = getenv("PERILUNE_SOURCE");
	lua_State *L = luaL_newstate();

	luaL_openlibs(L);
	lua_pushstring(L, source ? source : ".");
	lua_setglobal(L, "source");
	if (luaL_dostring(
		    L,
		    "package.path = source .. '/lua/?.lua'\n"
		    "function fails(expected, fn, ...)\n"
		    "  local ok, message = pcall(fn, ...)\n"
		    "  if ok or not tostring(message):find(expected, 1, true) then error(tostring(message), 2) end\n"
		    "end\n"
		    "function same(a, b) if a ~= b then error(tostring(a) .. ' is not ' .. tostring(b), 2) end end"))
		return -1;
	lua_pushcfunction(L, luaopen_perilune_core_batch);
	lua_call(L, 0, 1);
	lua_setglobal(L, "core");
	*state = L;
	return 0;
}

static int teardown(void **state)
{
	lua_close(*state);
	return 0;
}

/* Runs a chunk with a full batch as global b. */
static void run(lua_State *L, const char *chunk)
{
	struct batch batch;

	fill(&batch);
	lua_pushliteral(L, "the owner");
	lua_batch__push(L, &batch, -1);
	assert_null(batch.records);
	assert_int_equal(batch.count, 0);
	lua_setglobal(L, "b");
	lua_pop(L, 1);
	if (luaL_dostring(L, chunk))
		fail_msg("%s", lua_tostring(L, -1));
	assert_int_equal(lua_gettop(L), 0);
}

static void describes_itself(void **state)
{
	run(*state,
	    "same(b:count(), 3000)\n"
	    "local about = b:layout()\n"
	    "same(#about.hash, 16) same(about.stride, b:stride()) same(about, b:layout())\n"
	    "same(about.fields[1].name, 'src') same(about.fields[1].kind, 'address') same(about.fields[1].key, true)\n"
	    "local by = {} for i, f in ipairs(about.fields) do by[f.name] = f same(f.index, i - 1) end\n"
	    "same(by.sizes.count, 3) same(by.sizes.size, 4) same(by.packets.key, false)\n"
	    "same(by.error.signed, true) same(by.state.signed, false) same(by.comm.kind, 'text')\n"
	    "same(tostring(b), 'batch (3000 records)')");
}

static void gives_text_and_raw_bytes(void **state)
{
	run(*state,
	    "local by = {} for _, f in ipairs(b:layout().fields) do by[f.name] = f.index end\n"
	    "same(b:text(by.src, 102), '10.0.1.1') same(b:text(by.dst, 4), '2001:db8::3')\n"
	    "same(b:text(by.state, 1), 'STATE_SHUT') same(b:text(by.error, 6), 'ERROR_LOST') same(b:text(by.error, 3), '-2')\n"
	    "same(b:text(by.first, 1), '1970-01-01T00:00:01.500000000Z') same(b:text(by.mac, 2), '02:00:00:00:00:01')\n"
	    "same(b:text(by.src, ('\\0'):rep(10) .. '\\255\\255\\192\\0\\2\\1'), '192.0.2.1')\n"
	    "same(b:raw(by.src, '192.0.2.1'), ('\\0'):rep(10) .. '\\255\\255\\192\\0\\2\\1') same(b:raw(by.src, 'x'), nil)\n"
	    "same(b:raw(by.state, 'STATE_OPEN'), '\\1\\0\\0\\0')\n"
	    "same(core.address_text(('\\0'):rep(15) .. '\\1'), '::1')\n"
	    "fails('16 bytes', core.address_text, 'x') fails('not the size', b.text, b, by.src, 'x')\n"
	    "fails('no such record', b.text, b, by.src, 0) fails('no such record', b.text, b, by.src, 3001)\n"
	    "fails('no field', b.text, b, 99, 1) fails('no field', b.text, b, -1, 1)");
}

static void writes_json(void **state)
{
	run(*state,
	    "local one = b:json({ 2 })\n"
	    "assert(one:find('^%[{\"src\":\"10.0.0.1\",\"dst\":\"2001:db8::1\",') and one:find('}]$'), one)\n"
	    "assert(b:json({ 1 }):find('\"bytes\":9007199254740993,', 1, true))\n"
	    "local _, rows = b:json():gsub('\"src\"', '') same(rows, 3000)\n"
	    "_, rows = b:json(nil, 10):gsub('\"src\"', '') same(rows, 10)\n"
	    "_, rows = b:json({ 5, 4, 3 }, 2):gsub('\"src\"', '') same(rows, 2)\n"
	    "same(b:json({}), '[]') same(b:json(nil, 0), '[]')\n"
	    "fails('none of the 3000', b.json, b, { 0 }) fails('none of the 3000', b.json, b, { 3001 })\n"
	    "fails('none of the 3000', b.json, b, { 'x' }) fails('not negative', b.json, b, nil, -1)");
}

static void is_gone_after_close(void **state)
{
	run(*state,
	    "b:close() b:close()\n"
	    "for _, method in ipairs { 'pointer', 'count', 'stride', 'layout', 'json', 'text', 'raw' } do\n"
	    "  fails('this batch is closed', b[method], b, 1, 'x')\n"
	    "end\n"
	    "same(tostring(b), 'batch (closed)') fails('perilune.batch expected', b.count, {})\n"
	    "b = nil collectgarbage() collectgarbage()");
}

static void keeps_its_owner_alive(void **state)
{
	lua_State *L = *state;
	struct batch batch;

	fill(&batch);
	lua_newtable(L);
	lua_batch__push(L, &batch, 1);
	lua_setglobal(L, "b");
	lua_setglobal(L, "owner");
	if (luaL_dostring(L, "local weak = setmetatable({ owner }, { __mode = 'v' }) owner = nil\n"
			     "collectgarbage() collectgarbage() assert(weak[1])\n"
			     "b:close() collectgarbage() collectgarbage() assert(not weak[1])"))
		fail_msg("%s", lua_tostring(L, -1));
}

static void feeds_views_and_shapes(void **state)
{
	run(*state,
	    "local view, shape = require 'perilune.records.view', require 'perilune.records.shape'\n"
	    "local v = view.new(b, { window = 4 })\n"
	    "local row = v[102]\n"
	    "same(row.src, '10.0.1.1') same(row.dst, '2001:db8::1') same(row.dport, 53) same(row.packets, 101)\n"
	    "same(row.drift, -101) same(row.first, 153) same(row.state, 'STATE_OPEN') same(row.error, -101)\n"
	    "same(row.mac, '02:00:00:00:00:65') same(row.net, 0x0a000001) same(row.id, 1) same(row.sizes[3], 103)\n"
	    "same(row['at.y'], -101) same(v[8].seen, true) same(row.seen, false) same(row.comm, 'curl') same(row.wide, 0)\n"
	    "same(row['either.octets'], '00:00:00:00') same(v[6].error, 'ERROR_LOST')\n"
	    "fails('\"bytes\" is beyond 2^53', function() return v[1].bytes end)\n"
	    "same(shape.total(v, 'packets'), 3000 * 2999 / 2) same(v:min 'drift', -2999) same(v:max 'at.x', 2999)\n"
	    "same(v:where { dst = '2001:db8::3' }:count(), 300) same(v:where { comm = 'curl' }:count(), 3000)\n"
	    "same(v:where { mac = '02:00:00:00:00:07' }:count(), 12) same(v:where { src = '10.0.29.99' }[1].packets, 2999)\n"
	    "same(v:where \"state == 'STATE_SHUT' and dport == 80 and id == 1\":count(), 500)\n"
	    "same(v:where { error = 'ERROR_LOST' }:count(), 2) same(v:where 'at.x > 2990 and error ~= 5':count(), 9)\n"
	    "same(v:top(2, 'packets')[2].packets, 2998) same(v:sort('drift')[1].packets, 2999)\n"
	    "local groups, n = shape.groups(v, 'dst', { 'packets' }) same(n, 10)\n"
	    "local raw = shape.raw(v, 'dst', '2001:db8::1') same(groups[raw].n, 300) same(shape.text(v, 'dst', raw), '2001:db8::1')\n"
	    "same(groups[raw].packets, 300 * 1 + 10 * 299 * 300 / 2)\n"
	    "local by = v:group({ 'proto', 'state' }, { n = shape.count(), p = shape.sum 'packets' })\n"
	    "same(by:count(), 4) same(by:sum 'n', 3000) same(by:sum 'p', shape.total(v, 'packets'))\n"
	    "local top = v:top(3, 'packets'):json(2) assert(top:find('\"packets\":2999,.*\"packets\":2998,'), top)\n"
	    "v:close() fails('window 4, which is closed', function() return row.packets end) fails('closed', b.count, b)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(describes_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(gives_text_and_raw_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_json, setup, teardown),
		cmocka_unit_test_setup_teardown(is_gone_after_close, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_its_owner_alive, setup, teardown),
		cmocka_unit_test_setup_teardown(feeds_views_and_shapes, setup, teardown),
	};

	return cmocka_run_group_tests_name("lua_batch", tests, group_setup, group_teardown);
}
