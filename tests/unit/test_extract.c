/* SPDX-License-Identifier: Apache-2.0 */
/* All ways to read a map give the same records, byte for byte. */
#include <errno.h>
#include <stdio.h>

#include "table.h"

struct folded {
	uint64_t packets;
	int32_t least;
	uint16_t most;
	int16_t change;
	uint64_t first, last; /* times */
	uint32_t sizes[3];
	uint32_t peer; /* in network order */
	uint8_t mac[6];
	uint8_t flags;
	int8_t level;
	union {
		uint64_t word;
		uint32_t halves[2];
	} either;
};

static struct btf *btf;
static struct layout *folded; /* key of 16 bytes */
static struct layout *folded_array;

static void add_members(void)
{
	int u8 = btf__add_int(btf, "u8", 1, 0), u16 = btf__add_int(btf, "u16", 2, 0);
	int u32 = btf__add_int(btf, "u32", 4, 0), u64 = btf__add_int(btf, "u64", 8, 0);
	int s8 = btf__add_int(btf, "s8", 1, BTF_INT_SIGNED);
	int s16 = btf__add_int(btf, "s16", 2, BTF_INT_SIGNED);
	int s32 = btf__add_int(btf, "s32", 4, BTF_INT_SIGNED);
	int time = btf__add_typedef(btf, "wall_ns", u64),
	    be32 = btf__add_typedef(btf, "__be32", u32);
	int sizes = btf__add_array(btf, u32, u32, 3), mac = btf__add_array(btf, u32, u8, 6);
	int halves = btf__add_array(btf, u32, u32, 2);
	int either = btf__add_union(btf, "either", 8);

	btf__add_field(btf, "word", u64, 0, 0);
	btf__add_field(btf, "halves", halves, 0, 0);
	btf__add_struct(btf, "folded", sizeof(struct folded));
	btf__add_field(btf, "packets", u64, 8 * offsetof(struct folded, packets), 0);
	btf__add_field(btf, "least", s32, 8 * offsetof(struct folded, least), 0);
	btf__add_field(btf, "most", u16, 8 * offsetof(struct folded, most), 0);
	btf__add_field(btf, "change", s16, 8 * offsetof(struct folded, change), 0);
	btf__add_field(btf, "first", time, 8 * offsetof(struct folded, first), 0);
	btf__add_field(btf, "last", time, 8 * offsetof(struct folded, last), 0);
	btf__add_field(btf, "sizes", sizes, 8 * offsetof(struct folded, sizes), 0);
	btf__add_field(btf, "peer", be32, 8 * offsetof(struct folded, peer), 0);
	btf__add_field(btf, "mac", mac, 8 * offsetof(struct folded, mac), 0);
	btf__add_field(btf, "flags", u8, 8 * offsetof(struct folded, flags), 0);
	btf__add_field(btf, "level", s8, 8 * offsetof(struct folded, level), 0);
	btf__add_field(btf, "either", either, 8 * offsetof(struct folded, either), 0);
}

static struct layout *new_folded(uint32_t key_size, bool index)
{
	struct layout *layout;

	assert_int_equal(layout__new(&(struct layout_spec){.btf = btf,
							   .key_size = key_size,
							   .index = index,
							   .value_type = (uint32_t)
								   btf__find_by_name(btf, "folded"),
							   .value_size = sizeof(struct folded)},
				     &layout, NULL),
			 0);
	assert_int_equal(layout__set_fold(layout, "packets", FOLD_SUM), 0);
	assert_int_equal(layout__set_fold(layout, "least", FOLD_MIN), 0);
	assert_int_equal(layout__set_fold(layout, "most", FOLD_MAX), 0);
	assert_int_equal(layout__set_fold(layout, "first", FOLD_MIN), 0);
	assert_int_equal(layout__set_fold(layout, "last", FOLD_MAX), 0);
	assert_int_equal(layout__set_fold(layout, "flags", FOLD_LAST), 0);
	assert_int_equal(layout__set_fold(layout, "level", FOLD_MIN), 0);
	return layout;
}

static int setup(void **state)
{
	(void)state;
	btf = btf__new_empty();
	add_members();
	folded = new_folded(16, false);
	folded_array = new_folded(4, true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	layout__free(folded);
	layout__free(folded_array);
	btf__free(btf);
	return 0;
}

static struct layout *bytes_layout(uint32_t key_size, uint32_t value_size, bool index,
				   uint32_t cpus)
{
	struct layout *layout;

	assert_int_equal(layout__new(&(struct layout_spec){.key_size = key_size,
							   .value_size = value_size,
							   .index = index,
							   .cpus = cpus},
				     &layout, NULL),
			 0);
	return layout;
}

static const struct kind {
	uint32_t type, flags;
	enum extract_way ways[5];
} kinds[] = {
	{BPF_MAP_TYPE_HASH, 0, {EXTRACT_GATHER, EXTRACT_BATCH, EXTRACT_SINGLE}},
	{BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, {EXTRACT_GATHER, EXTRACT_BATCH, EXTRACT_SINGLE}},
	{BPF_MAP_TYPE_LRU_HASH, 0, {EXTRACT_GATHER, EXTRACT_BATCH, EXTRACT_SINGLE}},
	{BPF_MAP_TYPE_PERCPU_HASH, 0, {EXTRACT_GATHER, EXTRACT_BATCH, EXTRACT_SINGLE}},
	{BPF_MAP_TYPE_LRU_PERCPU_HASH, 0, {EXTRACT_BATCH, EXTRACT_SINGLE}},
	{BPF_MAP_TYPE_LPM_TRIE, 0, {EXTRACT_BATCH, EXTRACT_SINGLE}},
	{BPF_MAP_TYPE_ARRAY, 0, {EXTRACT_GATHER, EXTRACT_BATCH, EXTRACT_SINGLE}},
	{BPF_MAP_TYPE_ARRAY,
	 BPF_F_MMAPABLE,
	 {EXTRACT_MAPPED, EXTRACT_GATHER, EXTRACT_BATCH, EXTRACT_SINGLE}},
	{BPF_MAP_TYPE_PERCPU_ARRAY, 0, {EXTRACT_GATHER, EXTRACT_BATCH, EXTRACT_SINGLE}},
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

/* What is left after a clear: nothing of a hash, zeros in an array. */
static void check_cleared(const struct table *t, struct extract *extract, struct batch *batch)
{
	static const unsigned char zeros[70000];

	assert_int_equal(extract__read(extract, false, batch), 0);
	if (!table__is_array(t->map.type)) {
		assert_int_equal(batch->count, 0);
		assert_int_equal(table__left(t), 0);
		return;
	}
	assert_int_equal(batch->count, t->count);
	for (size_t i = 0; i < batch->count; i++)
		assert_memory_equal(batch->records + i * t->layout->stride +
					    t->layout->value_offset,
				    zeros, t->layout->stride - t->layout->value_offset);
}

/* Reads by one way: whole, again, in chunks, and with clear. */
static void check_way(struct table *t, enum extract_way way)
{
	struct batch expected = table__records(t, 0, t->count), batch;
	struct extract *extract = table__open(t, way);
	size_t count = 0;
	int more;

	assert_int_equal(extract__way(extract), way);
	batch__init(&batch, t->layout);
	for (int clear = 0; clear < 2; clear++) {
		assert_int_equal(extract__read(extract, clear, &batch), 0);
		batch__sort(&batch);
		table__equal(&batch, &expected);
	}
	check_cleared(t, extract, &batch);
	table__fill(t);
	assert_int_equal(extract__start(extract, true), 0);
	do {
		more = extract__next(extract, &batch);
		assert_true(more >= 0);
		assert_in_range(batch.count, 0, 8192);
		count += batch.count;
	} while (more);
	assert_int_equal(count, t->count);
	assert_int_equal(extract__next(extract, &batch), 0); /* and it stays at its end */
	assert_int_equal(batch.count, 0);
	check_cleared(t, extract, &batch);
	table__fill(t);
	extract__free(extract);
	batch__free(&batch);
	batch__free(&expected);
}

static void check_kind(const struct kind *kind, struct layout *layout, uint32_t entries)
{
	struct table t = table__new(kind->type, kind->flags, layout, entries, 4711 + entries);

	for (const enum extract_way *way = kind->ways; *way; way++)
		if (*way != EXTRACT_GATHER || layout->stride <= 512)
			check_way(&t, *way);
	table__free(&t);
}

/* Small and large, odd and even; what does not go into a record of 512 bytes is not gathered. */
static void reads_every_kind_and_size(void **state)
{
	static const struct {
		uint32_t key, value, entries;
	} sizes[] = {{4, 1, 257},   {7, 3, 1000},   {16, 48, 10000}, {4, 12, 1},    {13, 475, 300},
		     {5, 505, 100}, {11, 4097, 50}, {40, 32768, 20}, {260, 8, 200}, {16, 24, 5000}};

	(void)state;
	for (size_t k = 0; k < KINDS; k++) {
		bool array = table__is_array(kinds[k].type);

		for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
			uint32_t key = array ? 4 : sizes[s].key;
			struct layout *layout = bytes_layout(key, sizes[s].value, array, 1);

			if (kinds[k].type != BPF_MAP_TYPE_LPM_TRIE || (key > 4 && key <= 260))
				check_kind(&kinds[k], layout, sizes[s].entries);
			layout__free(layout);
		}
	}
}

static void folds_alike(void **state)
{
	(void)state;
	for (size_t k = 0; k < KINDS; k++)
		for (uint32_t entries = 1; entries <= 5000; entries *= 17)
			check_kind(&kinds[k],
				   table__is_array(kinds[k].type) ? folded_array : folded, entries);
}

static void keeps_cpus_apart(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH,
					 BPF_MAP_TYPE_PERCPU_ARRAY};
	uint32_t cpus = (uint32_t)libbpf_num_possible_cpus();

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct layout *layout = bytes_layout(4, 13, table__is_array(types[i]), cpus);
		struct table t = table__new(types[i], 0, layout, 600, 99);

		assert_int_equal(layout->stride, 8 + 16 * cpus);
		check_way(&t, EXTRACT_BATCH);
		check_way(&t, EXTRACT_SINGLE);
		table__free(&t);
		layout__free(layout);
	}
}

static bool model(const struct extract_filter *f, const unsigned char *record)
{
	int64_t a = (int64_t)layout__number(f->field, record + f->field->offset);
	int64_t b = (int64_t)f->value;
	int order = f->field->is_signed ? (a > b) - (a < b)
					: ((uint64_t)a > f->value) - ((uint64_t)a < f->value);

	switch (f->op) {
	case FILTER_EQ:
		return order == 0;
	case FILTER_NE:
		return order != 0;
	case FILTER_LT:
		return order < 0;
	case FILTER_LE:
		return order <= 0;
	case FILTER_GT:
		return order > 0;
	default:
		return order >= 0;
	}
}

static void check_filters(struct table *t, const struct kind *kind,
			  const struct extract_filter *filters, size_t nfilters)
{
	struct batch all = table__records(t, 0, t->count), batch;
	size_t stride = t->layout->stride, kept = 0;

	for (size_t i = 0; i < all.count; i++) {
		bool wanted = true;

		for (size_t n = 0; n < nfilters; n++)
			wanted = wanted && model(&filters[n], all.records + i * stride);
		if (wanted)
			memmove(all.records + kept++ * stride, all.records + i * stride, stride);
	}
	all.count = kept;
	batch__init(&batch, t->layout);
	for (const enum extract_way *way = kind->ways; *way; way++) {
		struct extract_options options = {.way = *way,
						  .filters = filters,
						  .nfilters = nfilters};
		struct extract *extract;

		assert_int_equal(extract__open(&t->map, t->layout, &options, &extract, NULL), 0);
		assert_int_equal(extract__read(extract, true, &batch), 0);
		batch__sort(&batch);
		table__equal(&batch, &all);
		extract__free(extract);
		if (!table__is_array(t->map.type)) /* what is filtered out goes too */
			assert_int_equal(table__left(t), 0);
		table__fill(t);
	}
	batch__free(&batch);
	batch__free(&all);
}

static void filters_alike(void **state)
{
	static const char *const names[] = {"packets", "least", "most",	 "change",
					    "first",   "peer",	"flags", "level"};

	(void)state;
	for (size_t k = 0; k < KINDS; k++) {
		struct layout *layout = table__is_array(kinds[k].type) ? folded_array : folded;
		struct table t = table__new(kinds[k].type, kinds[k].flags, layout, 300, 12);
		struct batch all = table__records(&t, 0, t.count);

		for (int op = FILTER_EQ; op <= FILTER_GE; op++)
			for (size_t n = 0; n < 8; n++) {
				const struct field *f = layout__field(layout, names[n]);
				const unsigned char *middle = all.records + 140 * layout->stride;
				struct extract_filter filters[2] = {
					{f, (enum filter_op)op,
					 layout__number(f, middle + f->offset)},
					{layout__field(layout, "packets"), FILTER_NE, 0}};

				check_filters(&t, &kinds[k], filters, 1 + n % 2);
			}
		batch__free(&all);
		table__free(&t);
	}
}

static void refuses_filters(void **state)
{
	struct table t = table__new(BPF_MAP_TYPE_HASH, 0, folded, 1, 1);
	struct extract_filter filters[EXTRACT_FILTERS + 1] = {{layout__field(folded, "mac"), 0, 0}};
	struct extract_options options = {.filters = filters, .nfilters = 1};
	struct error error;
	struct extract *extract;

	(void)state;
	assert_int_equal(extract__open(&t.map, folded, &options, &extract, &error), -EINVAL);
	assert_non_null(strstr(error.message, "mac"));
	filters[0].field = layout__field(folded, "sizes");
	assert_int_equal(extract__open(&t.map, folded, &options, &extract, &error), -EINVAL);
	options.nfilters = EXTRACT_FILTERS + 1;
	assert_int_equal(extract__open(&t.map, folded, &options, &extract, &error), -E2BIG);
	table__free(&t);
}

/* A part in the middle: read, cleared, nothing else touched; keys count from its start. */
static void reads_part_of_an_array(void **state)
{
	(void)state;
	for (size_t k = 0; k < KINDS; k++) {
		struct table t;

		if (!table__is_array(kinds[k].type))
			continue;
		t = table__new(kinds[k].type, kinds[k].flags, folded_array, 10000, 5);
		for (const enum extract_way *way = kinds[k].ways; *way; way++) {
			struct batch part = table__records(&t, 100, 5000), batch;
			struct batch before = table__records(&t, 0, 100);
			struct extract *extract;

			batch__init(&batch, folded_array);
			t.map.first = 100;
			t.map.entries = 5000;
			extract = table__open(&t, *way);
			assert_int_equal(extract__read(extract, true, &batch), 0);
			batch__sort(&batch);
			table__equal(&batch, &part);
			extract__free(extract);
			t.map.first = 0;
			t.map.entries = 100;
			extract = table__open(&t, *way);
			assert_int_equal(extract__read(extract, false, &batch), 0);
			batch__sort(&batch);
			table__equal(&batch, &before);
			extract__free(extract);
			t.map.entries = 0;
			extract = table__open(&t, *way);
			assert_int_equal(extract__read(extract, true, &batch), 0);
			assert_int_equal(batch.count, 0);
			extract__free(extract);
			batch__free(&part);
			batch__free(&before);
			batch__free(&batch);
			table__fill(&t);
		}
		table__free(&t);
	}
}

static void chooses_the_best(void **state)
{
	static const struct {
		uint32_t type, flags, entries;
		enum extract_way way;
	} cases[] = {
		{BPF_MAP_TYPE_HASH, 0, EXTRACT_GATHER_MAX, EXTRACT_GATHER},
		{BPF_MAP_TYPE_HASH, 0, EXTRACT_GATHER_MAX + 1, EXTRACT_BATCH},
		{BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 100, EXTRACT_MAPPED},
		{BPF_MAP_TYPE_ARRAY, 0, EXTRACT_GATHER_MAX + 1, EXTRACT_BATCH},
		{BPF_MAP_TYPE_LPM_TRIE, 0, 100, EXTRACT_BATCH},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct layout *layout = table__is_array(cases[i].type) ? folded_array : folded;
		struct table t = table__new(cases[i].type, cases[i].flags, layout, 1, 1);
		struct extract *extract;

		close(t.map.fd);
		t.map.max_entries = t.map.entries = cases[i].entries;
		t.map.fd = bpf_map_create(
			(enum bpf_map_type)t.map.type, "test", t.key_size, layout->value_size,
			cases[i].entries,
			&(struct bpf_map_create_opts){.sz = sizeof(struct bpf_map_create_opts),
						      .map_flags = t.map.flags});
		for (int quiet = 0; quiet < 2; quiet++) {
			struct extract_options options = {.quiet = quiet};
			enum extract_way way = cases[i].way;

			if (!quiet && way == EXTRACT_GATHER) /* its walk needs a map at rest */
				way = EXTRACT_BATCH;
			assert_int_equal(extract__open(&t.map, layout, &options, &extract, NULL),
					 0);
			assert_int_equal(extract__way(extract), way);
			extract__free(extract);
		}
		table__free(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_kind_and_size),
		cmocka_unit_test(folds_alike),
		cmocka_unit_test(keeps_cpus_apart),
		cmocka_unit_test(filters_alike),
		cmocka_unit_test(refuses_filters),
		cmocka_unit_test(reads_part_of_an_array),
		cmocka_unit_test(chooses_the_best),
	};

	return cmocka_run_group_tests_name("extract", tests, setup, teardown);
}
