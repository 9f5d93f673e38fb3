/* SPDX-License-Identifier: Apache-2.0 */
/* Maps in use, full, empty, huge, gone, and those that have no entries. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sched.h>

#include "table.h"

static struct layout *numbers; /* u32 → 24 bytes */

static struct layout *new_layout(uint32_t key_size, uint32_t value_size, bool index)
{
	struct layout *layout;

	assert_int_equal(layout__new(&(struct layout_spec){.key_size = key_size,
							   .value_size = value_size,
							   .index = index},
				     &layout, NULL),
			 0);
	return layout;
}

static int setup(void **state)
{
	(void)state;
	numbers = new_layout(4, 24, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	layout__free(numbers);
	return 0;
}

static struct extract_map make(uint32_t type, uint32_t flags, uint32_t key, uint32_t value,
			       uint32_t entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	int fd = bpf_map_create((enum bpf_map_type)type, "test", key, value, entries, &opts);

	if (fd < 0)
		fail_msg("a map of type %u: %s (run the tests as root)", type, strerror(-fd));
	return (struct extract_map){
		.fd = fd, .type = type, .flags = flags, .max_entries = entries, .entries = entries};
}

/* What belongs to a key, so that a record can be judged by itself. */
struct value {
	uint64_t triple, square, inverse;
};

static struct value value_of(uint32_t key)
{
	return (struct value){3ULL * key, (uint64_t)key * key, ~(uint64_t)key};
}

static int put(int fd, uint32_t key)
{
	struct value value = value_of(key);

	return bpf_map_update_elem(fd, &key, &value, BPF_ANY);
}

struct writer {
	pthread_t thread;
	int fd;
	uint32_t first, count; /* keys it inserts and deletes */
	bool deletes;
	bool stop;
	uint64_t rounds;
};

static void *write_on(void *arg)
{
	struct writer *w = arg;
	uint64_t seed = 88172645463325252ULL;

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		uint32_t key = w->first + (uint32_t)(table__random(&seed) % w->count);

		if (w->deletes && table__random(&seed) % 2)
			bpf_map_delete_elem(w->fd, &key);
		else
			put(w->fd, key);
		__atomic_add_fetch(&w->rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void start(struct writer *w)
{
	assert_int_equal(pthread_create(&w->thread, NULL, write_on, w), 0);
	while (__atomic_load_n(&w->rounds, __ATOMIC_ACQUIRE) < w->count)
		sched_yield();
}

static void stop(struct writer *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	pthread_join(w->thread, NULL);
}

/* Every record is true and there once. How many have keys below `stable`. */
static uint32_t check_records(struct batch *batch, uint32_t stable)
{
	uint32_t n = 0, last = 0;

	batch__sort(batch);
	for (size_t i = 0; i < batch->count; i++) {
		const unsigned char *record = batch->records + i * batch->layout->stride;
		struct value expected;
		uint32_t key;

		memcpy(&key, record, sizeof(key));
		expected = value_of(key);
		assert_memory_equal(record + 8, &expected, sizeof(expected));
		if (i && key == last)
			fail_msg("key %u is there twice", key);
		last = key;
		n += key < stable;
	}
	return n;
}

#define STABLE 1000
#define PASSES 40

static void read_in_use(uint32_t type, uint32_t flags, enum extract_way way)
{
	struct extract_map map = make(type, flags, 4, sizeof(struct value), 4096);
	struct writer writer = {.fd = map.fd,
				.first = STABLE,
				.count = 3 * STABLE,
				.deletes = true};
	struct extract_options options = {.way = way};
	struct extract *extract;
	struct batch batch;
	int read = 0;

	for (uint32_t key = 0; key < STABLE; key++)
		assert_int_equal(put(map.fd, key), 0);
	assert_int_equal(extract__open(&map, numbers, &options, &extract, NULL), 0);
	batch__init(&batch, numbers);
	start(&writer);
	for (int i = 0; i < PASSES; i++) {
		int err = extract__read(extract, false, &batch);

		assert_true(!err || (err == -EAGAIN && way == EXTRACT_SINGLE));
		if (way == EXTRACT_GATHER) /* may leave some out */
			check_records(&batch, 0);
		else if (!err)
			assert_int_equal(check_records(&batch, STABLE), STABLE);
		read += !err;
	}
	stop(&writer);
	assert_true(read > 0);
	assert_int_equal(extract__read(extract, false, &batch), 0); /* at rest again */
	assert_int_equal(check_records(&batch, STABLE), STABLE);
	extract__free(extract);
	batch__free(&batch);
	close(map.fd);
}

static void reads_while_others_write(void **state)
{
	static const enum extract_way ways[] = {EXTRACT_BEST, EXTRACT_GATHER, EXTRACT_BATCH,
						EXTRACT_SINGLE};

	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		read_in_use(BPF_MAP_TYPE_HASH, 0, ways[i]);
		read_in_use(BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, ways[i]);
	}
}

/* What is inserted meanwhile is read by some pass, once for each time that it was inserted. */
static void clears_while_others_insert(void **state)
{
	(void)state;
	for (int gather = 0; gather < 2; gather++) {
		struct extract_map map = make(BPF_MAP_TYPE_HASH, 0, 4, sizeof(struct value), 4096);
		struct writer writer = {.fd = map.fd, .count = 4000};
		struct extract_options options = {.way = gather ? EXTRACT_GATHER : EXTRACT_BATCH};
		struct extract *extract;
		struct batch batch;

		assert_int_equal(extract__open(&map, numbers, &options, &extract, NULL), 0);
		batch__init(&batch, numbers);
		start(&writer);
		for (int i = 0; i < PASSES; i++) {
			assert_int_equal(extract__read(extract, true, &batch), 0);
			check_records(&batch, 0);
		}
		stop(&writer);
		assert_int_equal(extract__read(extract, true, &batch), 0);
		assert_int_equal(extract__read(extract, true, &batch), 0);
		assert_int_equal(batch.count, 0);
		extract__free(extract);
		batch__free(&batch);
		close(map.fd);
	}
}

static void reads_an_lru_under_pressure(void **state)
{
	static const enum extract_way ways[] = {EXTRACT_GATHER, EXTRACT_BATCH, EXTRACT_SINGLE};

	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		struct extract_map map = make(BPF_MAP_TYPE_LRU_HASH, 0, 4, sizeof(struct value),
					      1000);
		struct writer writer = {.fd = map.fd, .count = 20000};
		struct extract_options options = {.way = ways[i]};
		struct extract *extract;
		struct batch batch;

		assert_int_equal(extract__open(&map, numbers, &options, &extract, NULL), 0);
		batch__init(&batch, numbers);
		start(&writer);
		for (int pass = 0; pass < PASSES; pass++) {
			int err = extract__read(extract, pass % 2, &batch);

			assert_true(!err || (err == -EAGAIN && ways[i] == EXTRACT_SINGLE));
			assert_in_range(batch.count, 0, 6000);
			check_records(&batch, 0);
		}
		stop(&writer);
		extract__free(extract);
		batch__free(&batch);
		close(map.fd);
	}
}

/* One key comes and goes: the kernel starts over all the time, and the walk finds its way back. */
static void walks_a_trie_in_use(void **state)
{
	struct layout *layout = new_layout(8, 8, false);
	struct table t = table__new(BPF_MAP_TYPE_LPM_TRIE, 0, layout, 10000, 3);

	(void)state;
	for (int single = 0; single < 2; single++) {
		struct extract *extract = table__open(&t, single ? EXTRACT_SINGLE : EXTRACT_BATCH);
		struct batch batch, all = table__records(&t, 0, t.count);
		int more;

		batch__init(&batch, layout);
		for (int gone = 0; gone < 5; gone++) {
			size_t count = 0;

			assert_int_equal(extract__start(extract, false), 0);
			do { /* between chunks, some of those that were read disappear */
				more = extract__next(extract, &batch);
				if (more < 0)
					fail_msg("%s, after %zu: %s", single ? "single" : "batch",
						 count, strerror(-more));
				for (size_t i = 0; more && i < batch.count; i += 7)
					bpf_map_delete_elem(t.map.fd,
							    batch.records + i * layout->stride);
				if (more && batch.count)
					bpf_map_delete_elem(t.map.fd,
							    batch.records + (batch.count - 1) *
										    layout->stride);
				count += batch.count;
			} while (more);
			assert_int_equal(count, t.count);
			table__fill(&t);
		}
		batch__free(&batch);
		batch__free(&all);
		extract__free(extract);
	}
	table__free(&t);
	layout__free(layout);
}

/* What comes back after it was read and removed stays for the next read. */
static void reports_what_comes_back_later(void **state)
{
	struct layout *layout = new_layout(8, 8, false);
	struct table t = table__new(BPF_MAP_TYPE_LPM_TRIE, 0, layout, 10000, 3);
	struct batch batch;

	(void)state;
	batch__init(&batch, layout);
	for (int single = 0; single < 2; single++) {
		struct extract *extract = table__open(&t, single ? EXTRACT_SINGLE : EXTRACT_BATCH);
		size_t count = 0;
		int more;

		assert_int_equal(extract__start(extract, true), 0);
		do {
			more = extract__next(extract, &batch);
			assert_true(more >= 0);
			for (size_t i = 0; !count && i < 10; i++) {
				const unsigned char *record = batch.records + i * layout->stride;

				assert_int_equal(bpf_map_update_elem(t.map.fd, record, record + 8,
								     0),
						 0);
			}
			count += batch.count;
		} while (more);
		assert_int_equal(count, t.count);
		assert_int_equal(table__left(&t), 10);
		assert_int_equal(extract__read(extract, true, &batch), 0);
		assert_int_equal(batch.count, 10);
		table__fill(&t);
		extract__free(extract);
	}
	batch__free(&batch);
	table__free(&t);
	layout__free(layout);
}

static void reads_empty_and_full_maps(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH,
					 BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH,
					 BPF_MAP_TYPE_LPM_TRIE};
	struct layout *layout = new_layout(8, 24, false);

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		for (uint32_t n = 0; n <= 1000; n += 1000) {
			struct table t = table__new(types[i], 0, layout, n, 8);
			struct batch batch, all = table__records(&t, 0, n);

			batch__init(&batch, layout);
			for (enum extract_way way = EXTRACT_BEST; way <= EXTRACT_SINGLE; way++) {
				struct extract_options options = {.way = way, .quiet = true};
				struct extract *extract;

				if (extract__open(&t.map, layout, &options, &extract, NULL))
					continue;
				assert_int_equal(extract__read(extract, true, &batch), 0);
				batch__sort(&batch);
				table__equal(&batch, &all);
				assert_int_equal(table__left(&t), 0);
				table__fill(&t);
				extract__free(extract);
			}
			batch__free(&batch);
			batch__free(&all);
			table__free(&t);
		}
	layout__free(layout);
}

/* Asked for two entries at a time, the kernel refuses a bucket of three: the buffer has to grow. */
static void grows_for_a_full_bucket(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) { /* each map hashes in its own way */
		struct extract_map map = make(BPF_MAP_TYPE_HASH, 0, 4, sizeof(struct value), 64);
		struct extract_options options = {.way = EXTRACT_BATCH};
		struct extract *extract;
		struct batch batch;

		for (uint32_t key = 0; key < 64; key++)
			assert_int_equal(put(map.fd, key), 0);
		map.max_entries = 2;
		assert_int_equal(extract__open(&map, numbers, &options, &extract, NULL), 0);
		batch__init(&batch, numbers);
		assert_int_equal(extract__read(extract, false, &batch), 0);
		assert_in_range(batch.count, 4, 63); /* and it stops at its bound */
		check_records(&batch, 0);
		extract__free(extract);
		batch__free(&batch);
		close(map.fd);
	}
}

static void reads_long_values(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY,
					 BPF_MAP_TYPE_LRU_HASH};
	static const uint32_t sizes[] = {65536, 300001};

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		uint32_t type = types[i / 2], size = sizes[i % 2];
		struct layout *layout = new_layout(4, size, type == BPF_MAP_TYPE_ARRAY);
		struct table t = {.layout = layout};

		t = table__new(type, 0, layout, type == BPF_MAP_TYPE_LRU_HASH ? 1 : 100, 6);
		for (enum extract_way way = EXTRACT_BATCH; way <= EXTRACT_SINGLE; way++) {
			struct extract *extract = table__open(&t, way);
			struct batch batch, all = table__records(&t, 0, t.count);

			batch__init(&batch, layout);
			assert_int_equal(extract__read(extract, true, &batch), 0);
			batch__sort(&batch);
			table__equal(&batch, &all);
			table__fill(&t);
			batch__free(&batch);
			batch__free(&all);
			extract__free(extract);
		}
		table__free(&t);
		layout__free(layout);
	}
}

static void reads_a_million(void **state)
{
	const uint32_t count = 1000000, chunk = 10000;
	struct extract_map map = make(BPF_MAP_TYPE_HASH, 0, 4, 24, count);
	struct value *values = calloc(chunk, sizeof(*values));
	uint32_t *keys = calloc(chunk, sizeof(*keys));
	struct extract *extract;
	struct batch batch;

	(void)state;
	for (uint32_t first = 0; first < count; first += chunk) {
		uint32_t n = chunk;

		for (uint32_t i = 0; i < chunk; i++) {
			keys[i] = first + i;
			values[i] = value_of(first + i);
		}
		assert_int_equal(bpf_map_update_batch(map.fd, keys, values, &n, NULL), 0);
	}
	assert_int_equal(extract__open(&map, numbers, NULL, &extract, NULL), 0);
	batch__init(&batch, numbers);
	assert_int_equal(extract__read(extract, true, &batch), 0);
	assert_int_equal(batch.count, count);
	assert_int_equal(check_records(&batch, count), count);
	assert_int_equal(extract__read(extract, true, &batch), 0);
	assert_int_equal(batch.count, 0);
	assert_in_range(batch.capacity, count, 2 * count); /* kept */
	extract__free(extract);
	batch__free(&batch);
	free(keys);
	free(values);
	close(map.fd);
}

/* Whoever owns the map closes it, and another takes its number: the read goes on with its own. */
static void outlives_the_descriptor(void **state)
{
	struct layout *big = new_layout(4, 24, false);
	struct table t = table__new(BPF_MAP_TYPE_HASH, 0, big, 10000, 2);
	struct batch batch, all = table__records(&t, 0, t.count);
	struct extract *extract = table__open(&t, EXTRACT_BATCH);
	size_t stride = big->stride, count = 0;
	struct extract_map other;
	int more, fd = t.map.fd;

	(void)state;
	batch__init(&batch, big);
	assert_int_equal(extract__start(extract, false), 0);
	more = extract__next(extract, &batch);
	assert_int_equal(more, 1);
	other = make(BPF_MAP_TYPE_HASH, 0, 4, 60000, 10);
	assert_int_equal(dup2(other.fd, fd), fd);
	for (; more > 0; more = extract__next(extract, &batch))
		count += batch.count;
	assert_int_equal(more, 0);
	count += batch.count;
	assert_int_equal(count, 10000);
	assert_int_equal(extract__read(extract, false, &batch), 0);
	batch__sort(&batch);
	assert_memory_equal(batch.records, all.records, stride * 10000);
	extract__free(extract);
	batch__free(&batch);
	batch__free(&all);
	close(other.fd);
	table__free(&t);
	layout__free(big);
}

static void says_what_is_wrong(void **state)
{
	struct extract_map map = make(BPF_MAP_TYPE_HASH, 0, 4, 24, 10);
	struct layout *wide = new_layout(4, 32, false);
	struct error error = {0};
	struct extract *extract;
	int fd = map.fd;

	(void)state;
	assert_int_equal(extract__open(&map, wide, NULL, &extract, &error), -EINVAL);
	assert_non_null(strstr(error.message, "24"));
	map.type = BPF_MAP_TYPE_LRU_HASH;
	assert_int_equal(extract__open(&map, numbers, NULL, &extract, &error), -EINVAL);
	assert_non_null(strstr(error.message, "lru_hash"));
	map.type = BPF_MAP_TYPE_HASH;
	map.fd = -1;
	assert_int_equal(extract__open(&map, numbers, NULL, &extract, &error), -EBADF);
	assert_non_null(strstr(error.message, "not there"));
	map.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(extract__open(&map, numbers, NULL, &extract, &error) < 0);
	close(map.fd);
	map.fd = fd;
	assert_int_equal(extract__open(&map, numbers,
				       &(struct extract_options){.way = EXTRACT_MAPPED}, &extract,
				       &error),
			 -EOPNOTSUPP);
	assert_non_null(strstr(error.message, "mapped"));
	assert_int_equal(extract__open(&map, numbers, NULL, &extract, &error), 0);
	struct batch batch;

	batch__init(&batch, wide);
	assert_int_equal(put(fd, 1), 0);
	assert_int_equal(extract__read(extract, true, &batch), -EINVAL);
	assert_int_equal(put(fd, 1), 0);
	extract__free(extract);
	extract__free(NULL);
	batch__free(NULL);
	layout__free(wide);
	close(fd);
	wide = new_layout(4, 24, true);
	map = make(BPF_MAP_TYPE_ARRAY, 0, 4, 24, 10);
	map.first = 5;
	map.entries = 6;
	assert_int_equal(extract__open(&map, wide, NULL, &extract, &error), -ERANGE);
	close(map.fd);
	layout__free(wide);
}

static void names_types_without_entries(void **state)
{
	static const struct {
		uint32_t type, key, value, entries;
		const char *name;
	} cases[] = {
		{BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, "ringbuf"},
		{BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, "perf_event_array"},
		{BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 10, "bloom_filter"},
		{BPF_MAP_TYPE_SOCKMAP, 4, 4, 2, "sockmap"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct extract_map map = make(cases[i].type, 0, cases[i].key, cases[i].value,
					      cases[i].entries);
		struct layout *layout = new_layout(cases[i].key, 4, false);
		struct error error = {0};
		struct extract *extract;

		assert_int_equal(extract__open(&map, layout, NULL, &extract, &error), -EOPNOTSUPP);
		assert_non_null(strstr(error.message, cases[i].name));
		layout__free(layout);
		close(map.fd);
	}
}

static void takes_from_queues(void **state)
{
	struct layout *layout = new_layout(0, 8, false);

	(void)state;
	for (int stack = 0; stack < 2; stack++) {
		struct extract_map map = make(stack ? BPF_MAP_TYPE_STACK : BPF_MAP_TYPE_QUEUE, 0, 0,
					      8, 5000);
		struct extract *look, *take;
		struct batch batch;

		batch__init(&batch, layout);
		assert_int_equal(extract__open(&map, layout, NULL, &look, NULL), 0);
		assert_int_equal(extract__open(&map, layout,
					       &(struct extract_options){.way = EXTRACT_POP}, &take,
					       NULL),
				 0);
		assert_int_equal(extract__read(look, false, &batch), 0);
		assert_int_equal(batch.count, 0);
		for (int round = 0; round < 2; round++) {
			for (uint64_t i = 0; i < 5000; i++)
				assert_int_equal(bpf_map_update_elem(map.fd, NULL, &i, BPF_ANY), 0);
			assert_int_equal(extract__read(look, false, &batch), 0); /* only its head */
			assert_int_equal(batch.count, 1);
			assert_int_equal(*(uint64_t *)batch.records, stack ? 4999 : 0);
			assert_int_equal(extract__read(round ? take : look, !round, &batch), 0);
			assert_int_equal(batch.count, 5000);
			for (uint64_t i = 0; i < 5000; i++)
				assert_int_equal(((uint64_t *)batch.records)[i],
						 stack ? 4999 - i : i);
			assert_int_equal(extract__read(take, false, &batch), 0);
			assert_int_equal(batch.count, 0);
		}
		extract__free(look);
		extract__free(take);
		batch__free(&batch);
		close(map.fd);
	}
	layout__free(layout);
}

static uint32_t id_of(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_map_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static void reads_maps_of_maps(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS};
	struct extract_map inner = make(BPF_MAP_TYPE_ARRAY, 0, 4, 4, 1);
	uint32_t inner_fd = (uint32_t)inner.fd, id = id_of(inner.fd);

	(void)state;
	for (int i = 0; i < 2; i++) {
		LIBBPF_OPTS(bpf_map_create_opts, opts, .inner_map_fd = inner_fd);
		struct layout *layout = new_layout(4, 4, !i);
		struct extract_map map = {.type = types[i], .max_entries = 8, .entries = 8};
		struct extract *extract;
		struct batch batch;

		map.fd = bpf_map_create((enum bpf_map_type)types[i], "test", 4, 4, 8, &opts);
		assert_true(map.fd >= 0);
		for (uint32_t key = 2; key < 8; key += 3) /* 2 and 5; the others stay empty */
			assert_int_equal(bpf_map_update_elem(map.fd, &key, &inner_fd, BPF_ANY), 0);
		batch__init(&batch, layout);
		for (int single = 0; single < 2; single++) {
			struct extract_options options = {.way = single ? EXTRACT_SINGLE
									: EXTRACT_BEST};

			assert_int_equal(extract__open(&map, layout, &options, &extract, NULL), 0);
			for (int clear = 0; clear <= single; clear++) {
				assert_int_equal(extract__read(extract, clear, &batch), 0);
				batch__sort(&batch);
				assert_int_equal(batch.count, 2);
				for (uint32_t n = 0; n < 2; n++) {
					uint32_t *record = (uint32_t *)(batch.records + 16 * n);

					assert_int_equal(record[0], 2 + 3 * n);
					assert_int_equal(record[2], id);
				}
			}
			if (single) {
				assert_int_equal(extract__read(extract, false, &batch), 0);
				assert_int_equal(batch.count, 0);
			}
			extract__free(extract);
		}
		batch__free(&batch);
		layout__free(layout);
		close(map.fd);
	}
	close(inner.fd);
}

/* Kinds that are read from key to key; nothing is in them here but what a map alone can have. */
static void walks_the_other_kinds(void **state)
{
	static const struct {
		uint32_t type, key, value;
	} cases[] = {
		{BPF_MAP_TYPE_STACK_TRACE, 4, 64}, {BPF_MAP_TYPE_PROG_ARRAY, 4, 4},
		{BPF_MAP_TYPE_SOCKHASH, 4, 8},	   {BPF_MAP_TYPE_SOCKMAP, 4, 8},
		{BPF_MAP_TYPE_DEVMAP, 4, 4},	   {BPF_MAP_TYPE_DEVMAP_HASH, 4, 4},
		{BPF_MAP_TYPE_CPUMAP, 4, 4},	   {BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 8},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct extract_map map = make(cases[i].type, 0, cases[i].key, cases[i].value, 4);
		struct layout *layout = new_layout(cases[i].key, cases[i].value, false);
		struct extract *extract;
		struct batch batch;
		uint32_t one = 1, cpu = 192;
		int err;

		batch__init(&batch, layout);
		assert_int_equal(extract__open(&map, layout, NULL, &extract, NULL), 0);
		assert_int_equal(extract__way(extract), EXTRACT_SINGLE);
		err = extract__read(extract, false, &batch);
		if (err)
			fail_msg("type %u: %s", cases[i].type, strerror(-err));
		assert_int_equal(batch.count, 0);
		if (cases[i].type == BPF_MAP_TYPE_DEVMAP_HASH ||
		    cases[i].type == BPF_MAP_TYPE_DEVMAP) {
			assert_int_equal(bpf_map_update_elem(map.fd, &one, &one, BPF_ANY),
					 0); /* lo */
			assert_int_equal(extract__read(extract, false, &batch), 0);
			assert_int_equal(batch.count, 1);
			assert_int_equal(*(uint32_t *)(batch.records + 8), 1);
		}
		if (cases[i].type == BPF_MAP_TYPE_CPUMAP) {
			assert_int_equal(bpf_map_update_elem(map.fd, &one, &cpu, BPF_ANY), 0);
			assert_int_equal(extract__read(extract, true, &batch), 0);
			assert_int_equal(batch.count, 1);
			assert_int_equal(extract__read(extract, true, &batch), 0);
			assert_int_equal(batch.count, 0);
		}
		extract__free(extract);
		batch__free(&batch);
		layout__free(layout);
		close(map.fd);
	}
}

static void reads_what_is_frozen(void **state)
{
	struct extract_map map = make(BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 4, 24, 10);
	struct layout *layout = new_layout(0, 24, false); /* as of a section .rodata: no key */
	struct value value = value_of(7);
	struct extract *extract;
	struct batch batch;
	uint32_t key = 3;

	(void)state;
	batch__init(&batch, layout);
	assert_int_equal(bpf_map_update_elem(map.fd, &key, &value, BPF_ANY), 0);
	assert_int_equal(bpf_map_freeze(map.fd), 0);
	assert_int_equal(extract__open(&map, layout, NULL, &extract, NULL), 0);
	assert_int_equal(extract__way(extract), EXTRACT_MAPPED);
	assert_int_equal(extract__read(extract, true, &batch), -EPERM);
	assert_int_equal(extract__read(extract, false, &batch), 0);
	assert_int_equal(batch.count, 10);
	assert_memory_equal(batch.records + 3 * sizeof(value), &value, sizeof(value));
	extract__free(extract);
	batch__free(&batch);
	layout__free(layout);
	close(map.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_while_others_write),
		cmocka_unit_test(clears_while_others_insert),
		cmocka_unit_test(reads_an_lru_under_pressure),
		cmocka_unit_test(walks_a_trie_in_use),
		cmocka_unit_test(reports_what_comes_back_later),
		cmocka_unit_test(reads_empty_and_full_maps),
		cmocka_unit_test(grows_for_a_full_bucket),
		cmocka_unit_test(reads_long_values),
		cmocka_unit_test(reads_a_million),
		cmocka_unit_test(outlives_the_descriptor),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(names_types_without_entries),
		cmocka_unit_test(takes_from_queues),
		cmocka_unit_test(reads_maps_of_maps),
		cmocka_unit_test(walks_the_other_kinds),
		cmocka_unit_test(reads_what_is_frozen),
	};

	return cmocka_run_group_tests_name("extract_edge", tests, setup, teardown);
}
