/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a ring buffer while somebody else takes from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "map/map_ring.h"
#include "map_test.h"

#define RECORD 8 /* bytes of what `fill` sends, and with its header: */
#define STORED 16
#define RECORDS (4096 / STORED) /* of which all but one fit */

static int setup(void **state)
{
	*state = test_maps();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	bpf_object__close(*state);
	return 0;
}

static void send(void **state, int times)
{
	for (int i = 0; i < times; i++)
		assert_int_equal(test_run(*state, "fill"), 0);
}

static struct map open_map(void **state)
{
	struct map map;

	assert_int_equal(map__open_fd(dup(test_map_fd(*state, "pm_ring")), &map, NULL), 0);
	return map;
}

/* How many there are now. */
static int count(struct map_ring *ring)
{
	const unsigned char *bytes;
	int got, n = 0;
	size_t len;

	while ((got = map_ring__next(ring, &bytes, &len)) > 0) {
		assert_int_equal(len, RECORD);
		assert_memory_equal(bytes, "\x18\0\0\0\x0a\0\0\x01", RECORD);
		n++;
	}
	assert_int_equal(got, 0);
	map_ring__release(ring);
	return n;
}

static void follows(void **state)
{
	struct map map = open_map(state);
	struct map_ring *look, *bounded, *take;

	assert_int_equal(map_ring__open(&map, false, &look, NULL), 0);
	assert_int_equal(map_ring__open(&map, false, &bounded, NULL), 0);
	assert_int_equal(count(look), 0);
	send(state, 5);
	map_ring__bound(bounded);
	assert_int_equal(count(look), 5);
	assert_int_equal(count(look), 0);
	send(state, 3);
	assert_int_equal(count(bounded), 5);
	assert_int_equal(count(look), 3);
	assert_int_equal(map_ring__open(&map, true, &take, NULL), 0);
	assert_int_equal(count(take), 8);
	assert_int_equal(count(take), 0);
	/* What was taken is still to be seen for whoever was there before, as long as nothing else is in its place. */
	send(state, 4);
	assert_int_equal(count(take), 4);
	assert_int_equal(count(look), 4);
	assert_int_equal(map_ring__missed(look), 0);
	map_ring__free(look);
	map_ring__free(bounded);
	map_ring__free(take);
	map__close(&map);
}

static void misses_what_was_overwritten(void **state)
{
	struct map map = open_map(state);
	struct map_ring *look, *take;
	int sent = 0, seen;

	assert_int_equal(map_ring__open(&map, false, &look, NULL), 0);
	assert_int_equal(map_ring__open(&map, true, &take, NULL), 0);
	for (int i = 0; i < 3; i++) {
		send(state, RECORDS - 1);
		sent += RECORDS - 1;
		if (i < 2)
			assert_int_equal(count(take), RECORDS - 1);
	}
	seen = count(look);
	assert_in_range(seen, 1, RECORDS - 1);
	assert_int_equal(seen + map_ring__missed(look) / STORED, sent);
	assert_int_equal(count(take), RECORDS - 1);
	map_ring__free(look);
	map_ring__free(take);
	map__close(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows),
		cmocka_unit_test(misses_what_was_overwritten),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
