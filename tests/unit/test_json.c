/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <linux/types.h>

#include "base/interface.h"
#include "btf.h"
#include "extract/json.h"
#include "records.h"

static struct btf *btf;

static int setup(void **state)
{
	(void)state;
	btf = test_btf();
	return btf ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	btf__free(btf);
	return 0;
}

static void check_string(const char *text, size_t len, const char *expected)
{
	struct buf out;

	buf__init(&out, 1 << 20);
	assert_int_equal(json__string(&out, text, len), 0);
	assert_string_equal(out.data, expected);
	assert_int_equal(out.len, strlen(expected));
	buf__free(&out);
}

#define CHECK(text, expected) check_string(text, sizeof(text) - 1, expected)

static void escapes_strings(void **state)
{
	(void)state;
	CHECK("", "\"\"");
	CHECK("plain", "\"plain\"");
	CHECK("\"\\/\b\f\n\r\t", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
	CHECK("\0\1\x1f\x7f", "\"\\u0000\\u0001\\u001f\\u007f\"");
	CHECK("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x99",
	      "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8c\x99\"");
	CHECK("\xff", "\"\xef\xbf\xbd\"");
	CHECK("a\xc3", "\"a\xef\xbf\xbd\"");		   /* cut short */
	CHECK("\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""); /* overlong */
	CHECK("\xe0\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	CHECK("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* a surrogate */
	CHECK("\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	CHECK("\xe2\x82z", "\"\xef\xbf\xbd\xef\xbf\xbdz\"");
}

static struct layout *flows(void)
{
	struct layout *layout = NULL;

	assert_int_equal(test_layout(btf, test_type(btf, "test_key", BTF_KIND_STRUCT),
				     sizeof(struct test_key),
				     test_type(btf, "test_value", BTF_KIND_STRUCT),
				     sizeof(struct test_value), &layout, NULL),
			 0);
	return layout;
}

static void fill(const struct layout *layout, unsigned char *record)
{
	struct test_key key = {.src = {{[10] = 255, 255, 10, 0, 0, 1}},
			       .dport = 0x5000,
			       .proto = 6,
			       .ip_version = 4};
	struct test_value value = {.packets = UINT64_MAX,
				   .bytes = 9007199254740993ULL,
				   .drift = INT64_MIN,
				   .first = 1709210096123456789,
				   .seen = true,
				   .small = -1,
				   .state = STATE_OPEN,
				   .error = (enum error_code) - 8,
				   .wide = (enum wide)0xf000000000000001ULL,
				   .comm = "a\"b\xff",
				   .mac = {2, 0, 0x5e},
				   .sizes = {1, 0, UINT32_MAX},
				   .names = {"x", "wxyz"},
				   .at = {7, -9},
				   .either = {.word = 0x0100000a},
				   .low = 5,
				   .middle = 8191,
				   .high = 1,
				   .where = (const void *)0xffff888000000000,
				   .many = {[1] = {3, -4}},
				   .big = (__int128)((unsigned __int128)1 << 127)};

	memset(record, 0, layout->stride);
	memcpy(record, &key, sizeof(key));
	memcpy(record + layout->value_offset, &value, sizeof(value));
}

static void writes_every_kind_exactly(void **state)
{
	static const char *const parts[] = {
		"{\"src\":\"10.0.0.1\",\"dst\":\"::\",\"sport\":0,\"dport\":80,\"proto\":\"tcp\",\"ip_version\":4,",
		"\"packets\":18446744073709551615,\"bytes\":9007199254740993,\"drift\":-9223372036854775808,",
		"\"first\":\"2024-02-29T12:34:56.123456789Z\",\"last\":\"1970-01-01T00:00:00.000000000Z\",",
		"\"seen\":true,\"small\":-1,\"count\":0,\"state\":\"STATE_OPEN\",\"error\":-8,",
		"\"wide\":17293822569102704641,\"comm\":\"a\\\"b\xef\xbf\xbd\",\"mac\":\"02:00:5e:00:00:00\",",
		"\"sizes\":[1,0,4294967295],\"grid\":[[0,0],[0,0]],\"ports\":[0,0],\"names\":[\"x\",\"wxyz\"],",
		"\"hops\":[\"::\",\"::\"],\"at\":{\"x\":7,\"y\":-9},\"inlined\":0,\"deeper\":0,",
		"\"either\":{\"word\":16777226,\"octets\":\"0a:00:00:01\"},\"half\":0,\"low\":5,\"middle\":8191,\"high\":1,",
		"\"where\":\"0xffff888000000000\",\"many\":[{\"x\":0,\"y\":0},{\"x\":3,\"y\":-4}],",
		"\"big\":-170141183460469231731687303715884105728,\"_hidden\":0,",
		"\"tail\":0}",
	};
	struct layout *layout = flows();
	unsigned char record[512];
	struct buf out;

	(void)state;
	assert_true(layout->stride <= sizeof(record));
	fill(layout, record);
	buf__init(&out, 1 << 20);
	assert_int_equal(json__record(&out, layout, JSON_ROW, record), 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!strstr(out.data, parts[i]))
			fail_msg("%s\nis not in\n%s", parts[i], out.data);
	buf__free(&out);
	layout__free(layout);
}

static void writes_lists(void **state)
{
	static const uint32_t chosen[] = {2, 0}, wrong[] = {0, 3};
	uint32_t u32 = test_type(btf, "__u32", BTF_KIND_TYPEDEF);
	struct {
		uint64_t key, value;
	} records[] = {{1, 10}, {2, 20}, {3, 30}};
	struct layout *layout;
	struct batch batch;
	struct buf out;

	(void)state;
	assert_int_equal(test_layout(btf, u32, 4, u32, 4, &layout, NULL), 0);
	batch__init(&batch, layout);
	buf__init(&out, 1 << 10);
	assert_int_equal(json__records(&out, &batch, JSON_ROW, NULL, 5), 0);
	assert_string_equal(out.data, "[]");
	batch.records = (unsigned char *)records;
	batch.count = 3;
	buf__clear(&out);
	assert_int_equal(json__records(&out, &batch, JSON_ROW, NULL, 2), 0);
	assert_string_equal(out.data, "[{\"key\":1,\"value\":10},{\"key\":2,\"value\":20}]");
	buf__clear(&out);
	assert_int_equal(json__records(&out, &batch, JSON_ROW, chosen, 2), 0);
	assert_string_equal(out.data, "[{\"key\":3,\"value\":30},{\"key\":1,\"value\":10}]");
	buf__clear(&out);
	buf__puts(&out, "before");
	assert_int_equal(json__records(&out, &batch, JSON_ROW, wrong, 2), -ERANGE);
	assert_string_equal(out.data, "before");
	buf__free(&out);
	buf__init(&out, 190); /* what does not fit is not begun */
	buf__puts(&out, "before");
	assert_int_equal(json__records(&out, &batch, JSON_ROW, NULL, 3), -EMSGSIZE);
	assert_string_equal(out.data, "before");
	buf__free(&out);
	layout__free(layout);
}

/* Whoever names an interface may use any octets but a few: a record has room for the name when each takes six. */
static void has_room_for_any_name(void **state)
{
	static const char name[] = "\1\2\3\4\5\6\7\x10\x11\x12\x13\x14\x15\x16\x17";
	enum { FIELDS = 6 };
	const uint32_t record[2 + FIELDS] = {1, 0, 77, 77, 77, 77, 77, 77};
	struct btf *own = btf__new_empty();
	int u32 = btf__add_int(own, "u32", 4, 0), index, id;
	struct layout *layout;
	struct buf out;

	(void)state;
	index = btf__add_typedef(own, "if_index", u32);
	id = btf__add_struct(own, "crossings", 4 * FIELDS);
	for (uint32_t i = 0; i < FIELDS; i++)
		btf__add_field(own, (char[]){'a', (char)('0' + i), '\0'}, index, i * 32, 0);
	assert_int_equal(test_layout(own, 0, 4, (uint32_t)id, 4 * FIELDS, &layout, NULL), 0);
	interface__remember(77, name);
	buf__init(&out, 1 << 20);
	assert_int_equal(json__record(&out, layout, JSON_VALUE, (const unsigned char *)record), 0);
	assert_true(out.len < out.cap);
	assert_non_null(strstr(out.data, "\"a5\":\"\\u0001\\u0002"));
	buf__free(&out);
	interface__remember(77, "");
	layout__free(layout);
	btf__free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_strings),
		cmocka_unit_test(writes_every_kind_exactly),
		cmocka_unit_test(writes_lists),
		cmocka_unit_test(has_room_for_any_name),
	};

	return cmocka_run_group_tests_name("json", tests, setup, teardown);
}
