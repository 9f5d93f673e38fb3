/* SPDX-License-Identifier: Apache-2.0 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "extract.h"

struct value {
	uint64_t packets;
	uint32_t bytes;
} __attribute__((packed));

struct record {
	uint32_t key, zero;
	struct value value;
	uint32_t pad;
};

static struct btf *btf;
static struct layout *layout; /* a key of 4 bytes, a value of 12: both are padded */
static size_t cpus;

static int setup(void **state)
{
	uint32_t u32, u64, value;

	(void)state;
	cpus = (size_t)libbpf_num_possible_cpus();
	btf = btf__new_empty();
	u32 = (uint32_t)btf__add_int(btf, "u32", 4, 0);
	u64 = (uint32_t)btf__add_int(btf, "u64", 8, 0);
	value = (uint32_t)btf__add_struct(btf, "value", sizeof(struct value));
	btf__add_field(btf, "packets", (int)u64, 0, 0);
	btf__add_field(btf, "bytes", (int)u32, 64, 0);
	return layout__new(&(struct layout_spec){.btf = btf,
						 .key_type = u32,
						 .key_size = 4,
						 .value_type = value,
						 .value_size = sizeof(struct value)},
			   &layout, NULL);
}

static int teardown(void **state)
{
	(void)state;
	layout__free(layout);
	btf__free(btf);
	return 0;
}

static bool per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static struct extract_map make(uint32_t type, uint32_t max_entries)
{
	int fd = bpf_map_create((enum bpf_map_type)type, "test", 4, sizeof(struct value),
				max_entries, NULL);

	if (fd < 0)
		fail_msg("a map of type %u: %s (run the tests as root)", type, strerror(-fd));
	return (struct extract_map){.fd = fd,
				    .type = type,
				    .max_entries = max_entries,
				    .entries = max_entries};
}

/* Puts packets = 10 × key + 1 and bytes = key into each key, in all shared between the CPUs' values. */
static void put(const struct extract_map *map, uint32_t first, uint32_t count)
{
	unsigned char all[64 * 16] = {0};

	assert_true(cpus <= 64);
	for (uint32_t key = first; key < first + count; key++) {
		struct value value = {10ULL * key + 1, key}, part = {key, 0};

		if (per_cpu(map->type) &&
		    cpus > 1) { /* the last CPU has `key` packets, the first one the rest */
			value.packets -= part.packets;
			memcpy(all + 16 * (cpus - 1), &part, sizeof(part));
		}
		memcpy(all, &value, sizeof(value));
		assert_int_equal(bpf_map_update_elem(map->fd, &key, all, BPF_ANY), 0);
	}
}

static uint32_t entries_in(const struct extract_map *map)
{
	uint32_t key, n = 0;
	int err = bpf_map_get_next_key(map->fd, NULL, &key);

	for (; !err; n++)
		err = bpf_map_get_next_key(map->fd, &key, &key);
	return n;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = ((const struct record *)a)->key, y = ((const struct record *)b)->key;

	return x < y ? -1 : x > y;
}

/* The records of keys first … first + count - 1, each once and each right, keys relative to `base`. */
static void check(struct batch *batch, uint32_t first, uint32_t count, uint32_t base)
{
	struct record *records = (struct record *)batch->records;

	assert_int_equal(layout->stride, sizeof(struct record));
	assert_int_equal(batch->count, count);
	qsort(records, count, sizeof(*records), by_number);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t key = first + i;

		if (records[i].key != key - base || records[i].zero || records[i].pad ||
		    records[i].value.packets != 10ULL * key + 1 || records[i].value.bytes != key)
			fail_msg("record %u: key %u, packets %llu, bytes %u", i, records[i].key,
				 (unsigned long long)records[i].value.packets,
				 records[i].value.bytes);
	}
}

static const enum extract_way ways[] = {EXTRACT_BEST, EXTRACT_SINGLE};

static void reads_hashes(uint32_t type)
{
	for (size_t way = 0; way < 2; way++) {
		struct extract_map map = make(type, 5000);
		struct batch batch;

		map.way = ways[way];
		batch__init(&batch, layout);
		assert_int_equal(extract__read(&map, true, &batch), 0); /* empty */
		assert_int_equal(batch.count, 0);
		put(&map, 0, 1);
		assert_int_equal(extract__read(&map, false, &batch), 0);
		check(&batch, 0, 1, 0);
		put(&map, 1, 4999); /* full */
		assert_int_equal(extract__read(&map, false, &batch), 0);
		check(&batch, 0, 5000, 0);
		assert_int_equal(entries_in(&map), 5000); /* reading changes nothing */
		assert_int_equal(extract__read(&map, true, &batch), 0);
		check(&batch, 0, 5000, 0);
		assert_int_equal(entries_in(&map), 0);
		put(&map, 7, 3);
		assert_int_equal(extract__read(&map, true, &batch), 0);
		check(&batch, 7, 3, 0);
		assert_true(batch.capacity >= 5000); /* kept */
		batch__free(&batch);
		close(map.fd);
	}
}

static void reads_a_hash(void **state)
{
	(void)state;
	reads_hashes(BPF_MAP_TYPE_HASH);
}

static void reads_a_per_cpu_hash(void **state)
{
	(void)state;
	reads_hashes(BPF_MAP_TYPE_PERCPU_HASH);
}

static void reads_arrays(uint32_t type)
{
	for (size_t way = 0; way < 2; way++) {
		struct extract_map map = make(type, 10000);
		struct batch batch;

		map.way = ways[way];
		batch__init(&batch, layout);
		put(&map, 0, 10000);
		assert_int_equal(extract__read(&map, false, &batch), 0);
		check(&batch, 0, 10000, 0);
		map.first = 100; /* a part in the middle: read, cleared, nothing else touched */
		map.entries = 5000;
		assert_int_equal(extract__read(&map, true, &batch), 0);
		check(&batch, 100, 5000, 100);
		assert_int_equal(extract__read(&map, false, &batch), 0);
		assert_int_equal(batch.count, 5000);
		for (size_t i = 0; i < batch.count; i++)
			assert_true(((struct record *)batch.records)[i].value.packets == 0);
		map.first = 0;
		map.entries = 100;
		assert_int_equal(extract__read(&map, false, &batch), 0);
		check(&batch, 0, 100, 0);
		map.first = 5100;
		map.entries = 4900; /* to the last entry */
		assert_int_equal(extract__read(&map, false, &batch), 0);
		check(&batch, 5100, 4900, 5100);
		map.entries = 0;
		assert_int_equal(extract__read(&map, true, &batch), 0);
		assert_int_equal(batch.count, 0);
		map.entries = 4901;
		assert_int_equal(extract__read(&map, true, &batch), -ERANGE);
		batch__free(&batch);
		close(map.fd);
	}
}

static void reads_an_array(void **state)
{
	(void)state;
	reads_arrays(BPF_MAP_TYPE_ARRAY);
}

static void reads_a_per_cpu_array(void **state)
{
	(void)state;
	reads_arrays(BPF_MAP_TYPE_PERCPU_ARRAY);
}

/* More than one call's worth, and buckets of many entries. */
static void reads_a_large_map(void **state)
{
	struct extract_map map = make(BPF_MAP_TYPE_HASH, 100000);
	struct batch batch;

	(void)state;
	batch__init(&batch, layout);
	put(&map, 0, 100000);
	assert_int_equal(extract__read(&map, true, &batch), 0);
	check(&batch, 0, 100000, 0);
	assert_int_equal(entries_in(&map), 0);
	batch__free(&batch);
	close(map.fd);
}

/* Asked for two entries at a time, the kernel refuses a bucket of three: the buffer has to grow. */
static void grows_for_a_full_bucket(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) { /* each map hashes in its own way */
		struct extract_map map = make(BPF_MAP_TYPE_HASH, 64);
		struct batch batch;

		batch__init(&batch, layout);
		put(&map, 0, 64);
		map.max_entries = 2;
		assert_int_equal(extract__read(&map, false, &batch), 0);
		assert_in_range(batch.count, 2, 63); /* and it stops at its bound */
		batch__free(&batch);
		close(map.fd);
	}
}

static void sorts_by_key(void **state)
{
	struct extract_map map = make(BPF_MAP_TYPE_HASH, 1000);
	struct batch one, two;

	(void)state;
	batch__init(&one, layout);
	batch__init(&two, layout);
	batch__sort(&one);
	put(&map, 500, 500);
	put(&map, 0, 500);
	assert_int_equal(extract__read(&map, true, &one), 0);
	put(&map, 0, 1000);
	assert_int_equal(extract__read(&map, true, &two), 0);
	batch__sort(&one);
	batch__sort(&two);
	assert_memory_equal(one.records, two.records, 1000 * sizeof(struct record));
	for (size_t i = 1; i < 1000; i++)
		assert_true(memcmp(one.records + (i - 1) * sizeof(struct record),
				   one.records + i * sizeof(struct record), 4) < 0);
	batch__free(&one);
	batch__free(&two);
	batch__free(NULL);
	close(map.fd);
}

static void reports_what_cannot_be_read(void **state)
{
	struct extract_map map = make(BPF_MAP_TYPE_HASH, 10);
	struct batch batch;

	(void)state;
	batch__init(&batch, layout);
	map.type = BPF_MAP_TYPE_QUEUE;
	assert_int_equal(extract__read(&map, true, &batch), -EOPNOTSUPP);
	map.type = BPF_MAP_TYPE_HASH;
	close(map.fd);
	map.fd = -1;
	assert_int_equal(extract__read(&map, true, &batch), -EBADF);
	map.type = BPF_MAP_TYPE_ARRAY;
	map.entries = 1;
	assert_int_equal(extract__read(&map, true, &batch), -EBADF);
	batch__free(&batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_hash),	     cmocka_unit_test(reads_a_per_cpu_hash),
		cmocka_unit_test(reads_an_array),    cmocka_unit_test(reads_a_per_cpu_array),
		cmocka_unit_test(reads_a_large_map), cmocka_unit_test(grows_for_a_full_bucket),
		cmocka_unit_test(sorts_by_key),	     cmocka_unit_test(reports_what_cannot_be_read),
	};

	return cmocka_run_group_tests_name("extract", tests, setup, teardown);
}
