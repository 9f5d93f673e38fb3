/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/types.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/libbpf.h>

#include "../../bpf/ctl.h"
#include "loop/loop.h"
#include "probe/window.h"
#include "program.h"

#define ENTRIES 64
#define SOURCES 100 /* more than there are rows for */
#define RUNNERS 2
#define WINDOWS 50

enum { TOTALS, ROWS, OTHER, MAPS };
#define ALL ((1U << MAPS) - 1)

static const struct window_spec specs[MAPS] = {
	[TOTALS] = {.map = "hook_totals", .kind = WINDOW_ARRAY, .entries = 2, .index = "direction"},
	[ROWS] = {.map = "all_rows", .kind = WINDOW_MAP},
	[OTHER] = {.map = "all_other", .kind = WINDOW_ARRAY, .entries = 1},
};

/* The first of each record's counters is its packets; keys are 4 octets (arrays) and 20 (rows), padded to 8. */
static const size_t packets_at[MAPS] = {[TOTALS] = 8, [ROWS] = 24, [OTHER] = 8};

static unsigned char *object;
static size_t object_len;

struct fixture {
	struct probe *probe;
	struct window *window;
	struct batch batches[MAPS];
	int program;
};

static int setup_group(void **state)
{
	(void)state;
	object = program__compile(program_source, &object_len);
	return object ? 0 : -1;
}

static int teardown_group(void **state)
{
	(void)state;
	free(object);
	return 0;
}

/* Before its windows are made: every packet counts in the rows too. Returns 0. */
static int at_level_one(struct probe *probe)
{
	probe__ctl(probe)->state.level = 1;
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error error = {0};

	*state = f;
	if (!f || probe__open(object, object_len, "test", &f->probe, &error) ||
	    probe__set_entries(f->probe, "all_rows", ENTRIES, &error) ||
	    probe__load(f->probe, &error) || at_level_one(f->probe) ||
	    window__new(f->probe, specs, MAPS, &f->window, &error)) {
		fprintf(stderr, "%s\n", error.message);
		return -1;
	}
	for (size_t i = 0; i < MAPS; i++)
		batch__init(&f->batches[i], window__layout(f->window, i));
	f->program = probe__program(f->probe, "xdp_root");
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < MAPS; i++)
		batch__free(&f->batches[i]);
	window__free(f->window);
	probe__free(f->probe);
	free(f);
	return 0;
}

/*
 * The source's packet, so many times. Not with the kernel's own `repeat`: XDP's dispatcher is changed for that, which takes
 * a grace period of its own.
 */
static int run(int program, uint16_t source, int times)
{
	unsigned char frame[PROGRAM_FRAME];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));
	int err = 0;

	program__frame(source, frame);
	while (!err && times--)
		err = bpf_prog_test_run_opts(program, &opts);
	return err;
}

static uint64_t packets(const struct batch *batch, size_t map)
{
	uint64_t sum = 0, one;

	for (size_t i = 0; i < batch->count; i++) {
		memcpy(&one, batch->records + i * batch->layout->stride + packets_at[map],
		       sizeof(one));
		sum += one;
	}
	return sum;
}

static void drain(struct fixture *f)
{
	struct error error = {0};
	double seconds = -1;

	assert_int_equal(window__grace(f->window, &seconds, &error), 0);
	assert_true(seconds >= 0);
	seconds = -1;
	if (window__drain(f->window, ALL, true, f->batches, &seconds, &error))
		fail_msg("%s", error.message);
	assert_true(seconds >= 0);
}

static void flip(struct fixture *f, uint32_t level)
{
	assert_int_equal(window__flip(f->window, &(struct window_state){.level = (uint8_t)level},
				      NULL),
			 0);
}

static void flips_in_one_store(void **state)
{
	struct fixture *f = *state;
	struct ctl *ctl = probe__ctl(f->probe);

	assert_int_equal(window__count(f->window), MAPS);
	assert_int_equal(ctl->state.epoch, 0);
	flip(f, 1);
	assert_true(ctl->state.both == (1ULL << 32 | 1));
	/* A half that is not drained is not flipped into, and nothing changes by the attempt. */
	assert_int_equal(window__flip(f->window, &(struct window_state){.level = 0}, NULL), -EBUSY);
	assert_int_equal(window__flip(f->window, &(struct window_state){.level = 0}, NULL), -EBUSY);
	assert_true(ctl->state.both == (1ULL << 32 | 1));
	drain(f);
	flip(f, 0);
	assert_int_equal(ctl->state.epoch, 2);
	assert_int_equal(ctl->state.level, 0);
	drain(f);
	assert_int_equal(window__flip(f->window,
				      &(struct window_state){.level = 1, .thin = 3, .shed = 5},
				      NULL),
			 0);
	assert_true(ctl->state.both == (5ULL << 48 | 3ULL << 40 | 1ULL << 32 | 3));
}

static void a_window_has_its_own_packets(void **state)
{
	struct fixture *f = *state;

	for (int window = 1; window <= 5; window++) { /* both halves, more than once */
		for (int source = 0; source < window; source++)
			assert_int_equal(run(f->program, (uint16_t)source, window), 0);
		flip(f, 1);
		drain(f);
		assert_int_equal(f->batches[ROWS].count, window);
		assert_int_equal(packets(&f->batches[ROWS], ROWS), window * window);
		assert_int_equal(packets(&f->batches[TOTALS], TOTALS), window * window);
		assert_int_equal(packets(&f->batches[OTHER], OTHER), 0);
		assert_int_equal(f->batches[TOTALS].count, 2);
	}
	flip(f, 1);
	drain(f); /* a quiet one */
	assert_int_equal(f->batches[ROWS].count, 0);
	assert_int_equal(packets(&f->batches[TOTALS], TOTALS), 0);
}

/* XDP's frames may come in several buffers, the headers in any of them: the first has `linear` bytes. */
static void headers_behind_the_first_buffer_count(void **state)
{
	struct fixture *f = *state;
	unsigned char frame[PROGRAM_FRAME];
	struct xdp_md context = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &context, .ctx_size_in = sizeof(context));

	program__frame(7, frame);
	for (uint32_t linear = 14; linear <= PROGRAM_FRAME; linear++) {
		context.data_end = linear;
		int err = bpf_prog_test_run_opts(f->program, &opts);

		if (err == -EINVAL)
			skip(); /* before Linux 6.18 such frames cannot be made, nor made linear */
		assert_int_equal(err, 0);
	}
	flip(f, 1);
	drain(f);
	assert_int_equal(packets(&f->batches[TOTALS], TOTALS), PROGRAM_FRAME - 13);
	assert_int_equal(f->batches[ROWS].count, 1);
	assert_int_equal(packets(&f->batches[ROWS], ROWS), PROGRAM_FRAME - 13);
}

static void the_level_decides_what_is_counted(void **state)
{
	struct fixture *f = *state;

	flip(f, 0);
	drain(f);
	assert_int_equal(run(f->program, 1, 10), 0);
	flip(f, 1);
	drain(f);
	assert_int_equal(packets(&f->batches[TOTALS], TOTALS), 10);
	assert_int_equal(f->batches[ROWS].count, 0);
	/* A lease that has run out is the base level, one that has not is none. */
	probe__ctl(f->probe)->renewed = 1;
	assert_int_equal(run(f->program, 1, 10), 0);
	probe__ctl(f->probe)->renewed = loop__now();
	assert_int_equal(run(f->program, 1, 7), 0);
	flip(f, 1);
	drain(f);
	assert_int_equal(packets(&f->batches[TOTALS], TOTALS), 17);
	assert_int_equal(packets(&f->batches[ROWS], ROWS), 7);
}

static void drains_only_what_is_asked_for(void **state)
{
	struct fixture *f = *state;
	struct error error = {0};

	assert_int_equal(run(f->program, 1, 3), 0);
	flip(f, 1);
	assert_int_equal(window__drain(f->window, 1U << TOTALS, false, f->batches, NULL, &error),
			 0);
	assert_int_equal(packets(&f->batches[TOTALS], TOTALS), 3);
	assert_int_equal(f->batches[ROWS].count, 0);
	flip(f, 1);
	drain(f);
	flip(f, 1);
	drain(f); /* the same half again: what was left in it comes late */
	assert_int_equal(packets(&f->batches[ROWS], ROWS), 3);
	assert_int_equal(packets(&f->batches[TOTALS], TOTALS), 0);
}

static void looks_at_what_goes_on(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f->program, 1, 3), 0);
	flip(f, 1);
	assert_int_equal(run(f->program, 1, 5), 0); /* while the other half is yet to be drained */
	for (int i = 0; i < 2; i++) {		    /* it takes nothing away */
		assert_int_equal(window__look(f->window, TOTALS, &f->batches[TOTALS]), 0);
		assert_int_equal(packets(&f->batches[TOTALS], TOTALS), 5);
	}
	drain(f);
	assert_int_equal(packets(&f->batches[TOTALS], TOTALS), 3);
	probe__ctl(f->probe)->state.epoch++; /* as a trigger does */
	assert_int_equal(window__look(f->window, TOTALS, &f->batches[TOTALS]), -EAGAIN);
	probe__ctl(f->probe)->state.epoch--;
	flip(f, 1);
	drain(f);
	assert_int_equal(packets(&f->batches[TOTALS], TOTALS), 5);
}

static void rows_come_sorted(void **state)
{
	struct fixture *f = *state;
	size_t stride;

	for (int source = 50; source > 0; source--)
		assert_int_equal(run(f->program, (uint16_t)(source * 7 % 53), 1), 0);
	flip(f, 1);
	drain(f);
	stride = f->batches[ROWS].layout->stride;
	assert_int_equal(f->batches[ROWS].count, 50);
	for (size_t i = 1; i < 50; i++)
		assert_true(memcmp(f->batches[ROWS].records + (i - 1) * stride,
				   f->batches[ROWS].records + i * stride, 24) < 0);
}

static void a_full_map_is_counted_in_other(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 4; round++) {
		for (int source = 0; source < SOURCES; source++)
			assert_int_equal(run(f->program, (uint16_t)source, 2), 0);
		flip(f, 1);
		drain(f);
		assert_int_equal(f->batches[ROWS].count, ENTRIES);
		assert_int_equal(packets(&f->batches[ROWS], ROWS), 2 * ENTRIES);
		assert_int_equal(packets(&f->batches[OTHER], OTHER), 2 * (SOURCES - ENTRIES));
		assert_int_equal(packets(&f->batches[TOTALS], TOTALS), 2 * SOURCES);
	}
}

/* A map that cannot be read: the others are, the error says so, and its packets come with a later window. */
static void an_error_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct error error = {0};

	assert_int_equal(run(f->program, 1, 5), 0);
	flip(f, 1);
	f->batches[ROWS].layout = window__layout(f->window, OTHER); /* which is refused */
	assert_int_equal(window__drain(f->window, ALL, false, f->batches, NULL, &error), -EINVAL);
	assert_non_null(strstr(error.message, "reading a window"));
	assert_int_equal(packets(&f->batches[TOTALS], TOTALS), 5);
	assert_int_equal(f->batches[ROWS].count, 0);
	f->batches[ROWS].layout = window__layout(f->window, ROWS);
	assert_int_equal(run(f->program, 1, 2), 0);
	flip(f, 1); /* the failed drain is over: no -EBUSY for ever */
	drain(f);
	assert_int_equal(packets(&f->batches[ROWS], ROWS), 2);
	flip(f, 1);
	drain(f);
	assert_int_equal(packets(&f->batches[ROWS], ROWS), 5);
}

static void refuses_maps_that_are_not_there(void **state)
{
	static const struct window_spec wrong[] = {
		{.map = "no_map", .kind = WINDOW_MAP},
		{.map = "no_map", .kind = WINDOW_ARRAY, .entries = 1},
		{.map = "hook_totals", .kind = WINDOW_ARRAY, .entries = 3},
		{.map = "hook_totals", .kind = WINDOW_ARRAY, .entries = 2, .index = "no_enum"},
		{.map = "hook_totals", .kind = WINDOW_MAP},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct error error = {0};
		struct window *window = NULL;

		assert_true(window__new(f->probe, &wrong[i], 1, &window, &error) < 0);
		assert_null(window);
		assert_non_null(strstr(error.message, wrong[i].map));
	}
	assert_int_equal(window__new(f->probe, specs, WINDOW_MAPS_MAX + 1, &f->window, NULL),
			 -E2BIG);
	window__free(NULL);
}

struct runner {
	pthread_t thread;
	int program, failed;
	uint16_t first;
	uint64_t packets;
};

static atomic_bool enough;

static void *runs(void *arg)
{
	struct runner *runner = arg;

	for (uint16_t i = 0; !runner->failed && !atomic_load(&enough); i++) {
		runner->failed = run(runner->program, (uint16_t)((runner->first + i) % SOURCES), 1);
		runner->packets++;
	}
	return NULL;
}

/* Ends the window and reads it: rows + other = totals, which it returns. */
static uint64_t one_window(struct fixture *f, uint64_t *other)
{
	uint64_t total, rows;

	flip(f, 1);
	drain(f);
	total = packets(&f->batches[TOTALS], TOTALS);
	rows = packets(&f->batches[ROWS], ROWS);
	*other += packets(&f->batches[OTHER], OTHER);
	if (rows + packets(&f->batches[OTHER], OTHER) != total)
		fail_msg("%llu packets in rows, %llu in other, %llu in all",
			 (unsigned long long)rows,
			 (unsigned long long)packets(&f->batches[OTHER], OTHER),
			 (unsigned long long)total);
	return total;
}

/*
 * Packets on several CPUs while windows flip as fast as they can: in every window rows + other = totals, and over all of
 * them no packet is missing or doubled.
 */
static void no_packet_is_lost_between_windows(void **state)
{
	struct fixture *f = *state;
	struct runner runners[RUNNERS];
	uint64_t sum = 0, other = 0, sent = 0;

	atomic_store(&enough, false);
	for (int i = 0; i < RUNNERS; i++) {
		runners[i] = (struct runner){.program = f->program, .first = (uint16_t)(i * 37)};
		assert_int_equal(pthread_create(&runners[i].thread, NULL, runs, &runners[i]), 0);
	}
	for (int i = 0; i < WINDOWS; i++)
		sum += one_window(f, &other);
	atomic_store(&enough, true);
	for (int i = 0; i < RUNNERS; i++) {
		pthread_join(runners[i].thread, NULL);
		assert_int_equal(runners[i].failed, 0);
		sent += runners[i].packets;
	}
	assert_true(sum > 0); /* some of them came while windows flipped */
	sum += one_window(f, &other);
	assert_int_equal(sum, sent);
	printf("%llu packets in %d windows, %llu of them in other\n", (unsigned long long)sum,
	       WINDOWS + 1, (unsigned long long)other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(flips_in_one_store),
		TEST(a_window_has_its_own_packets),
		TEST(headers_behind_the_first_buffer_count),
		TEST(the_level_decides_what_is_counted),
		TEST(drains_only_what_is_asked_for),
		TEST(looks_at_what_goes_on),
		TEST(rows_come_sorted),
		TEST(a_full_map_is_counted_in_other),
		TEST(an_error_loses_nothing),
		TEST(refuses_maps_that_are_not_there),
		TEST(no_packet_is_lost_between_windows),
	};

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
