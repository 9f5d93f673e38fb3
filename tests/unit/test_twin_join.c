/* SPDX-License-Identifier: Apache-2.0 */
/* Two twins: maps that both use, links that one takes over; and records of two reads as one. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/types.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "foreign.h"
#include "netns.h"
#include "probe/twin.h"
#include "program.h"
#include "wire.h"

static const struct twin_spec flows[] = {{.map = "flows"}, {.map = "cpu_stats", .keep = true}};

static unsigned char *object;
static size_t object_len;
static int va, out;

static int setup_group(void **state)
{
	(void)state;
	object = program__compile(foreign_source, &object_len);
	if (!object || netns__enter() || wire__pair("tja", "tjb"))
		return -1;
	va = (int)if_nametoindex("tja");
	out = wire__open("tja");
	return out < 0 ? -1 : 0;
}

static int teardown_group(void **state)
{
	(void)state;
	free(object);
	close(out);
	return 0;
}

static void must(int err, const struct error *error)
{
	if (err)
		fail_msg("%s: %s", error__name(err), error->message);
}

static struct twin *opened(void)
{
	struct error error = {0};
	struct twin *twin = NULL;

	must(twin__open(object, object_len, "test", &twin, &error), &error);
	return twin;
}

static struct twin *loaded(const struct twin_spec *specs, size_t count)
{
	struct error error = {0};
	struct twin *twin = opened();

	must(twin__load(twin, &error), &error);
	if (count)
		must(twin__window(twin, specs, count, &error), &error);
	return twin;
}

static void attach(struct twin *twin)
{
	struct error error = {0};
	const char *mode;

	must(twin__attach(twin, "watch", HOOK_TC_EGRESS, va, ATTACH_AUTO, &mode, &error), &error);
}

static void send_many(int packets, int sources)
{
	for (int i = 0; i < packets; i++)
		assert_int_equal(wire__send(out, (uint16_t)(i % sources)), 0);
}

static uint64_t sum(const struct batch *batch)
{
	const struct field *field = layout__field(batch->layout, "packets");
	uint64_t total = 0;

	for (size_t i = 0; i < batch->count; i++)
		for (uint32_t n = 0; n < field->count; n++)
			total += layout__number(field, batch->records + i * batch->layout->stride +
							       layout__element(field, n));
	return total;
}

static uint64_t read_sum(struct twin *twin, const char *map)
{
	struct error error = {0};
	struct batch batch;
	size_t number;
	uint64_t total;

	must(twin__find(twin, map, &number, &error), &error);
	batch__init(&batch, twin__layout(twin, number));
	must(twin__read(twin, number, false, &batch, &error), &error);
	total = sum(&batch);
	batch__free(&batch);
	return total;
}

static uint64_t drain_sum(struct twin *twin, size_t number)
{
	struct batch batches[2];
	struct error error = {0};
	uint64_t total;

	for (size_t i = 0; i < 2; i++)
		batch__init(&batches[i], twin__layout(twin, i));
	must(twin__drain(twin, 1U << number, false, batches, NULL, NULL, &error), &error);
	total = sum(&batches[number]);
	for (size_t i = 0; i < 2; i++)
		batch__free(&batches[i]);
	return total;
}

static void links_change_hands_in_one_step(void **state)
{
	struct twin *old = loaded(NULL, 0), *fresh = loaded(flows, 2);
	struct error error = {0};

	(void)state;
	attach(old);
	send_many(10, 2);
	must(twin__adopt(fresh, old, &error), &error);
	send_many(7, 2);
	assert_int_equal(read_sum(old, "flows"), 10);
	assert_int_equal(read_sum(fresh, "flows"), 7);
	twin__free(old); /* takes nothing along */
	send_many(5, 2);
	must(twin__swap(fresh, NULL, &error), &error);
	assert_int_equal(drain_sum(fresh, 0), 12);
	assert_int_equal(twin__detach(fresh), 1);
	twin__free(fresh);
}

static void who_cannot_take_over_changes_nothing(void **state)
{
	struct twin *old = loaded(NULL, 0), *fresh = opened();
	struct error error = {0};

	(void)state;
	attach(old);
	assert_int_equal(twin__adopt(fresh, old, &error), -EINVAL);
	must(twin__load(fresh, &error), &error);
	attach(fresh);
	assert_int_equal(twin__adopt(fresh, old, &error), -EBUSY);
	assert_int_equal(twin__detach(fresh), 1);
	send_many(3, 1);
	assert_int_equal(read_sum(old, "flows"), 3);
	twin__free(fresh);
	twin__free(old);
}

static void a_shared_map_has_what_both_count(void **state)
{
	struct twin *first = loaded(NULL, 0), *second = opened();
	struct error error = {0};

	(void)state;
	assert_int_equal(twin__share(second, first, "nothing", &error), -ENOENT);
	must(twin__share(second, first, "flows", &error), &error);
	must(twin__load(second, &error), &error);
	assert_int_equal(twin__share(second, first, "own", &error), -EINVAL);
	attach(first);
	attach(second);
	send_many(4, 2);
	assert_int_equal(read_sum(first, "flows"), 8);
	assert_int_equal(read_sum(second, "flows"), 8);
	assert_int_equal(read_sum(second, "own"), 4);
	twin__free(first); /* the map stays, as long as one needs it */
	send_many(1, 1);
	assert_int_equal(read_sum(second, "flows"), 9);
	twin__free(second);
}

static void a_shared_map_may_have_windows(void **state)
{
	struct twin *first = loaded(flows, 2), *second = opened();
	struct error error = {0};

	(void)state;
	must(twin__share(second, first, "flows", &error), &error);
	must(twin__load(second, &error), &error);
	must(twin__window(second, NULL, 0, &error), &error);
	attach(first);
	attach(second);
	for (int window = 1; window <= 5; window++) {
		send_many(window * 10, 3);
		must(twin__swap(first, NULL, &error), &error);
		must(twin__swap(second, NULL, &error), &error);
		must(twin__drain(second, 0, false, NULL, NULL, NULL, &error), &error);
		assert_int_equal(drain_sum(first, 0), window * 20);
		assert_int_equal(read_sum(first, "flows"), 0);
	}
	twin__free(second);
	twin__free(first);
}

static void a_value_can_be_put(void **state)
{
	struct twin *twin = loaded(NULL, 0);
	struct error error = {0};
	uint32_t key = 1, value = 77;
	uint64_t wide = 1;
	size_t number;
	struct batch batch;

	(void)state;
	assert_int_equal(twin__put(twin, "config", &key, 4, &wide, 8, &error), -EINVAL);
	assert_int_equal(twin__put(twin, "confg", &key, 4, &value, 4, &error), -ENOENT);
	must(twin__put(twin, "config", &key, 4, &value, 4, &error), &error);
	must(twin__find(twin, "config", &number, &error), &error);
	batch__init(&batch, twin__layout(twin, number));
	must(twin__read(twin, number, false, &batch, &error), &error);
	assert_int_equal(batch.count, 1);
	assert_memory_equal(batch.records + batch.layout->value_offset, &value, 4);
	batch__free(&batch);
	twin__free(twin);
}

static void two_reads_become_one(void **state)
{
	struct twin *twin = loaded(flows, 2);
	struct error error = {0};
	struct batch all[2], more[2];
	size_t left;

	(void)state;
	attach(twin);
	for (size_t i = 0; i < 2; i++) {
		batch__init(&all[i], twin__layout(twin, i));
		batch__init(&more[i], twin__layout(twin, i));
	}
	for (int window = 1; window <= 50; window++) {
		send_many(window, window);
		must(twin__swap(twin, NULL, &error), &error);
		must(twin__drain(twin, 3, false, more, NULL, NULL, &error), &error);
		for (size_t i = 0; i < 2; i++)
			assert_int_equal(batch__merge(&all[i], &more[i], MERGE_FOLD, 100, &left),
					 0);
	}
	assert_int_equal(all[0].count, 50);
	assert_int_equal(sum(&all[0]), 50 * 51 / 2);
	assert_int_equal(all[1].count, FOREIGN_STATS);
	assert_int_equal(sum(&all[1]), 50 * 51 / 2); /* of all CPUs, kept apart */
	assert_int_equal(batch__merge(&all[0], &more[0], MERGE_NEWEST, 100, &left), 0);
	assert_int_equal(all[0].count, 50);
	assert_int_equal(sum(&all[0]), 50); /* every key's newest */
	assert_int_equal(batch__merge(&all[0], &more[1], MERGE_FOLD, 100, &left), -EINVAL);
	send_many(60, 60); /* ten of them have not been there */
	must(twin__swap(twin, NULL, &error), &error);
	must(twin__drain(twin, 3, false, more, NULL, NULL, &error), &error);
	assert_int_equal(batch__merge(&all[0], &more[0], MERGE_ABSENT, 57, &left), 0);
	assert_int_equal(left, 3);
	assert_int_equal(all[0].count, 57);
	assert_int_equal(sum(&all[0]), 57);
	for (size_t i = 0; i < 2; i++) {
		batch__free(&all[i]);
		batch__free(&more[i]);
	}
	twin__free(twin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links_change_hands_in_one_step),
		cmocka_unit_test(who_cannot_take_over_changes_nothing),
		cmocka_unit_test(a_shared_map_has_what_both_count),
		cmocka_unit_test(a_shared_map_may_have_windows),
		cmocka_unit_test(a_value_can_be_put),
		cmocka_unit_test(two_reads_become_one),
	};

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
