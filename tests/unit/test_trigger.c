/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Triggers on a clock of the test's own: what trips, when, how often, and what the packet after the one that has tripped is counted in.
 */
#include <errno.h>
#include <linux/types.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/libbpf.h>

#include "../../bpf/ctl.h"
#include "loop/loop.h"
#include "probe/event.h"
#include "probe/window.h"
#include "program.h"

#define MS 1000000ULL
#define SLICE (50 * MS)
#define MOST 10 /* packets a slice that trip nothing */

/*
 * Level 0 has two triggers: more than MOST packets from even sources in a slice leads to level 1, and less than 3 packets in all in a slice
 * that is over leads nowhere. Level 1 counts rows.
 */
static const char source[] =
	"#define HOOK_CALLS\n"
	"#define HOOK_TRIGGERS\n"
	"#include <perilune.h>\n"
	"struct seen { __u64 even, all; };\n"
	"WINDOWED_ARRAY(seen, struct seen, 2);\n"
	"WINDOWED_HASH(rows, __u32, __u64);\n"
	"static __always_inline bool many_holds(const struct trigger_sums *sums) { return (__s64)sums->by[0] > 10; }\n"
	"static __always_inline bool few_holds(const struct trigger_sums *sums) { return -(__s64)sums->by[0] > -3; }\n"
	"TRIGGER(many, early, .index = 0, .fields = 1, .slice = 50000000, .to = 1)\n"
	"TRIGGER(few, whole, .index = 3, .fields = 1, .slice = 50000000, .to = 0)\n"
	"static __always_inline void count(struct packet *p)\n"
	"{\n"
	"	struct seen *value = half__value(&seen, p->half, 2, p->direction);\n"
	"	if (!value)\n"
	"		return;\n"
	"	value->even += !(p->src.octets[15] & 1);\n"
	"	value->all++;\n"
	"}\n"
	"static __always_inline void base(struct packet *p, void *ctx)\n"
	"{\n"
	"	typeof(*seen.value) *at = TRIGGER_LOOK(seen, p->half, 2, p->direction);\n"
	"	__u64 even = at ? at->even : 0, all = at ? at->all : 0;\n"
	"	count(p);\n"
	"	struct trigger_sums many = {.by = {at ? at->even - even : 0}};\n"
	"	struct trigger_sums few = {.by = {at ? at->all - all : 0}};\n"
	"	if (many.by[0])\n"
	"		many_count(&many, p->half, 0);\n"
	"	few_count(&few, p->half, 0);\n"
	"}\n"
	"static __always_inline void deep(struct packet *p, void *ctx)\n"
	"{\n"
	"	__u32 source = p->src.octets[15];\n"
	"	__u64 zero = 0, *row = half__row(&rows, p->half, &source, &zero);\n"
	"	count(p);\n"
	"	if (row)\n"
	"		count__shared(*row, 1);\n"
	"}\n"
	"LEVEL_XDP(xdp_level_base, NEED_BASE, base)\n"
	"LEVEL_XDP(xdp_level_deep, NEED_BASE, deep)\n"
	"SEC(\"xdp.frags\") int xdp_root(struct xdp_md *ctx)\n"
	"{\n"
	"	union ctl_state state = hook__state();\n"
	"	if (state.level)\n"
	"		LEVEL(xdp_level_deep, ctx, state, ingress);\n"
	"	else\n"
	"		LEVEL(xdp_level_base, ctx, state, ingress);\n"
	"	return XDP_PASS;\n"
	"}\n"
	"char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n";

enum { SEEN, ROWS, LOST, MAPS };
#define ALL ((1U << MAPS) - 1)

static const struct window_spec specs[MAPS] = {
	[SEEN] = {.map = "seen", .kind = WINDOW_ARRAY, .entries = 2},
	[ROWS] = {.map = "rows", .kind = WINDOW_MAP},
	[LOST] = {.map = "trigger_events_lost", .kind = WINDOW_ARRAY, .entries = 1},
};

/* As bpf/trigger.h has it. */
struct tripped {
	uint64_t time;
	uint64_t by[6];
	uint32_t epoch;
	uint8_t trigger, from, to, flipped;
};

static unsigned char *object;
static size_t object_len;

struct fixture {
	struct loop *loop;
	struct probe *probe;
	struct window *window;
	struct batch batches[MAPS];
	struct event_ring *ring;
	struct ctl *ctl;
	int program;
	struct tripped last;
	uint64_t now;
};

static int setup_group(void **state)
{
	(void)state;
	object = program__compile(source, &object_len);
	return object ? 0 : -1;
}

static int teardown_group(void **state)
{
	(void)state;
	free(object);
	return 0;
}

static void on_event(const void *event, size_t size, void *arg)
{
	struct fixture *f = arg;

	assert_int_equal(size, sizeof(f->last));
	memcpy(&f->last, event, size);
	for (int i = 1; i < 6; i++)
		assert_true(!f->last.by[i]);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error error = {0};

	*state = f;
	if (!f || loop__new(&f->loop) ||
	    probe__open(object, object_len, "test", &f->probe, &error) ||
	    probe__load(f->probe, &error) ||
	    window__new(f->probe, specs, MAPS, &f->window, &error) ||
	    event__open(f->loop, f->probe, "trigger_events", on_event, NULL, f, &f->ring, &error)) {
		fprintf(stderr, "%s\n", error.message);
		return -1;
	}
	for (size_t i = 0; i < MAPS; i++)
		batch__init(&f->batches[i], window__layout(f->window, i));
	f->program = probe__program(f->probe, "xdp_root");
	f->ctl = probe__ctl(f->probe);
	f->ctl->armed = f->ctl->raising = 1;
	f->now = 1000000 * MS + 3;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	event__free(f->ring);
	for (size_t i = 0; i < MAPS; i++)
		batch__free(&f->batches[i]);
	window__free(f->window);
	probe__free(f->probe);
	loop__free(f->loop);
	free(f);
	return 0;
}

/* So many packets of that source, all now. */
static void send(struct fixture *f, uint16_t from, int count)
{
	unsigned char frame[PROGRAM_FRAME];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));

	program__frame(from, frame);
	f->ctl->now = f->now;
	f->ctl->wire = PROGRAM_FRAME;
	while (count--)
		assert_int_equal(bpf_prog_test_run_opts(f->program, &opts), 0);
}

static int trips(struct fixture *f)
{
	return event__consume(f->ring);
}

static uint64_t sum(const struct batch *batch, const char *name)
{
	const struct field *field = layout__field(batch->layout, name);
	uint64_t all = 0;

	assert_non_null(field);
	for (size_t i = 0; i < batch->count; i++)
		all += layout__number(field,
				      batch->records + i * batch->layout->stride + field->offset);
	return all;
}

static struct window_flip flip(struct fixture *f, uint8_t level)
{
	struct window_flip flip;

	assert_int_equal(window__flip(f->window, &(struct window_state){.level = level}, &flip), 0);
	return flip;
}

/* Reads the window that was ended, which must have counted so many packets, `deep` of them at level 1. */
static void drain(struct fixture *f, uint64_t packets, uint64_t deep)
{
	assert_int_equal(window__drain(f->window, ALL, true, f->batches, NULL, NULL), 0);
	assert_int_equal(sum(&f->batches[SEEN], "all"), packets);
	assert_int_equal(sum(&f->batches[ROWS], "value"), deep);
}

static void the_next_packet_is_deeper(void **state)
{
	struct fixture *f = *state;
	struct window_flip how;

	send(f, 1, 40); /* odd: another counter */
	send(f, 2, MOST);
	f->now += 40 * MS;
	assert_int_equal(trips(f), 0);
	assert_false(window__is_raised(f->window));
	send(f, 2, 1);
	assert_true(window__is_raised(f->window));
	assert_true(f->ctl->state.both == (1ULL << 32 | 1)); /* level 1, epoch 1 */
	send(f, 2, 7);
	assert_int_equal(trips(f), 1);
	assert_true(f->last.time == f->now / 1000 && f->last.by[0] == MOST + 1 &&
		    f->last.epoch == 1);
	assert_true(!f->last.trigger && !f->last.from && f->last.to == 1 && f->last.flipped);
	/* The flip was that one: what follows it is the next window's, and nothing changes by finding out. */
	how = flip(f, 0);
	assert_true(f->ctl->state.both == (1ULL << 32 | 1));
	assert_true(how.by_trigger && how.began.level == 1 && how.deepest == 0 &&
		    how.time == f->now);
	drain(f, 40 + MOST + 1, 0);
	send(f, 3, 2);
	how = flip(f, 0);
	assert_true(!how.by_trigger && how.began.level == 0 && how.deepest == 1);
	assert_int_equal(f->ctl->state.epoch, 2);
	drain(f, 7 + 2, 7 + 2);
}

static void a_slice_forgets(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 9; i++) { /* more often than there are places for sums */
		send(f, 2, MOST);
		f->now += SLICE;
	}
	assert_int_equal(trips(f), 0);
	/* It begins with its first packet, wherever the last one began. */
	f->now += SLICE / 3;
	send(f, 2, 1);
	f->now += SLICE - 4;
	send(f, 2, MOST - 1);
	assert_int_equal(trips(f), 0);
	send(f, 2, 1);
	assert_int_equal(trips(f), 1);
}

static void is_told_once_a_slice_and_only_when_armed(void **state)
{
	struct fixture *f = *state;

	f->ctl->raising = 0;
	for (int i = 0; i < 3; i++) {
		send(f, 2, 5 * MOST);
		assert_int_equal(trips(f), 1);
		assert_true(f->last.by[0] == MOST + 1 && f->last.from == f->last.to &&
			    !f->last.flipped);
		f->now += SLICE;
	}
	assert_false(window__is_raised(f->window));
	f->ctl->armed = 0;
	f->ctl->raising = 1;
	send(f, 2, 5 * MOST);
	assert_int_equal(trips(f), 0);
	assert_false(window__is_raised(f->window));
}

/* While the other half is still to be drained, the level is raised in the window that goes on. */
static void raises_without_a_flip(void **state)
{
	struct fixture *f = *state;
	struct window_flip how;

	send(f, 1, 3);
	flip(f, 0);
	send(f, 2, MOST + 1);
	assert_int_equal(trips(f), 1);
	assert_true(f->last.epoch == 1 && f->last.to == 1 && !f->last.flipped);
	assert_true(f->ctl->state.both == (1ULL << 32 | 1));
	send(f, 2, 4);
	assert_int_equal(window__flip(f->window, &(struct window_state){0}, NULL), -EBUSY);
	drain(f, 3, 0);
	how = flip(f, 0); /* the level stays raised, as nobody knew of it yet */
	assert_true(how.by_trigger && how.began.level == 1 && how.deepest == 1);
	assert_true(f->ctl->state.both == (1ULL << 32 | 2));
	drain(f, MOST + 1 + 4, 4);
}

static void an_overdue_level_is_not_raised(void **state)
{
	struct fixture *f = *state;

	/* A packet of the base level, whose lease has run out: level 1 is in force by the control word. */
	flip(f, 0);
	drain(f, 0, 0);
	f->ctl->state.level = 1;
	send(f, 2, 3);
	assert_int_equal(trips(f), 0);
	assert_int_equal(f->ctl->state.level, 1);
}

static void what_can_fall_is_judged_when_the_slice_is_over(void **state)
{
	struct fixture *f = *state;

	f->ctl->armed = 1 << 3;
	send(f, 1, 3);
	f->now += SLICE;
	send(f, 1, 2); /* 3 were not too few */
	assert_int_equal(trips(f), 0);
	f->now += SLICE;
	assert_int_equal(trips(f), 0);
	send(f, 1, 50);
	assert_int_equal(trips(f), 1);
	assert_true(f->last.trigger == 3 && f->last.by[0] == 2 && f->last.from == f->last.to);
	/* After silence there is nothing to judge. */
	f->now += SLICE;
	send(f, 1, 1);
	f->now += 2 * SLICE;
	send(f, 1, 50);
	assert_int_equal(trips(f), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_next_packet_is_deeper, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slice_forgets, setup, teardown),
		cmocka_unit_test_setup_teardown(is_told_once_a_slice_and_only_when_armed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(raises_without_a_flip, setup, teardown),
		cmocka_unit_test_setup_teardown(an_overdue_level_is_not_raised, setup, teardown),
		cmocka_unit_test_setup_teardown(what_can_fall_is_judged_when_the_slice_is_over,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
