/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel stops in the middle of a batch: what it has given, and removed, until then is neither lost nor read twice. */
#include <dlfcn.h>
#include <errno.h>

#include "table.h"

#define ENTRIES 3000
#define ROOM (4 * ENTRIES) /* an LRU map evicts before it is full */
#define SOME 200	   /* entries after which it stops */

/* What the next calls come to after SOME entries, as often as `times` says; the call for none at all, which only asks, is let through. */
static struct {
	int code, times, nothing;
} stop;

typedef int (*batch_fn)(int, void *, void *, void *, void *, __u32 *,
			const struct bpf_map_batch_opts *);

static int stopped(const char *name, int fd, void *in, void *out, void *keys, void *values,
		   __u32 *count, const struct bpf_map_batch_opts *opts)
{
	batch_fn real = (batch_fn)dlsym(RTLD_NEXT, name);
	int err;

	if (!*count || !stop.times)
		return real(fd, in, out, keys, values, count, opts);
	stop.times--;
	if (stop.nothing) {
		*count = 0;
		memset(out, 0, 4);
		if (in)
			memcpy(out, in, 4);
		return stop.code;
	}
	*count = *count < SOME ? *count : SOME;
	err = real(fd, in, out, keys, values, count, opts);
	return err ? err : stop.code;
}

/* In place of libbpf's. */
int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, __u32 *count,
			 const struct bpf_map_batch_opts *opts)
{
	return stopped("bpf_map_lookup_batch", fd, in, out, keys, values, count, opts);
}

int bpf_map_lookup_and_delete_batch(int fd, void *in, void *out, void *keys, void *values,
				    __u32 *count, const struct bpf_map_batch_opts *opts)
{
	return stopped("bpf_map_lookup_and_delete_batch", fd, in, out, keys, values, count, opts);
}

struct reading {
	struct extract_map map;
	struct layout *layout;
	struct extract *extract;
	struct batch batch;
};

static void make(struct reading *t, enum bpf_map_type type)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts,
		    .map_flags = type == BPF_MAP_TYPE_LPM_TRIE ? BPF_F_NO_PREALLOC : 0);
	const struct extract_options options = {.way = EXTRACT_BATCH};

	t->map = (struct extract_map){.fd = bpf_map_create(type, "test", 8, 8, ROOM, &opts),
				      .type = type,
				      .flags = opts.map_flags,
				      .max_entries = ROOM};
	assert_true(t->map.fd >= 0);
	assert_int_equal(layout__new(&(struct layout_spec){.key_size = 8, .value_size = 8},
				     &t->layout, NULL),
			 0);
	for (uint32_t i = 0; i < ENTRIES; i++) {
		uint32_t key[2] = {32, i};
		uint64_t value = i;

		assert_int_equal(bpf_map_update_elem(t->map.fd, key, &value, BPF_ANY), 0);
	}
	assert_int_equal(extract__open(&t->map, t->layout, &options, &t->extract, NULL), 0);
	batch__init(&t->batch, t->layout);
}

static void drop(struct reading *t)
{
	batch__free(&t->batch);
	extract__free(t->extract);
	layout__free(t->layout);
	close(t->map.fd);
}

/* Every entry once. */
static void check(const struct reading *t)
{
	static unsigned char seen[ENTRIES];

	memset(seen, 0, sizeof(seen));
	assert_int_equal(t->batch.count, ENTRIES);
	for (size_t i = 0; i < t->batch.count; i++) {
		uint64_t value;

		memcpy(&value, t->batch.records + i * t->layout->stride + 8, sizeof(value));
		assert_true(value < ENTRIES && !seen[value]++);
	}
}

static void goes_on(enum bpf_map_type type, int code, bool nothing)
{
	struct reading t;

	make(&t, type);
	for (int clear = 0; clear < 2; clear++) {
		stop.code = code;
		stop.times = 5;
		stop.nothing = nothing;
		assert_int_equal(extract__read(t.extract, clear, &t.batch), 0);
		assert_int_equal(stop.times, 0);
		check(&t);
	}
	assert_int_equal(extract__read(t.extract, false, &t.batch), 0);
	assert_int_equal(t.batch.count, 0);
	drop(&t);
}

static void goes_on_with_a_hash(void **state)
{
	(void)state;
	goes_on(BPF_MAP_TYPE_HASH, -ENOMEM, false);
	goes_on(BPF_MAP_TYPE_HASH, -ENOMEM, true);
	goes_on(BPF_MAP_TYPE_LRU_HASH, -EBUSY, false);
	goes_on(BPF_MAP_TYPE_LRU_HASH, -ETIMEDOUT, false);
}

static void goes_on_with_a_trie(void **state)
{
	(void)state;
	goes_on(BPF_MAP_TYPE_LPM_TRIE, -EINTR, false);
}

/* What does not get anywhere, or is no pause, is an error, and takes nothing. */
static void gives_up(void **state)
{
	struct reading t;

	(void)state;
	make(&t, BPF_MAP_TYPE_HASH);
	stop.times = 1000000;
	stop.nothing = 1;
	stop.code = -ENOMEM;
	assert_int_equal(extract__read(t.extract, true, &t.batch), -ENOMEM);
	stop.code = -EPERM;
	assert_int_equal(extract__read(t.extract, true, &t.batch), -EPERM);
	stop.times = 0;
	assert_int_equal(extract__read(t.extract, true, &t.batch), 0);
	check(&t);
	drop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_on_with_a_hash),
		cmocka_unit_test(goes_on_with_a_trie),
		cmocka_unit_test(gives_up),
	};

	return cmocka_run_group_tests_name("extract_pause", tests, NULL, NULL);
}
