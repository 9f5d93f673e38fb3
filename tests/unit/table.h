/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A BPF map of known content, and the records that a read of it has to give.
 */
#ifndef PERILUNE_TESTS_TABLE_H
#define PERILUNE_TESTS_TABLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "extract/extract.h"

struct table {
	struct extract_map map;
	struct layout *layout;
	uint32_t count;		       /* entries in it */
	size_t key_size, slot, stored; /* slot: bytes of one CPU's value; stored: of all CPUs' */
	size_t cpus;		       /* 1 unless per-CPU */
	unsigned char *keys, *values;
};

static inline bool table__is_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static inline bool table__is_array(uint32_t type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static inline bool table__is_lru(uint32_t type)
{
	return type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

/* xorshift64: the same numbers every time. */
static inline uint64_t table__random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline void table__fill(struct table *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		const void *key = t->key_size ? t->keys + i * t->key_size : NULL;
		int err = bpf_map_update_elem(t->map.fd, key, t->values + i * t->stored, BPF_ANY);

		if (err)
			fail_msg("entry %u of a map of type %u: %s", i, t->map.type,
				 strerror(-err));
	}
}

/* Keys that differ; a value's CPUs often have nothing, and fields are often zero. */
static inline void table__make(struct table *t, uint64_t seed)
{
	for (uint32_t i = 0; i < t->count; i++) {
		unsigned char *key = t->keys + i * t->key_size;

		for (size_t n = 0; n < t->key_size; n++)
			key[n] = (unsigned char)table__random(&seed);
		if (t->map.type == BPF_MAP_TYPE_LPM_TRIE) {
			uint32_t bits = (uint32_t)(t->key_size - 4) * 8;

			memcpy(key, &bits, 4);
			memcpy(key + 4, &i, 3);
		} else {
			memcpy(key, &i, t->key_size < 4 ? t->key_size : 4);
		}
		for (size_t n = 0; n < t->cpus; n++) {
			unsigned char *value = t->values + i * t->stored + n * t->slot;
			bool silent = t->cpus > 1 && table__random(&seed) % 3 == 0;

			for (size_t b = 0; b < t->layout->value_size; b++)
				value[b] = silent || table__random(&seed) % 4 == 0
						   ? 0
						   : (unsigned char)table__random(&seed);
		}
	}
}

/* A map of `entries` in as many places (LRU: four times as many), with content. The layout is borrowed. */
static inline struct table table__new(uint32_t type, uint32_t flags, struct layout *layout,
				      uint32_t entries, uint64_t seed)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	uint32_t places = table__is_lru(type) ? 4 * entries + 4096 : entries ? entries : 1;
	struct table t = {.layout = layout, .count = entries, .key_size = layout->key_size};

	if (type == BPF_MAP_TYPE_LPM_TRIE)
		opts.map_flags |= BPF_F_NO_PREALLOC;
	t.map = (struct extract_map){.type = type,
				     .flags = opts.map_flags,
				     .max_entries = places,
				     .entries = places};
	t.map.fd = bpf_map_create((enum bpf_map_type)type, "test", layout->key_size,
				  layout->value_size, places, &opts);
	if (t.map.fd < 0)
		fail_msg("a map of type %u: %s (run the tests as root)", type, strerror(-t.map.fd));
	t.cpus = table__is_per_cpu(type) ? (size_t)libbpf_num_possible_cpus() : 1;
	t.slot = table__is_per_cpu(type) ? (layout->value_size + 7UL) & ~7UL : layout->value_size;
	t.stored = t.slot * t.cpus;
	t.keys = calloc(entries + 1, t.key_size + 1);
	t.values = calloc(entries + 1, t.stored);
	assert_non_null(t.keys);
	assert_non_null(t.values);
	table__make(&t, seed);
	table__fill(&t);
	return t;
}

static inline void table__free(struct table *t)
{
	close(t->map.fd);
	free(t->keys);
	free(t->values);
}

/* The records of entries `first` … first + count - 1, sorted. */
static inline struct batch table__records(const struct table *t, uint32_t first, uint32_t count)
{
	const struct layout *layout = t->layout;
	struct batch batch;

	batch__init(&batch, layout);
	batch.records = calloc(count + 1, layout->stride);
	assert_non_null(batch.records);
	batch.count = batch.capacity = count;
	for (uint32_t i = 0; i < count; i++) {
		unsigned char *record = batch.records + (size_t)i * layout->stride;
		unsigned char *value = t->values + (first + i) * t->stored;

		if (table__is_array(t->map.type))
			memcpy(record, &i, t->key_size);
		else
			memcpy(record, t->keys + (first + i) * t->key_size, t->key_size);
		if (layout->cpus > 1)
			memcpy(record + layout->value_offset, value, t->stored);
		else
			layout__fold(layout, record + layout->value_offset, value, t->slot,
				     t->cpus);
	}
	if (t->key_size)
		batch__sort(&batch);
	return batch;
}

static inline uint32_t table__left(const struct table *t)
{
	unsigned char *key = calloc(2, t->key_size);
	uint32_t n = 0;
	int err = bpf_map_get_next_key(t->map.fd, NULL, key);

	for (; !err; n++) {
		memcpy(key + t->key_size, key, t->key_size);
		err = bpf_map_get_next_key(t->map.fd, key + t->key_size, key);
	}
	free(key);
	return n;
}

static inline struct extract *table__open(const struct table *t, enum extract_way way)
{
	struct extract_options options = {.way = way};
	struct extract *extract = NULL;
	struct error error = {0};
	int err = extract__open(&t->map, t->layout, &options, &extract, &error);

	if (err)
		fail_msg("type %u by way of %s: %s", t->map.type, extract_way__name(way),
			 error.message);
	return extract;
}

static inline void table__equal(const struct batch *got, const struct batch *expected)
{
	size_t stride = expected->layout->stride;

	assert_int_equal(got->count, expected->count);
	for (size_t i = 0; i < got->count; i++)
		assert_memory_equal(got->records + i * stride, expected->records + i * stride,
				    stride);
}

#endif
