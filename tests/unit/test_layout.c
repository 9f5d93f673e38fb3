/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
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
#include "extract/layout.h"
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

static struct layout *records(void)
{
	struct error error = {0};
	struct layout *layout = NULL;
	int err = test_layout(btf, test_type(btf, "test_key", BTF_KIND_STRUCT),
			      sizeof(struct test_key),
			      test_type(btf, "test_value", BTF_KIND_STRUCT),
			      sizeof(struct test_value), &layout, &error);

	if (err)
		fail_msg("%d: %s", err, error.message);
	return layout;
}

#define KEY(member) offsetof(struct test_key, member)
#define VALUE(member) (offsetof(struct test_value, member) + 40)

static void describes_every_field(void **state)
{
	static const struct {
		const char *name;
		enum field_kind kind;
		size_t offset, size, count;
	} expected[] = {
		{"src", FIELD_ADDRESS, KEY(src), 16, 1},
		{"dst", FIELD_ADDRESS, KEY(dst), 16, 1},
		{"sport", FIELD_BE_UINT, KEY(sport), 2, 1},
		{"dport", FIELD_BE_UINT, KEY(dport), 2, 1},
		{"proto", FIELD_PROTOCOL, KEY(proto), 1, 1},
		{"ip_version", FIELD_UINT, KEY(ip_version), 1, 1},
		{"packets", FIELD_UINT, VALUE(packets), 8, 1},
		{"bytes", FIELD_UINT, VALUE(bytes), 8, 1},
		{"drift", FIELD_INT, VALUE(drift), 8, 1},
		{"first", FIELD_TIME, VALUE(first), 8, 1},
		{"last", FIELD_TIME, VALUE(last), 8, 1},
		{"seen", FIELD_BOOL, VALUE(seen), 1, 1},
		{"small", FIELD_INT, VALUE(small), 1, 1},
		{"count", FIELD_UINT, VALUE(count), 2, 1},
		{"state", FIELD_ENUM, VALUE(state), 4, 1},
		{"error", FIELD_ENUM, VALUE(error), 4, 1},
		{"wide", FIELD_ENUM, VALUE(wide), 8, 1},
		{"comm", FIELD_TEXT, VALUE(comm), 16, 1},
		{"mac", FIELD_BYTES, VALUE(mac), 6, 1},
		{"net", FIELD_BE_UINT, VALUE(net), 4, 1},
		{"id", FIELD_BE_UINT, VALUE(id), 8, 1},
		{"sizes", FIELD_UINT, VALUE(sizes), 4, 3},
		{"grid", FIELD_UINT, VALUE(grid), 8, 4},
		{"ports", FIELD_BE_UINT, VALUE(ports), 2, 2},
		{"names", FIELD_TEXT, VALUE(names), 4, 2},
		{"hops", FIELD_ADDRESS, VALUE(hops), 16, 2},
		{"at.x", FIELD_UINT, VALUE(at.x), 4, 1},
		{"at.y", FIELD_INT, VALUE(at.y), 2, 1},
		{"inlined", FIELD_UINT, VALUE(inlined), 4, 1},
		{"deeper", FIELD_UINT, VALUE(deeper), 4, 1},
		{"either.word", FIELD_UINT, VALUE(either), 4, 1},
		{"either.octets", FIELD_BYTES, VALUE(either), 4, 1},
		{"half", FIELD_UINT, VALUE(half), 2, 1}, /* of an anonymous union */
		{"low", FIELD_UINT, VALUE(half) + 2, 1, 1},
		{"middle", FIELD_UINT, VALUE(half) + 2, 2, 1},
		{"high", FIELD_UINT, VALUE(half) + 4, 2, 1},
		{"where", FIELD_POINTER, VALUE(where), 8, 1},
		{"many.x", FIELD_UINT, VALUE(many), 4, 2},
		{"many.y", FIELD_INT, VALUE(many) + 4, 2, 2},
		{"big", FIELD_INT, VALUE(big), 16, 1},
		{"_hidden", FIELD_UINT, VALUE(_hidden), 8, 1},
		{"tail", FIELD_UINT, VALUE(tail), 1, 1},
	};
	struct layout *layout = records();

	(void)state;
	assert_int_equal(layout->value_offset, 40);
	assert_int_equal(layout->stride, 40 + (sizeof(struct test_value) + 7) / 8 * 8);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		const struct field *f = &layout->fields[i];

		assert_true(i < layout->nfields);
		assert_string_equal(f->name, expected[i].name);
		if (f->kind != expected[i].kind || f->offset != expected[i].offset ||
		    f->size != expected[i].size || f->count != expected[i].count ||
		    f->key != (i < 6))
			fail_msg("%s: kind %d, offset %u, size %u, count %u, key %d", f->name,
				 (int)f->kind, f->offset, f->size, f->count, f->key);
	}
	assert_int_equal(layout->nfields, sizeof(expected) / sizeof(expected[0]));
	assert_ptr_equal(layout__field(layout, "at.y"), &layout->fields[27]);
	assert_null(layout__field(layout, "at"));
	layout__free(layout);
}

static void describes_arrays_bits_and_unions(void **state)
{
	struct layout *layout = records();
	const struct field *f = layout__field(layout, "grid");

	(void)state;
	assert_int_equal(f->ndims, 2);
	assert_int_equal(f->dims[0].count, 2);
	assert_int_equal(f->dims[0].stride, 16);
	assert_int_equal(f->dims[1].stride, 8);
	assert_int_equal(f->dims[1].level, 1);
	assert_int_equal(layout__element(f, 3), f->offset + 24);
	f = layout__field(layout, "many.y");
	assert_int_equal(f->ndims, 1);
	assert_int_equal(f->dims[0].stride, sizeof(struct point));
	assert_int_equal(f->dims[0].level, 1);
	assert_int_equal(layout__element(f, 1), f->offset + sizeof(struct point));
	f = layout__field(layout, "middle");
	assert_int_equal(f->bit, 3);
	assert_int_equal(f->bits, 13);
	f = layout__field(layout, "high");
	assert_int_equal(f->bits, 16);
	assert_false(layout__field(layout, "either.word")->alias);
	assert_true(layout__field(layout, "either.octets")->alias);
	assert_true(layout__field(layout, "big")->is_signed);
	layout__free(layout);
}

static void knows_the_names_of_enums(void **state)
{
	struct layout *layout = records();
	const struct field *f = layout__field(layout, "state");
	int64_t value;
	size_t len;

	(void)state;
	assert_false(f->is_signed);
	assert_string_equal(layout__enum_name(f, 2, NULL), "STATE_SHUT");
	assert_string_equal(layout__enum_name(f, 0xffffffff, NULL), "STATE_FAR");
	assert_null(layout__enum_name(f, 3, NULL));
	f = layout__field(layout, "error");
	assert_true(f->is_signed);
	assert_string_equal(layout__enum_name(f, -7, NULL), "ERROR_LOST");
	assert_int_equal(layout__enum_value(f, "ERROR_LOST", &value), 0);
	assert_int_equal(value, -7);
	assert_int_equal(layout__enum_value(f, "ERROR_FOUND", &value), -ENOENT);
	f = layout__field(layout, "wide");
	assert_string_equal(layout__enum_name(f, (int64_t)0xf000000000000000ULL, &len),
			    "WIDE_HUGE");
	assert_int_equal(len, 9);
	assert_null(layout__enum_name(layout__field(layout, "packets"), 1, NULL));
	layout__free(layout);
}

static void has_equal_hashes_for_equal_layouts(void **state)
{
	struct layout *one = records(), *two = records(), *other = NULL;

	(void)state;
	assert_true(one->hash == two->hash);
	assert_int_equal(test_layout(btf, test_type(btf, "test_key", BTF_KIND_STRUCT),
				     sizeof(struct test_key),
				     test_type(btf, "point", BTF_KIND_STRUCT), sizeof(struct point),
				     &other, NULL),
			 0);
	assert_false(one->hash == other->hash);
	layout__free(one);
	layout__free(two);
	layout__free(other);
}

static void takes_plain_keys_and_values(void **state)
{
	struct layout *layout;
	uint32_t u32 = test_type(btf, "__u32", BTF_KIND_TYPEDEF),
		 address = test_type(btf, "ip_addr", BTF_KIND_STRUCT);

	(void)state;
	assert_int_equal(test_layout(btf, 0, 4, u32, 4, &layout, NULL), 0);
	assert_int_equal(layout->nfields, 2);
	assert_string_equal(layout->fields[0].name, "index");
	assert_int_equal(layout->fields[0].kind, FIELD_UINT);
	assert_string_equal(layout->fields[1].name, "value");
	assert_int_equal(layout->fields[1].offset, 8);
	assert_int_equal(layout->stride, 16);
	layout__free(layout);

	assert_int_equal(test_layout(btf, address, 16, 0, 5, &layout, NULL), 0);
	assert_string_equal(layout->fields[0].name, "key");
	assert_int_equal(layout->fields[0].kind, FIELD_ADDRESS);
	assert_int_equal(layout->fields[1].kind, FIELD_BYTES);
	assert_int_equal(layout->stride, 24);
	layout__free(layout);

	assert_int_equal(test_layout(NULL, 0, 4, 0, 8, &layout, NULL), 0);
	layout__free(layout);
}

static void tells_equal_names_apart(void **state)
{
	uint32_t id = test_type(btf, "same_names", BTF_KIND_STRUCT);
	struct layout *layout;

	(void)state;
	assert_int_equal(test_layout(btf, id, 2, id, 2, &layout, NULL), 0);
	assert_string_equal(layout->fields[0].name, "proto");
	assert_string_equal(layout->fields[2].name, "value.proto");
	assert_string_equal(layout->fields[3].name, "value.other");
	layout__free(layout);
}

static void refuses_wrong_sizes(void **state)
{
	uint32_t u32 = test_type(btf, "__u32", BTF_KIND_TYPEDEF);
	struct error error;
	struct layout *layout;

	(void)state;
	assert_int_equal(test_layout(btf, u32, 8, u32, 4, &layout, &error), -EINVAL);
	assert_non_null(strstr(error.message, "4 bytes, the map's has 8"));
	assert_int_equal(test_layout(btf, u32, 4, u32, 8, &layout, &error), -EINVAL);
	assert_int_equal(test_layout(btf, 0, 0, 0, 0, &layout, &error), -EINVAL);
	assert_int_equal(test_layout(btf, 99999, 4, u32, 4, &layout, &error), -EINVAL);
	assert_int_equal(test_layout(NULL, 1, 4, u32, 4, &layout, &error), -EINVAL);
	assert_int_equal(test_layout(btf, u32, 4, u32, UINT32_MAX, &layout, &error), -EINVAL);
	assert_null(layout);
	layout__free(NULL);
}

/* BTF that no compiler writes. */
static void survives_odd_types(void **state)
{
	struct btf *odd = btf__new_empty();
	struct layout *layout;
	struct error error = {0};
	int u32, array, empty, inner, part, too_long, forward, chain;

	(void)state;
	u32 = btf__add_int(odd, "u32", 4, 0);
	part = btf__add_int(odd, "part", 4, 0); /* then made a part of its 4 bytes */
	((struct btf_type *)btf__type_by_id(odd, (uint32_t)part))[1].name_off = 5;
	array = u32;
	for (int i = 0; i < 40; i++)
		array = btf__add_array(odd, u32, array, 1);
	empty = btf__add_struct(odd, "empty", 0);
	forward = btf__add_fwd(odd, "forward", BTF_FWD_STRUCT);
	chain = btf__add_typedef(odd, "chain", u32);
	for (int i = 0; i < 100; i++)
		chain = btf__add_typedef(odd, "chain", chain);
	inner = btf__add_struct(odd, "inner", 4);
	btf__add_field(odd, "x", u32, 0, 0);
	for (int i = 0; i < 40; i++) {
		int outer = btf__add_struct(odd, "outer", 4);

		btf__add_field(odd, "o", inner, 0, 0);
		inner = outer;
	}
	assert_true(btf__add_struct(odd, "odd", 24) > 0);
	btf__add_field(odd, "deep", inner, 0, 0);
	btf__add_field(odd, "dimensions", array, 32, 0);
	btf__add_field(odd, "nothing", empty, 64, 0);
	btf__add_field(odd, "hidden", forward, 64, 0);
	btf__add_field(odd, "part", part, 64, 0);
	btf__add_field(odd, "chained", chain, 96, 0);
	btf__add_field(odd, "elements", btf__add_array(odd, u32, u32, 0), 128, 0);
	assert_int_equal(test_layout(odd, 0, 4, test_type(odd, "odd", BTF_KIND_STRUCT), 24, &layout,
				     &error),
			 0);
	assert_int_equal(layout->fields[1].kind, FIELD_BYTES);
	assert_int_equal(layout->fields[1].size, 4);
	assert_string_equal(layout__field(layout, "part")->name, "part");
	assert_int_equal(layout__field(layout, "part")->bits,
			 5); /* as BTF without the kind flag has it */
	assert_null(layout__field(layout, "elements"));
	layout__free(layout);

	too_long = btf__add_struct(odd, "too_long", 4);
	btf__add_field(odd, "a", u32, 32, 0);
	assert_int_equal(test_layout(odd, 0, 4, (uint32_t)too_long, 4, &layout, &error), -EINVAL);
	assert_non_null(strstr(error.message, "inconsistent"));
	too_long = btf__add_struct(odd, "too_many", 20000);
	for (uint32_t i = 0; i < 5000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		btf__add_field(odd, name, u32, i * 32, 0);
	}
	assert_int_equal(test_layout(odd, 0, 4, (uint32_t)too_long, 20000, &layout, &error),
			 -E2BIG);
	btf__free(odd);
}

/* Tags as clang writes them: of a member, by its number. */
static void shows_what_tags_say(void **state)
{
	static const struct {
		const char *tag;
		enum field_kind kind;
		const char *text;
	} expected[] = {
		{"show_as:ipv4", FIELD_IPV4, "1.2.3.4"},
		{"show_as:ifindex", FIELD_IFINDEX, "67305985"},
		{"show_as:protocol", FIELD_PROTOCOL, "67305985"},
		{"show_as:flags", FIELD_FLAGS, "0x4030201"},
		{"show_as:port", FIELD_UINT, "67305985"},
		{"show_as:timestamp", FIELD_UINT, "67305985"}, /* not of 8 bytes */
		{"show_as:nonsense", FIELD_UINT, "67305985"},
		{"another", FIELD_UINT, "67305985"},
	};
	const uint32_t record[2 + sizeof(expected) / sizeof(expected[0]) + 4] = {0};
	struct btf *tagged = btf__new_empty();
	int u32, id, words;
	struct layout *layout;

	(void)state;
	u32 = btf__add_int(tagged, "u32", 4, 0);
	words = btf__add_array(tagged, u32, u32, 4);
	id = btf__add_struct(tagged, "tagged", sizeof(record) - 8);
	for (uint32_t i = 0; i < 8; i++)
		btf__add_field(tagged, expected[i].tag + 5, u32, i * 32, 0);
	btf__add_field(tagged, "source", words, 8 * 32, 0);
	for (int i = 0; i < 8; i++)
		btf__add_decl_tag(tagged, expected[i].tag, id, i);
	btf__add_decl_tag(tagged, "show_as:ipv6", id, 8);
	assert_int_equal(test_layout(tagged, 0, 4, (uint32_t)id, sizeof(record) - 8, &layout, NULL),
			 0);
	for (size_t i = 0; i < 8; i++) {
		const uint8_t bytes[4] = {1, 2, 3, 4};
		struct buf out;

		buf__init(&out, 100);
		assert_int_equal(layout->fields[i + 1].kind, expected[i].kind);
		assert_int_equal(layout__element_text(&layout->fields[i + 1], bytes, &out), 0);
		assert_string_equal(out.data, expected[i].text);
		buf__free(&out);
	}
	assert_int_equal(layout__field(layout, "source")->kind, FIELD_ADDRESS);
	assert_int_equal(layout__field(layout, "source")->ndims, 0);
	layout__free(layout);
	btf__free(tagged);
}

/* A tag does not take from a number in network order that it is one. */
static void a_tag_keeps_the_byte_order(void **state)
{
	static const struct {
		const char *tag;
		enum field_kind kind;
	} expected[] = {
		{"show_as:ipv4", FIELD_IPV4},
		{"show_as:ifindex", FIELD_BE_UINT},
		{"show_as:protocol", FIELD_BE_UINT},
		{"show_as:flags", FIELD_BE_UINT},
	};
	struct btf *btf = btf__new_empty();
	struct layout *layout;
	int u32, be32, id;

	(void)state;
	u32 = btf__add_int(btf, "u32", 4, 0);
	be32 = btf__add_typedef(btf, "__be32", u32);
	id = btf__add_struct(btf, "tagged", 16);
	for (uint32_t i = 0; i < 4; i++)
		btf__add_field(btf, expected[i].tag + 8, be32, i * 32, 0);
	for (int i = 0; i < 4; i++)
		btf__add_decl_tag(btf, expected[i].tag, id, i);
	assert_int_equal(test_layout(btf, 0, 4, (uint32_t)id, 16, &layout, NULL), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(layout->fields[i + 1].kind, expected[i].kind);
	layout__free(layout);
	btf__free(btf);
}

static void fold(const struct layout *layout, struct test_value *into,
		 const struct test_value *more)
{
	const size_t slot = (sizeof(*into) + 7) / 8 * 8;
	unsigned char values[3 * slot];

	memset(values, 0, sizeof(values));
	memcpy(values, into, sizeof(*into));
	memcpy(values + 2 * slot, more, sizeof(*more));
	layout__fold(layout, into, values, slot, 3);
}

static void folds_per_cpu_values(void **state)
{
	struct layout *layout = records();
	struct test_value a = {.packets = 1,
			       .bytes = UINT64_MAX,
			       .drift = -5,
			       .first = 30,
			       .last = 10,
			       .state = STATE_SHUT,
			       .sizes = {1, 2, 3},
			       .net = 7,
			       .low = 7,
			       .middle = 4090,
			       .high = 1,
			       .either = {.word = 2},
			       .many = {[1] = {3, 1}},
			       .big = -3,
			       .tail = 250};
	struct test_value b = {.packets = 2,
			       .bytes = 2,
			       .drift = 3,
			       .first = 20,
			       .last = 5,
			       .seen = true,
			       .state = STATE_OPEN,
			       .comm = "b",
			       .sizes = {10, 20, 30},
			       .net = 9,
			       .at = {.y = -3},
			       .low = 2,
			       .middle = 5,
			       .high = 2,
			       .either = {.word = 3},
			       .many = {[1] = {4, -3}},
			       .big = 2,
			       .tail = 5};

	(void)state;
	fold(layout, &a, &b);
	assert_true(a.packets == 3 && a.bytes == 1 && a.drift == -2);
	assert_true(a.first == 20 && a.last == 10);
	assert_true(a.seen && a.state == STATE_OPEN && a.net == 9 && a.tail == 255 && a.at.y == -3);
	assert_string_equal(a.comm, "b");
	assert_true(a.sizes[0] == 11 && a.sizes[2] == 33);
	assert_true(a.low == 1 && a.middle == 4095 && a.high == 3); /* 7 + 2 in three bits */
	assert_true(a.either.word == 5 && a.many[1].x == 7 && a.many[1].y == -2 && a.big == -1);
	b.first = b.last = 0;
	fold(layout, &a, &b);
	assert_true(a.first == 20 && a.last == 10);
	layout__free(layout);
}

static void folds_as_told(void **state)
{
	struct layout *layout = records();
	struct test_value a = {.packets = 5, .bytes = 7, .drift = -1, .low = 3};
	struct test_value b = {.packets = 9, .bytes = 2, .drift = -8, .low = 6}, none = {0};
	enum field_fold how;

	(void)state;
	assert_int_equal(layout__fold_by_name("min", &how), 0);
	assert_int_equal(layout__set_fold(layout, "bytes", how), 0);
	assert_int_equal(layout__set_fold(layout, "drift", how), 0);
	assert_int_equal(layout__set_fold(layout, "packets", FOLD_MAX), 0);
	assert_int_equal(layout__set_fold(layout, "low", FOLD_LAST), 0);
	fold(layout, &a, &b);
	fold(layout, &a, &none); /* a CPU that has seen nothing is no minimum */
	assert_true(a.packets == 9 && a.bytes == 2 && a.drift == -8 && a.low == 6);
	assert_int_equal(layout__fold_by_name("mean", &how), -EINVAL);
	assert_int_equal(layout__set_fold(layout, "none", FOLD_SUM), -ENOENT);
	assert_int_equal(layout__set_fold(layout, "comm", FOLD_SUM), -EINVAL);
	assert_int_equal(layout__set_fold(layout, "first", FOLD_SUM), -EINVAL);
	assert_int_equal(layout__set_fold(layout, "proto", FOLD_LAST), -EINVAL); /* the key's */
	layout__free(layout);
}

static void writes_addresses_and_times(void **state)
{
	static const struct {
		uint8_t octets[16];
		const char *text;
	} addresses[] = {
		{{[10] = 255, 255, 10, 0, 0, 1}, "10.0.0.1"},
		{{[10] = 255, 255, 255, 255, 255, 255}, "255.255.255.255"},
		{{[10] = 255, 255, 0, 0, 0, 0}, "0.0.0.0"},
		{{0x20, 0x01, 0x0d, 0xb8, [15] = 1}, "2001:db8::1"},
		{{[15] = 1}, "::1"},
		{{0xfe, 0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14},
		 "fe80:102:304:506:708:90a:b0c:d0e"},
	};
	static const struct {
		uint64_t ns;
		const char *text;
	} times[] = {
		{0, "1970-01-01T00:00:00.000000000Z"},
		{951782399999999999, "2000-02-28T23:59:59.999999999Z"},
		{951782400000000000, "2000-02-29T00:00:00.000000000Z"},
		{1709210096123456789, "2024-02-29T12:34:56.123456789Z"},
		{4107542399000000001, "2100-02-28T23:59:59.000000001Z"},
		{4107542400000000000, "2100-03-01T00:00:00.000000000Z"},
		{UINT64_MAX, "2554-07-21T23:34:33.709551615Z"},
	};
	char text[46];

	(void)state;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		layout__address_text(addresses[i].octets, text);
		assert_string_equal(text, addresses[i].text);
	}
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		layout__time_text(times[i].ns, text);
		assert_string_equal(text, times[i].text);
	}
}

static void check_text(const struct layout *layout, const char *field, const void *record,
		       const char *expected)
{
	const struct field *f = layout__field(layout, field);
	struct buf out;

	buf__init(&out, 4096);
	assert_non_null(f);
	assert_int_equal(layout__text(f, (const unsigned char *)record, &out), 0);
	assert_string_equal(out.data ? out.data : "", expected);
	buf__free(&out);
}

static void check_parse(const struct layout *layout, const char *field, const char *text,
			int result)
{
	const struct field *f = layout__field(layout, field);
	unsigned char bytes[64];
	struct buf out;

	buf__init(&out, 4096);
	assert_int_equal(layout__parse(f, text, bytes), result);
	if (!result) {
		assert_int_equal(layout__element_text(f, bytes, &out), 0);
		assert_string_equal(out.data ? out.data : "", text);
	}
	buf__free(&out);
}

static void reads_and_writes_text(void **state)
{
	struct layout *layout = records();
	unsigned char record[512] = {0};
	struct test_value v = {.drift = -5,
			       .seen = true,
			       .small = -128,
			       .state = STATE_SHUT,
			       .error = ERROR_LOST,
			       .comm = "0123456789abcdef",
			       .mac = {2, 0, 0x5e, 0x10, 0, 1},
			       .net = 0x0100000a,
			       .sizes = {1, 2, 3},
			       .names = {"ab", "cdef"},
			       .wide = (enum wide)5,
			       .middle = 8191,
			       .where = (const void *)0xffff888000000000,
			       .many = {{.y = -1}, {.y = -2}},
			       .big = (__int128)((unsigned __int128)1 << 127)};

	(void)state;
	memcpy(record + layout->value_offset, &v, sizeof(v));
	check_text(layout, "drift", record, "-5");
	check_text(layout, "small", record, "-128");
	check_text(layout, "seen", record, "true");
	check_text(layout, "state", record, "STATE_SHUT");
	check_text(layout, "error", record, "ERROR_LOST");
	check_text(layout, "wide", record, "5");
	check_text(layout, "comm", record, "0123456789abcdef");
	check_text(layout, "mac", record, "02:00:5e:10:00:01");
	check_text(layout, "net", record, "167772161");
	check_text(layout, "sizes", record, "1 2 3");
	check_text(layout, "names", record, "ab cdef");
	check_text(layout, "first", record, "1970-01-01T00:00:00.000000000Z");
	check_parse(layout, "src", "10.0.0.1", 0);
	check_parse(layout, "src", "2001:db8::1", 0);
	check_parse(layout, "src", "10.0.0", -EINVAL);
	check_parse(layout, "mac", "02:00:5e:10:00:01", 0);
	check_parse(layout, "mac", "02:00:5e:10:00", -EINVAL);
	check_parse(layout, "mac", "02:00:5e:10:00:0g", -EINVAL);
	check_parse(layout, "mac", "02-00-5e-10-00-01", -EINVAL);
	check_parse(layout, "comm", "curl", 0);
	check_parse(layout, "comm", "0123456789abcdef", 0);
	check_parse(layout, "comm", "0123456789abcdefg", -EINVAL);
	check_parse(layout, "state", "STATE_OPEN", 0);
	check_parse(layout, "state", "OPEN", -EINVAL);
	check_parse(layout, "packets", "1", -EINVAL);
	check_parse(layout, "names", "a", -EINVAL);
	check_parse(layout, "proto", "tcp", 0);
	check_parse(layout, "proto", "ipv6-icmp", 0);
	check_parse(layout, "proto", "quic", -EINVAL);
	check_parse(layout, "low", "1", -EINVAL);
	check_text(layout, "big", record, "-170141183460469231731687303715884105728");
	check_text(layout, "where", record, "0xffff888000000000");
	check_text(layout, "middle", record, "8191");
	check_text(layout, "many.y", record, "-1 -2");
	layout__free(layout);
}

/* Bits that do not fit are an error and not lost; how it was written does not matter. */
static void reads_and_writes_flags(void **state)
{
	static const struct {
		uint32_t size;
		const char *given;
		const char *shown; /* NULL: it is no such value */
	} cases[] = {
		{1, "0x2", "0x02"},
		{1, "0xFF", "0xff"},
		{1, "0x100", NULL},
		{2, "0x0012", "0x0012"},
		{2, "0X00000012", "0x0012"},
		{2, "0x10000", NULL},
		{4, "0x12", "0x0012"},
		{4, "0x89abcdef", "0x89abcdef"},
		{8, "0x0", "0x0000"},
		{8, "0xfedcba9876543210", "0xfedcba9876543210"},
		{2, "18", NULL},
		{2, "0x", NULL},
		{2, "0x1g", NULL},
		{2, "-0x1", NULL},
		{2, "", NULL},
		{8, "0x11111111111111111", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct field f = {.kind = FIELD_FLAGS, .size = cases[i].size, .count = 1};
		unsigned char bytes[8];
		struct buf out;

		buf__init(&out, 100);
		assert_int_equal(layout__parse(&f, cases[i].given, bytes),
				 cases[i].shown ? 0 : -EINVAL);
		if (cases[i].shown) {
			assert_int_equal(layout__element_text(&f, bytes, &out), 0);
			assert_string_equal(out.data, cases[i].shown);
		}
		buf__free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(describes_every_field),
		cmocka_unit_test(describes_arrays_bits_and_unions),
		cmocka_unit_test(shows_what_tags_say),
		cmocka_unit_test(a_tag_keeps_the_byte_order),
		cmocka_unit_test(knows_the_names_of_enums),
		cmocka_unit_test(has_equal_hashes_for_equal_layouts),
		cmocka_unit_test(takes_plain_keys_and_values),
		cmocka_unit_test(tells_equal_names_apart),
		cmocka_unit_test(refuses_wrong_sizes),
		cmocka_unit_test(survives_odd_types),
		cmocka_unit_test(folds_per_cpu_values),
		cmocka_unit_test(folds_as_told),
		cmocka_unit_test(writes_addresses_and_times),
		cmocka_unit_test(reads_and_writes_text),
		cmocka_unit_test(reads_and_writes_flags),
	};

	return cmocka_run_group_tests_name("layout", tests, setup, teardown);
}
