/* SPDX-License-Identifier: Apache-2.0 */
/* What gather takes, and what it leaves to others. That its records are right is test_extract's. */
#include <errno.h>

#include "extract/gather.h"
#include "table.h"

static struct layout *new_layout(uint32_t key_size, uint32_t value_size, uint32_t cpus)
{
	struct layout *layout;

	assert_int_equal(layout__new(&(struct layout_spec){.key_size = key_size,
							   .value_size = value_size,
							   .cpus = cpus},
				     &layout, NULL),
			 0);
	return layout;
}

static int open_one(uint32_t type, uint32_t flags, uint32_t key, uint32_t value, uint32_t cpus,
		    struct error *error)
{
	struct layout *layout = new_layout(key, value, cpus);
	struct table t = table__new(type, flags, layout, 2, 7);
	struct gather *gather = NULL;
	int err = gather__open(&t.map, layout, NULL, 0, &gather, error);

	gather__free(gather);
	table__free(&t);
	layout__free(layout);
	return err;
}

static void takes_hashes_and_arrays(void **state)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH,
					 BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_ARRAY,
					 BPF_MAP_TYPE_PERCPU_ARRAY};
	static const uint32_t sizes[] = {1, 8, 13, 500, 504};
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
			if (open_one(types[i], 0, 4, sizes[s], 1, &error))
				fail_msg("type %u, %u bytes: %s", types[i], sizes[s],
					 error.message);
	assert_int_equal(open_one(BPF_MAP_TYPE_HASH, 0, 504, 8, 1, &error),
			 0); /* the longest key */
}

static void says_why_not(void **state)
{
	uint32_t cpus = (uint32_t)libbpf_num_possible_cpus();
	struct error error;

	(void)state;
	assert_int_equal(open_one(BPF_MAP_TYPE_HASH, 0, 4, 505, 1, &error), -EOPNOTSUPP);
	assert_non_null(strstr(error.message, "too long"));
	assert_int_equal(open_one(BPF_MAP_TYPE_LPM_TRIE, 0, 8, 8, 1, &error), -EOPNOTSUPP);
	assert_int_equal(open_one(BPF_MAP_TYPE_LRU_PERCPU_HASH, 0, 8, 8, 1, &error), -EOPNOTSUPP);
	assert_non_null(strstr(error.message, "type"));
	if (cpus > 1) {
		assert_int_equal(open_one(BPF_MAP_TYPE_PERCPU_HASH, 0, 8, 8, cpus, &error),
				 -EOPNOTSUPP);
		assert_non_null(strstr(error.message, "apart"));
	}
	/* The program could not clear it. */
	assert_int_equal(open_one(BPF_MAP_TYPE_ARRAY, BPF_F_RDONLY_PROG, 4, 8, 1, &error),
			 -EOPNOTSUPP);
	assert_non_null(strstr(error.message, "kernel"));
}

static void leaves_floats_to_others(void **state)
{
	struct btf *btf = btf__new_empty();
	int number = btf__add_float(btf, "double", 8);
	struct layout *layout;
	struct gather *gather;
	struct error error;
	struct table t;

	(void)state;
	assert_int_equal(layout__new(&(struct layout_spec){.btf = btf,
							   .key_size = 4,
							   .value_type = (uint32_t)number,
							   .value_size = 8},
				     &layout, NULL),
			 0);
	t = table__new(BPF_MAP_TYPE_PERCPU_HASH, 0, layout, 2, 7);
	assert_int_equal(gather__open(&t.map, layout, NULL, 0, &gather, &error), -EOPNOTSUPP);
	assert_non_null(strstr(error.message, "integers"));
	table__free(&t);
	t = table__new(BPF_MAP_TYPE_HASH, 0, layout, 2, 7); /* nothing is to be folded there */
	assert_int_equal(gather__open(&t.map, layout, NULL, 0, &gather, &error), 0);
	gather__free(gather);
	table__free(&t);
	layout__free(layout);
	btf__free(btf);
}

static void filters_as_many_as_there_are(void **state)
{
	struct btf *btf = btf__new_empty();
	int number = btf__add_int(btf, "u64", 8, 0);
	struct extract_filter filters[EXTRACT_FILTERS];
	const unsigned char *records;
	struct layout *layout;
	struct gather *gather;
	struct table t;
	size_t count;

	(void)state;
	assert_int_equal(layout__new(&(struct layout_spec){.btf = btf,
							   .key_size = 4,
							   .value_type = (uint32_t)number,
							   .value_size = 8},
				     &layout, NULL),
			 0);
	t = table__new(BPF_MAP_TYPE_HASH, 0, layout, 100, 7);
	for (size_t i = 0; i < EXTRACT_FILTERS; i++)
		filters[i] = (struct extract_filter){layout__field(layout, "value"), FILTER_GE, 0};
	for (int none = 0; none < 2; none++) {
		assert_int_equal(gather__open(&t.map, layout, filters, EXTRACT_FILTERS, &gather,
					      NULL),
				 0);
		assert_int_equal(gather__run(gather, false, &records, &count), 0);
		assert_int_equal(count, none ? 0 : 100);
		gather__free(gather);
		filters[EXTRACT_FILTERS - 1].op = FILTER_LT;
	}
	table__free(&t);
	layout__free(layout);
	btf__free(btf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_hashes_and_arrays),
		cmocka_unit_test(says_why_not),
		cmocka_unit_test(leaves_floats_to_others),
		cmocka_unit_test(filters_as_many_as_there_are),
	};

	gather__free(NULL);
	return cmocka_run_group_tests_name("gather", tests, NULL, NULL);
}
