/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conservation under load, by twins over a program that knows nothing of them: real traffic over veth pairs on all CPUs, one twin on what
 * goes out and what comes in (two TCX links), one on what comes in, one on XDP. In each window all maps agree (an LRU map by what
 * is reported as evicted), and over all of them not one packet is missing or doubled.
 *
 * Then the same without the grace period, in a program that takes its time: packets are lost.
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

#include "../unit/foreign.h"
#include "../unit/netns.h"
#include "../unit/program.h"
#include "../unit/wire.h"
#include "load.h"
#include "probe/twin.h"

#define LATE_WINDOWS 100 /* most that wait for what has arrived but was not seen yet */

enum { FLOWS, OWN, RECENT, STATS, CPU_STATS, EVENTS, MAPS };
#define ALL ((1U << MAPS) - 1)

static const struct twin_spec specs[MAPS] = {
	[FLOWS] = {.map = "flows"},
	[OWN] = {.map = "own"},
	[RECENT] = {.map = "recent",
		    .field = "packets",
		    .total = "stats",
		    .total_field = "packets",
		    .total_index = FOREIGN_TOTAL},
	[STATS] = {.map = "stats"},
	[CPU_STATS] = {.map = "cpu_stats"},
	[EVENTS] = {.map = "events"},
};

struct turner {
	pthread_t thread;
	const char *name;
	int windows;
	struct twin *twin;
	struct batch batches[MAPS];
	int64_t evicted[MAPS];
	uint64_t packets, gone; /* in all windows; evicted of them */
	uint64_t sums[MAPS];	/* of rows, not judged */
	double skew, swap;	/* s, the longest */
	bool judged;		/* every window is expected to agree with itself */
	char failed[256];
};

static int pairs[2][LOAD_SENDERS]; /* sockets on a0 and a1, one for each sender */

static int prepare(struct turner *t, const void *object, size_t len, struct error *error)
{
	int err = twin__open(object, len, t->name, &t->twin, error);

	if (!err)
		err = twin__load(t->twin, error);
	if (!err)
		err = twin__window(t->twin, specs, MAPS, error);
	for (size_t i = 0; !err && i < MAPS; i++)
		batch__init(&t->batches[i], twin__layout(t->twin, i));
	return err;
}

static void attach(struct turner *t, const char *program, enum hook hook, const char *interface)
{
	struct error error = {0};
	const char *mode = "";

	if (twin__attach(t->twin, program, hook, (int)if_nametoindex(interface), ATTACH_AUTO, &mode,
			 &error))
		fail_msg("%s", error.message);
	assert_string_equal(mode, hook == HOOK_XDP ? "native" : "tcx");
}

static void judge(struct turner *t, int window)
{
	const struct batch *b = t->batches;
	uint64_t packets = load__sum(&b[STATS], "packets", FOREIGN_TOTAL);
	const uint64_t found[MAPS] = {
		[FLOWS] = load__sum(&b[FLOWS], "packets", -1),
		[OWN] = load__sum(&b[OWN], "packets", -1),
		[RECENT] = load__sum(&b[RECENT], "packets", -1) + (uint64_t)t->evicted[RECENT],
		[STATS] = packets,
		[CPU_STATS] = load__sum(&b[CPU_STATS], "packets", FOREIGN_TOTAL),
		[EVENTS] = load__sum(&b[EVENTS], "packets", -1) +
			   load__sum(&b[STATS], "packets", FOREIGN_FULL),
	};

	for (size_t i = 0; i < MAPS; i++) {
		t->sums[i] += found[i];
		if (t->judged && found[i] != packets)
			load__failed(t->failed, sizeof(t->failed),
				     "%s, window %d: %s has %llu packets of %llu", t->name, window,
				     specs[i].map, (unsigned long long)found[i],
				     (unsigned long long)packets);
	}
	if (t->judged && t->evicted[RECENT] < 0)
		load__failed(t->failed, sizeof(t->failed), "%s, window %d: evicted %lld", t->name,
			     window, (long long)t->evicted[RECENT]);
	t->packets += packets;
	t->gone += (uint64_t)t->evicted[RECENT];
}

static void turn(struct turner *t, int window)
{
	struct error error = {0};
	struct twin_cost cost;
	int err = twin__swap(t->twin, &cost, &error);

	if (!err)
		err = twin__drain(t->twin, ALL, false, t->batches, t->evicted, &cost, &error);
	if (err) {
		load__failed(t->failed, sizeof(t->failed), "%s, window %d: %d, %s", t->name, window,
			     err, error.message);
		return;
	}
	judge(t, window);
	t->skew = cost.skew > t->skew ? cost.skew : t->skew;
	t->swap = cost.swap > t->swap ? cost.swap : t->swap;
}

static void *turns(void *arg)
{
	struct turner *t = arg;

	for (int i = 0; i < t->windows && !t->failed[0]; i++)
		turn(t, i);
	return NULL;
}

/* The global variable that the program counts every packet in, which both instances share. */
static uint64_t seen(struct turner *t)
{
	struct error error = {0};
	struct batch batch;
	uint64_t value = 0;
	size_t number;

	if (twin__find(t->twin, ".bss", &number, &error))
		fail_msg("%s", error.message);
	batch__init(&batch, twin__layout(t->twin, number));
	if (twin__read(t->twin, number, false, &batch, &error))
		fail_msg("%s", error.message);
	memcpy(&value, batch.records + batch.layout->value_offset, sizeof(value));
	batch__free(&batch);
	return value;
}

static void release(struct turner *t)
{
	for (size_t i = 0; i < MAPS; i++)
		batch__free(&t->batches[i]);
	twin__free(t->twin);
}

static int send_both(void *arg, int sender, uint64_t number)
{
	(void)arg;
	return wire__send(pairs[number % 2][sender], (uint16_t)(number % FOREIGN_KEYS));
}

static int send_first(void *arg, int sender, uint64_t number)
{
	(void)arg;
	return wire__send(pairs[0][sender], (uint16_t)(number % FOREIGN_KEYS));
}

static uint64_t went_out(const char *name)
{
	struct rtnl_link_stats stats = wire__stats(name);

	return (uint64_t)stats.tx_packets + stats.tx_dropped;
}

enum { BOTH_WAYS, INCOMING, XDP, TWINS };
static struct turner twins[TWINS] = {
	[BOTH_WAYS] = {.name = "out and in, TCX", .windows = 400, .judged = true},
	[INCOMING] = {.name = "in, TCX", .windows = 400, .judged = true},
	[XDP] = {.name = "XDP", .windows = 250, .judged = true},
};

static void finish(struct turner *t, uint64_t expected)
{
	for (int i = 0; i < LATE_WINDOWS && !t->failed[0] && (!i || t->packets < expected); i++)
		turn(t, t->windows + i);
	if (t->failed[0])
		fail_msg("%s", t->failed);
	printf("%s: %llu packets of %llu in %d windows, %llu of them evicted; longest swap %.3f ms, skew %.3f ms\n",
	       t->name, (unsigned long long)t->packets, (unsigned long long)expected, t->windows,
	       (unsigned long long)t->gone, t->swap * 1000, t->skew * 1000);
	assert_int_equal(t->packets, expected);
	assert_int_equal(seen(t), expected);
	assert_true(t->gone > 0 && t->gone < t->packets);
}

static void conserve_every_count(void **state)
{
	struct load load;
	struct error error = {0};
	uint64_t sent, in[2];
	size_t len = 0;
	unsigned char *object = program__compile(foreign_source, &len);

	(void)state;
	assert_non_null(object);
	for (int i = 0; i < TWINS; i++)
		if (prepare(&twins[i], object, len, &error))
			fail_msg("%s", error.message);
	for (int i = 0; i < TWINS; i++)
		twins[i].windows = load__windows(twins[i].windows);
	free(object);
	attach(&twins[BOTH_WAYS], "watch", HOOK_TC_EGRESS, "a0");
	attach(&twins[BOTH_WAYS], "watch", HOOK_TC_INGRESS, "b0");
	attach(&twins[INCOMING], "watch", HOOK_TC_INGRESS, "b0");
	attach(&twins[XDP], "watch_xdp", HOOK_XDP, "b1");
	assert_int_equal(load__start(&load, send_both, NULL), 0);
	for (int i = 0; i < TWINS; i++)
		assert_int_equal(pthread_create(&twins[i].thread, NULL, turns, &twins[i]), 0);
	for (int i = 0; i < TWINS; i++)
		pthread_join(twins[i].thread, NULL);
	sent = load__stop(&load);
	assert_true(sent > 0);
	assert_int_equal(went_out("a0") + went_out("a1"), sent); /* and nothing else */
	in[0] = wire__stats("b0").rx_packets;
	in[1] = wire__stats("b1").rx_packets;
	finish(&twins[BOTH_WAYS], went_out("a0") + in[0]);
	finish(&twins[INCOMING], in[0]);
	finish(&twins[XDP], in[1]);
	assert_true(twins[BOTH_WAYS].skew > 0);
	assert_true(twins[INCOMING].skew == 0);
	for (int i = 0; i < TWINS; i++)
		release(&twins[i]);
}

/* How many of the packets sent are in no row of `flows` or `own`, after so many windows. */
static uint64_t missing(const void *object, size_t len, int windows)
{
	struct turner slow = {.name = "slow", .windows = windows};
	struct load load;
	struct error error = {0};
	uint64_t sent, lost;

	if (prepare(&slow, object, len, &error))
		fail_msg("%s", error.message);
	attach(&slow, "watch", HOOK_TC_EGRESS, "a0");
	assert_int_equal(load__start(&load, send_first, NULL), 0);
	turns(&slow);
	sent = load__stop(&load);
	for (int i = 0; i < 2; i++) /* both instances */
		turn(&slow, slow.windows + i);
	if (slow.failed[0])
		fail_msg("%s", slow.failed);
	assert_true(sent > 0 && seen(&slow) == sent); /* each of them ran the program */
	lost = (sent - slow.sums[FLOWS]) + (sent - slow.sums[OWN]);
	release(&slow);
	return lost;
}

static void what_the_grace_period_is_for(void **state)
{
	static const char source[] =
		"#define FOREIGN_DELAY 5000\n" FOREIGN_HEAD FOREIGN_COUNT FOREIGN_PROGRAMS;
	size_t len = 0;
	unsigned char *object = program__compile(source, &len);
	uint64_t without = 0, with;

	(void)state;
	assert_non_null(object);
	setenv("PERILUNE_FAULT_NO_GRACE", "1", 1);
	for (int i = 0; i < 20 && !without; i++) /* it takes a packet just then */
		without = missing(object, len, 1000);
	unsetenv("PERILUNE_FAULT_NO_GRACE");
	with = missing(object, len, 100);
	free(object);
	printf("%llu counts lost without the grace period, %llu with it\n",
	       (unsigned long long)without, (unsigned long long)with);
	assert_int_equal(with, 0);
	assert_true(without > 0);
}

static int setup(void **state)
{
	(void)state;
	if (netns__enter() || wire__pair("a0", "b0") || wire__pair("a1", "b1"))
		return -1;
	for (int i = 0; i < LOAD_SENDERS; i++)
		for (int pair = 0; pair < 2; pair++) {
			pairs[pair][i] = wire__open(pair ? "a1" : "a0");
			if (pairs[pair][i] < 0)
				return -1;
		}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < LOAD_SENDERS; i++)
		for (int pair = 0; pair < 2; pair++)
			close(pairs[pair][i]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conserve_every_count),
		cmocka_unit_test(what_the_grace_period_is_for),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
