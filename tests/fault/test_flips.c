/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conservation under load, by the epoch flip: several probes with every kind of windowed map, packets on all CPUs, thousands of windows
 * with changes of level between. In each window all maps agree, and over all of them not one packet is missing or doubled.
 *
 * Then the same without the grace period, in programs that take their time: some window does not agree.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/types.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../../bpf/ctl.h"
#include "../unit/kinds.h"
#include "../unit/program.h"
#include "load.h"
#include "probe/window.h"

#define PROBES 4 /* flip at the same time: their grace periods are the kernel's same ones */
#define WINDOWS 450
#define ATTEMPTS                                                                                   \
	20000 /* windows without a grace period: at the first that does not agree, the point is made */
#define SOURCES 150
#define ROOM 100 /* fewer rows than there are sources */

enum { TOTALS, ROWS, CPU_ROWS, OWN, SHARED, EVENTS, LATEST, RINGED, FULL, MAPS };
#define ALL ((1U << MAPS) - 1)

static const struct window_spec specs[MAPS] = {
	[TOTALS] = {.map = "hook_totals", .kind = WINDOW_ARRAY, .entries = 2, .index = "direction"},
	[ROWS] = {.map = "rows", .kind = WINDOW_MAP},
	[CPU_ROWS] = {.map = "cpu_rows", .kind = WINDOW_MAP},
	[OWN] = {.map = "own", .kind = WINDOW_ARRAY, .entries = KINDS_SLOTS},
	[SHARED] = {.map = "shared", .kind = WINDOW_ARRAY, .entries = KINDS_SLOTS},
	[EVENTS] = {.map = "events", .kind = WINDOW_MAP},
	[LATEST] = {.map = "latest", .kind = WINDOW_MAP},
	[RINGED] = {.map = "ringed", .kind = WINDOW_MAP},
	[FULL] = {.map = "full", .kind = WINDOW_ARRAY, .entries = 4},
};

struct flipper {
	pthread_t thread;
	struct probe *probe;
	struct window *window;
	struct batch batches[MAPS];
	int program;
	uint32_t level;
	uint64_t sent[LOAD_SENDERS];
	uint64_t packets, deep, pushed; /* in all windows; in those at level 1; in its queues */
	double worst;			/* s, of grace periods */
	int windows;
	char failed[256];
};

static struct flipper flippers[PROBES];

static int prepare(struct flipper *f, const void *object, size_t len, struct error *error)
{
	int err = probe__open(object, len, "test", &f->probe, error);

	for (size_t i = 0; !err && i < MAPS; i++)
		if (i == EVENTS || i == LATEST || i == RINGED)
			err = probe__set_entries(f->probe, specs[i].map, KINDS_PUSHED, error);
		else if (i == ROWS || i == CPU_ROWS)
			err = probe__set_entries(f->probe, specs[i].map, i == ROWS ? ROOM : SOURCES,
						 error);
	if (!err)
		err = probe__load(f->probe, error);
	if (err)
		return err;
	probe__ctl(f->probe)->state.level = 1;
	err = window__new(f->probe, specs, MAPS, &f->window, error);
	if (err)
		return err;
	for (size_t i = 0; i < MAPS; i++)
		batch__init(&f->batches[i], window__layout(f->window, i));
	f->program = probe__program(f->probe, "xdp_root");
	f->level = 1;
	return 0;
}

static void release(struct flipper *f)
{
	for (size_t i = 0; i < MAPS; i++)
		batch__free(&f->batches[i]);
	window__free(f->window);
	probe__free(f->probe);
}

/* One packet to one of the probes. Not with the kernel's `repeat`: a grace period would last as long as all of them. */
static int send_one(void *arg, int sender, uint64_t number)
{
	struct flipper *f = &flippers[(number + (uint64_t)sender) % PROBES];
	unsigned char frame[PROGRAM_FRAME];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));
	int err;

	(void)arg;
	program__frame((uint16_t)(number % SOURCES), frame);
	err = bpf_prog_test_run_opts(f->program, &opts);
	f->sent[sender] += !err;
	return err;
}

/* What each kind of map says that the window counted. `rows` has room for some of the sources only. */
static void judge(struct flipper *f, uint64_t window)
{
	const struct batch *b = f->batches;
	uint64_t packets = load__sum(&b[TOTALS], "packets", -1);
	uint64_t expected = f->level ? packets : 0;
	const uint64_t found[] = {
		load__sum(&b[ROWS], "packets", -1) + load__sum(&b[FULL], "value", 2),
		load__sum(&b[CPU_ROWS], "packets", -1),
		load__sum(&b[OWN], "packets", -1),
		load__sum(&b[SHARED], "packets", -1),
		load__sum(&b[EVENTS], "packets", -1) + load__sum(&b[FULL], "value", 0),
		load__sum(&b[LATEST], "packets", -1) + load__sum(&b[FULL], "value", 1),
		load__sum(&b[RINGED], "packets", -1) + load__sum(&b[FULL], "value", 3),
	};

	for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++)
		if (found[i] != expected)
			load__failed(f->failed, sizeof(f->failed),
				     "window %llu at level %u: %s has %llu packets of %llu",
				     (unsigned long long)window, f->level, specs[ROWS + i].map,
				     (unsigned long long)found[i], (unsigned long long)expected);
	f->packets += packets;
	f->deep += expected;
	f->pushed += b[EVENTS].count;
}

static void close_window(struct flipper *f, uint64_t window, uint32_t next)
{
	struct error error = {0};
	double grace;
	int err = window__flip(f->window, &(struct window_state){.level = (uint8_t)next}, NULL);

	if (!err)
		err = window__grace(f->window, &grace, &error);
	if (!err)
		err = window__drain(f->window, ALL, false, f->batches, NULL, &error);
	if (err)
		load__failed(f->failed, sizeof(f->failed), "window %llu: %d, %s",
			     (unsigned long long)window, err, error.message);
	else
		judge(f, window);
	if (!err && grace > f->worst)
		f->worst = grace;
	f->level = next;
}

static void *flips(void *arg)
{
	struct flipper *f = arg;

	for (int i = 0; i < f->windows && !f->failed[0]; i++)
		close_window(f, (uint64_t)i, i % 4 != 3);
	return NULL;
}

/* Windows of all probes at once, while packets are sent to them. */
static void run(const char *source, int windows)
{
	struct load load;
	struct error error = {0};
	size_t len = 0;
	unsigned char *object = program__compile(source, &len);

	assert_non_null(object);
	memset(flippers, 0, sizeof(flippers));
	for (int i = 0; i < PROBES; i++) {
		if (prepare(&flippers[i], object, len, &error))
			fail_msg("%s", error.message);
		flippers[i].windows = windows;
	}
	free(object);
	assert_int_equal(load__start(&load, send_one, NULL), 0);
	for (int i = 0; i < PROBES; i++)
		assert_int_equal(pthread_create(&flippers[i].thread, NULL, flips, &flippers[i]), 0);
	for (int i = 0; i < PROBES; i++)
		pthread_join(flippers[i].thread, NULL);
	assert_true(load__stop(&load) > 0);
}

static void conserves_every_count(void **state)
{
	uint64_t sent = 0, packets = 0, deep = 0, pushed = 0;
	double worst = 0;

	(void)state;
	run(kinds_source, load__windows(WINDOWS));
	for (int i = 0; i < PROBES; i++) {
		struct flipper *f = &flippers[i];
		uint64_t own = 0;

		close_window(f, (uint64_t)f->windows, 1);
		if (f->failed[0])
			fail_msg("probe %d: %s", i, f->failed);
		for (int s = 0; s < LOAD_SENDERS; s++)
			own += f->sent[s];
		assert_int_equal(f->packets, own);
		sent += own;
		packets += f->packets;
		deep += f->deep;
		pushed += f->pushed;
		worst = f->worst > worst ? f->worst : worst;
		release(f);
	}
	assert_true(deep > 0 && deep < packets && pushed > 0);
	printf("%llu packets sent, %llu in %d windows, %llu of them at level 1; longest grace period %.0f ms\n",
	       (unsigned long long)sent, (unsigned long long)packets,
	       PROBES * (load__windows(WINDOWS) + 1), (unsigned long long)deep, worst * 1000);
}

static void what_the_grace_period_is_for(void **state)
{
	static const char delay[] = "#define PERILUNE_TEST_DELAY 5000\n";
	static char slow[sizeof(delay) + sizeof(kinds_source)];
	bool agreed = true;

	(void)state;
	snprintf(slow, sizeof(slow), "%s%s", delay, kinds_source);
	setenv("PERILUNE_FAULT_NO_GRACE", "1", 1);
	run(slow, ATTEMPTS);
	unsetenv("PERILUNE_FAULT_NO_GRACE");
	for (int i = 0; i < PROBES; i++) {
		if (flippers[i].failed[0])
			printf("without the grace period, probe %d: %s\n", i, flippers[i].failed);
		agreed = agreed && !flippers[i].failed[0];
		release(&flippers[i]);
	}
	assert_false(agreed);
	run(slow, 25);
	for (int i = 0; i < PROBES; i++) {
		if (flippers[i].failed[0])
			fail_msg("probe %d: %s", i, flippers[i].failed);
		release(&flippers[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conserves_every_count),
		cmocka_unit_test(what_the_grace_period_is_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
