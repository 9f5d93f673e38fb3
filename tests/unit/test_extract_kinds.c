/* SPDX-License-Identifier: Apache-2.0 */
/* How maps of each type are read here: what must hold on any kernel, and that trying leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "extract/extract_kinds.h"

static const struct extract_kind *find(const struct extract_kind *kinds, size_t count,
				       const char *type)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(kinds[i].type, type))
			return &kinds[i];
	fail_msg("there is no %s", type);
	return NULL;
}

static void ways_are_what_the_types_allow(void **state)
{
	struct extract_kind kinds[EXTRACT_KINDS_MAX];
	size_t count = extract_kinds__try(kinds);
	const struct extract_kind *hash = find(kinds, count, "hash");

	(void)state;
	assert_int_equal(find(kinds, count, "array, mapped")->quiet, EXTRACT_MAPPED);
	assert_int_equal(find(kinds, count, "array, mapped")->large, EXTRACT_MAPPED);
	assert_int_equal(find(kinds, count, "queue")->quiet, EXTRACT_POP);
	assert_int_equal(find(kinds, count, "queue")->used, EXTRACT_SINGLE);
	assert_int_equal(find(kinds, count, "ringbuf")->quiet, EXTRACT_RING);
	assert_int_equal(hash->result, 0);
	assert_int_not_equal(hash->used, EXTRACT_GATHER); /* its walk could go astray */
	assert_int_not_equal(hash->large, EXTRACT_GATHER);
	for (size_t i = 0; i < count; i++)
		assert_true(kinds[i].result <= 0);
}

static size_t own_maps(void)
{
	struct bpf_map_info info;
	size_t count = 0;
	uint32_t id = 0;

	while (!bpf_map_get_next_id(id, &id)) {
		uint32_t len = sizeof(info);
		int fd = bpf_map_get_fd_by_id(id);

		memset(&info, 0, sizeof(info));
		if (fd >= 0 && !bpf_map_get_info_by_fd(fd, &info, &len))
			count += !strncmp(info.name, "perilune_kind", sizeof(info.name));
		if (fd >= 0)
			close(fd);
	}
	return count;
}

static void leaves_no_map(void **state)
{
	struct extract_kind kinds[EXTRACT_KINDS_MAX];

	(void)state;
	extract_kinds__try(kinds);
	for (int tries = 0; own_maps() && tries < 1000; tries++)
		usleep(10000); /* maps go when the kernel gets round to it */
	assert_int_equal(own_maps(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ways_are_what_the_types_allow),
		cmocka_unit_test(leaves_no_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
