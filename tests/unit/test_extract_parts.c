/* SPDX-License-Identifier: Apache-2.0 */
/* A hash that is read in parts: what is there throughout comes once, in whatever part, also while others write. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <unistd.h>

#include "extract/extract.h"

#define ROOM (1U << 17)
#define STEADY 90000U  /* keys 0 … are there throughout */
#define PASSING 20000U /* and so many behind them come and go */

struct parts {
	struct extract_map map;
	struct layout *layout;
	unsigned char *seen; /* how often each key came */
	bool stop;
};

static void put(int fd, uint32_t key)
{
	uint64_t value = (uint64_t)key * 3;

	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
}

static void make(struct parts *p, enum bpf_map_type type, uint32_t keys)
{
	struct layout_spec spec = {.key_size = 4, .value_size = 8};

	*p = (struct parts){.map = {.fd = bpf_map_create(type, "parts", 4, 8, ROOM, NULL),
				    .type = type,
				    .max_entries = ROOM}};
	assert_true(p->map.fd >= 0);
	assert_int_equal(layout__new(&spec, &p->layout, NULL), 0);
	p->seen = calloc(STEADY + PASSING, 1);
	for (uint32_t key = 0; key < keys; key++)
		put(p->map.fd, key);
}

static void unmake(struct parts *p)
{
	layout__free(p->layout);
	free(p->seen);
	close(p->map.fd);
}

static void read_part(struct parts *p, uint32_t part, uint32_t parts)
{
	struct extract *extract;
	struct batch batch;
	int more;

	batch__init(&batch, p->layout);
	assert_int_equal(extract__open(&p->map, p->layout, NULL, &extract, NULL), 0);
	assert_int_equal(extract__start(extract, false), 0);
	extract__set_part(extract, part, parts);
	do {
		more = extract__next(extract, &batch);
		assert_true(more >= 0);
		for (size_t i = 0; i < batch.count; i++) {
			const unsigned char *record = batch.records + i * p->layout->stride;
			uint64_t value;
			uint32_t key;

			memcpy(&key, record, sizeof(key));
			memcpy(&value, record + p->layout->value_offset, sizeof(value));
			assert_true(key < STEADY + PASSING);
			assert_int_equal(value, (uint64_t)key * 3);
			p->seen[key]++;
		}
	} while (more > 0);
	extract__free(extract);
	batch__free(&batch);
}

static void read_all(struct parts *p, uint32_t parts)
{
	memset(p->seen, 0, STEADY + PASSING);
	for (uint32_t i = 0; i < parts; i++)
		read_part(p, i, parts);
}

static void expect_once(const struct parts *p, uint32_t keys)
{
	for (uint32_t key = 0; key < keys; key++)
		assert_int_equal(p->seen[key], 1);
}

static void every_key_once(void **state)
{
	enum bpf_map_type types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH};
	uint32_t parts[] = {1, 2, 7, 200}, keys[] = {0, 5, 40000};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		for (size_t k = 0; k < 3; k++) {
			struct parts p;

			make(&p, types[i], keys[k]);
			for (size_t n = 0; n < 4; n++) {
				read_all(&p, parts[n]);
				expect_once(&p, keys[k]);
			}
			unmake(&p);
		}
	}
}

static void *come_and_go(void *arg)
{
	struct parts *p = arg;
	uint32_t n = 0;

	while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED)) {
		uint32_t key = STEADY + n++ % PASSING;
		uint64_t value = (uint64_t)key * 3;

		if (bpf_map_delete_elem(p->map.fd, &key))
			bpf_map_update_elem(p->map.fd, &key, &value, BPF_ANY);
	}
	return NULL;
}

/* Boundaries everywhere: with so many parts each ends after some hundred buckets. */
static void while_others_write(void **state)
{
	pthread_t thread;
	struct parts p;

	(void)state;
	make(&p, BPF_MAP_TYPE_HASH, STEADY + PASSING / 2);
	assert_int_equal(pthread_create(&thread, NULL, come_and_go, &p), 0);
	for (int i = 0; i < 6; i++) {
		read_all(&p, i % 2 ? 2 : 300);
		expect_once(&p, STEADY);
	}
	__atomic_store_n(&p.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	unmake(&p);
}

/* Only what is large is worth it, and only hashes. */
static void whether_it_pays(void **state)
{
	struct extract *extract;
	struct parts p;

	(void)state;
	for (int full = 0; full < 2; full++) {
		make(&p, BPF_MAP_TYPE_HASH, full ? STEADY : 1000);
		assert_int_equal(extract__open(&p.map, p.layout, NULL, &extract, NULL), 0);
		assert_int_equal(extract__parts(extract, 8), full ? 8 : 1);
		assert_int_equal(extract__parts(extract, 1), 1);
		extract__free(extract);
		unmake(&p);
	}
	make(&p, BPF_MAP_TYPE_ARRAY, 0);
	p.map.entries = ROOM;
	assert_int_equal(extract__open(&p.map, p.layout, NULL, &extract, NULL), 0);
	assert_int_equal(extract__parts(extract, 8), 1);
	extract__free(extract);
	unmake(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_once),
		cmocka_unit_test(while_others_write),
		cmocka_unit_test(whether_it_pays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
