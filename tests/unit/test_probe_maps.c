/* SPDX-License-Identifier: Apache-2.0 */
/* What an object declares is told before anything of it is loaded: its maps with their padding, layouts and programs. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/types.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/bpf.h>

#include "extract/layout.h"
#include "probe/probe.h"
#include "probe/probe_maps.h"
#include "program.h"

static const char source[] =
	"#include <perilune.h>\n"
	"struct tight { struct ip_addr src; __be16 port; __u8 ttl; __u8 pad; };\n"
	"struct loose { __u8 ttl; struct { __u16 a; __u8 b; } in[3]; __u64 n; };\n"
	"struct bits { __u32 low : 4, high : 28; __u8 last; } __attribute__((packed));\n"
	"struct value { __u64 packets; enum direction way; };\n"
	"WINDOWED_HASH(tight, struct tight, struct value);\n"
	"WINDOWED_PERCPU_HASH(loose, struct loose, struct value);\n"
	"WINDOWED_HASH(bits, struct bits, struct value);\n"
	"WINDOWED_ARRAY(ways, struct value, 2);\n"
	"WINDOWED_RING(ring, struct value);\n"
	"__u64 global;\n"
	"SEC(\"tc\") int first(struct __sk_buff *ctx) { (void)ctx; return global++; }\n"
	"SEC(\"xdp\") int second(struct xdp_md *ctx) { (void)ctx; return 0; }\n"
	"char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n";

static struct probe *probe;

static int setup(void **state)
{
	struct error error = {0};
	size_t len = 0;
	unsigned char *object = program__compile(source, &len);
	int err;

	(void)state;
	if (!object)
		return -1;
	err = probe__open(object, len, "test", &probe, &error);
	free(object);
	return err;
}

static int teardown(void **state)
{
	(void)state;
	probe__free(probe);
	return 0;
}

struct wanted {
	const char *name;
	uint32_t type, entries, padding;
	int seen;
};

static void check(const struct probe_map *map, void *arg)
{
	assert_non_null(map->name);
	assert_string_not_equal(map->name, ".bss");
	for (struct wanted *one = arg; one->name; one++) {
		if (strcmp(one->name, map->name) != 0)
			continue;
		assert_int_equal(map->type, one->type);
		assert_int_equal(map->entries, one->entries);
		assert_int_equal(map->padding, one->padding);
		one->seen++;
	}
}

static void maps_are_told(void **state)
{
	struct wanted wanted[] = {
		{"tight", BPF_MAP_TYPE_ARRAY_OF_MAPS, 2, 0, 0},
		{"tight_0", BPF_MAP_TYPE_HASH, 65536, 0, 0},
		{"tight_1", BPF_MAP_TYPE_HASH, 65536, 0, 0},
		/* 1 before the first of `in`, 1 in each of them, 4 before n. */
		{"loose_0", BPF_MAP_TYPE_PERCPU_HASH, 65536, 0, 0},
		{"bits_0", BPF_MAP_TYPE_HASH, 65536, 0, 0},
		{"ways", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 0, 0},
		{"ring_0", BPF_MAP_TYPE_RINGBUF, 65536, 0, 0},
		{0},
	};

	(void)state;
	wanted[3].padding = 24 - (1 + 3 * 3 + 8);
	probe_maps__each(probe, check, wanted);
	for (struct wanted *one = wanted; one->name; one++)
		assert_int_equal(one->seen, 1);
}

static void count(const char *name, const char *section, void *arg)
{
	int *seen = arg;

	*seen += !strcmp(name, "first") && !strcmp(section, "tc");
	*seen += !strcmp(name, "second") && !strcmp(section, "xdp");
	*seen += 10;
}

static void programs_are_told(void **state)
{
	int seen = 0;

	(void)state;
	probe_maps__each_program(probe, count, &seen);
	assert_int_equal(seen, 22);
}

static void layouts_are_told(void **state)
{
	struct error error = {0};
	struct layout *layout = NULL;

	(void)state;
	assert_int_equal(probe_maps__layout(probe, "tight_0", NULL, &layout, &error), 0);
	assert_int_equal(layout__field(layout, "src")->kind, FIELD_ADDRESS);
	assert_true(layout__field(layout, "ttl")->key);
	assert_int_equal(layout__field(layout, "way")->kind, FIELD_ENUM);
	assert_null(layout__field(layout, "pad"));
	layout__free(layout);
	assert_int_equal(probe_maps__layout(probe, "ways", "direction", &layout, &error), 0);
	assert_int_equal(layout__field(layout, "direction")->kind, FIELD_ENUM);
	layout__free(layout);
	assert_int_equal(probe_maps__layout(probe, "ring_0", NULL, &layout, &error), 0);
	assert_int_equal(layout__field(layout, "packets")->kind, FIELD_UINT);
	layout__free(layout);
	assert_int_equal(probe_maps__layout(probe, "none", NULL, &layout, &error), -ENOENT);
	assert_string_equal(error.message, "there is no map none");
	assert_int_equal(probe_maps__layout(probe, "ways", "nothing", &layout, &error), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_are_told),
		cmocka_unit_test(programs_are_told),
		cmocka_unit_test(layouts_are_told),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
