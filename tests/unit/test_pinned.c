/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy without its process: what one has counted another reads, whatever the first was at when it ended; links stay; what does not fit is refused.
 */
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

#include <bpf/libbpf.h>
#include <net/if.h>

#include "../../bpf/ctl.h"
#include "netns.h"
#include "probe/pinned.h"
#include "probe/window.h"
#include "program.h"

#define ROOT "/sys/fs/bpf/perilune"
#define RUN ROOT "/lab/run"
#define FIRST 1000 /* seq */

enum { TOTALS, ROWS, OTHER, MAPS };
#define ALL ((1U << MAPS) - 1)

static const struct window_spec specs[MAPS] = {
	[TOTALS] = {.map = "hook_totals", .kind = WINDOW_ARRAY, .entries = 2, .index = "direction"},
	[ROWS] = {.map = "all_rows", .kind = WINDOW_MAP},
	[OTHER] = {.map = "all_other", .kind = WINDOW_ARRAY, .entries = 1},
};
/* Where packets are in a record, as in test_window. */
static const size_t packets_at[MAPS] = {[TOTALS] = 8, [ROWS] = 24, [OTHER] = 8};

static unsigned char *object;
static size_t object_len;
static unsigned char digest[LEDGER_DIGEST];

/* What a process has. */
struct process {
	struct pinned *pinned;
	struct probe *probe;
	struct window *window;
	struct batch batches[MAPS];
	struct error error;
};

static void open_probe(struct process *p)
{
	if (probe__open(object, object_len, "lab", &p->probe, &p->error) ||
	    probe__set_entries(p->probe, "all_rows", 64, &p->error))
		fail_msg("%s", p->error.message);
}

static void open_windows(struct process *p)
{
	if (window__new(p->probe, specs, MAPS, &p->window, &p->error))
		fail_msg("%s", p->error.message);
	for (size_t i = 0; i < MAPS; i++)
		batch__init(&p->batches[i], window__layout(p->window, i));
}

static void begin(struct process *p)
{
	const struct pinned_about about = {.digest = digest,
					   .version = "1.2",
					   .file = "lab.lua",
					   .seq = FIRST,
					   .wall = 5,
					   .mono = 6};

	*p = (struct process){0};
	open_probe(p);
	if (pinned__open(ROOT, "lab", &p->pinned, &p->error) || probe__load(p->probe, &p->error))
		fail_msg("%s", p->error.message);
	assert_false(pinned__found(p->pinned));
	if (pinned__begin(p->pinned, p->probe, &about, &p->error))
		fail_msg("%s", p->error.message);
	probe__ctl(p->probe)->state.level = 1;
	open_windows(p);
}

static void adopt(struct process *p)
{
	*p = (struct process){0};
	open_probe(p);
	if (pinned__open(ROOT, "lab", &p->pinned, &p->error))
		fail_msg("%s", p->error.message);
	assert_true(pinned__found(p->pinned));
	if (pinned__adopt(p->pinned, p->probe, digest, &p->error))
		fail_msg("%s", p->error.message);
	open_windows(p);
}

/* What the kernel does for a process that is killed: descriptors and memory go, pins stay. */
static void die(struct process *p)
{
	for (size_t i = 0; i < MAPS; i++)
		batch__free(&p->batches[i]);
	window__free(p->window);
	probe__leave(p->probe);
	probe__free(p->probe);
	pinned__leave(p->pinned);
}

static void end(struct process *p)
{
	for (size_t i = 0; i < MAPS; i++)
		batch__free(&p->batches[i]);
	window__free(p->window);
	probe__free(p->probe);
	pinned__remove(p->pinned);
	assert_int_equal(access(ROOT, F_OK), -1);
}

/* So many packets, of as many sources. */
static void count(struct process *p, uint16_t packets)
{
	unsigned char frame[PROGRAM_FRAME];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));
	int program = probe__program(p->probe, "xdp_root");

	for (uint16_t source = 0; source < packets; source++) {
		program__frame(source, frame);
		assert_int_equal(bpf_prog_test_run_opts(program, &opts), 0);
	}
}

static uint64_t packets(const struct process *p, size_t map)
{
	const struct batch *batch = &p->batches[map];
	uint64_t sum = 0, one;

	for (size_t i = 0; i < batch->count; i++) {
		memcpy(&one, batch->records + i * batch->layout->stride + packets_at[map],
		       sizeof(one));
		sum += one;
	}
	return sum;
}

static void flip(struct process *p)
{
	assert_int_equal(window__flip(p->window, &(struct window_state){.level = 1}, NULL), 0);
}

/* After the grace period: what the closed window has. */
static void read_window(struct process *p, uint64_t expected)
{
	double seconds;

	if (window__grace(p->window, &seconds, &p->error) ||
	    window__read(p->window, ALL, true, p->batches, NULL, &p->error))
		fail_msg("%s", p->error.message);
	assert_int_equal(packets(p, TOTALS), expected);
	assert_int_equal(packets(p, ROWS), expected);
}

static uint32_t epoch(const struct process *p)
{
	return probe__ctl(p->probe)->state.epoch;
}

static void exported(struct process *p, double sum)
{
	ledger__exported(pinned__ledger(p->pinned), epoch(p) - 1, &sum, 1);
}

static void clear(struct process *p)
{
	if (window__clear(p->window, ALL, &p->error))
		fail_msg("%s", p->error.message);
}

static double sum(const struct process *p)
{
	double sums[LEDGER_SUMS];

	return ledger__sums(pinned__ledger(p->pinned), sums) ? sums[0] : 0;
}

static void close_window(struct process *p, uint64_t expected)
{
	flip(p);
	read_window(p, expected);
	exported(p, sum(p) + (double)expected);
	clear(p);
}

static void assert_window(const struct process *p, uint32_t number, uint64_t seq)
{
	struct ledger_window window;

	assert_true(ledger__window(pinned__ledger(p->pinned), number, &window));
	assert_int_equal(window.seq, seq);
	assert_true(window.mono > 0 && window.wall > 0);
}

static void a_state_follows_from_two_words(void **state)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	static const struct {
		uint32_t epoch, exported, cleaned;
		int half;
	} cases[] = {
		{0, UINT32_MAX, UINT32_MAX, LEDGER_CLEAN},
		{1, UINT32_MAX, UINT32_MAX, LEDGER_QUIET},
		{1, 0, UINT32_MAX, LEDGER_CLEARING},
		{1, 0, 0, LEDGER_CLEAN},
		{8, 6, 6, LEDGER_QUIET},
		{8, 7, 6, LEDGER_CLEARING},
		{8, 7, 7, LEDGER_CLEAN},
		{8, 6, 7, LEDGER_INHERITED},
		{8, 5, 7, -EPROTO},
		{8, 5, 6, -EPROTO},
		{8, 5, 5, -EPROTO},
		{8, 8, 8, -EPROTO},
	};

	(void)state;
	assert_non_null(ledger);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ledger->exported = cases[i].exported;
		ledger->cleaned = cases[i].cleaned;
		assert_int_equal(ledger__half(ledger, cases[i].epoch), cases[i].half);
	}
	free(ledger);
}

static void goes_on_in_the_same_window(void **state)
{
	struct process p;

	(void)state;
	begin(&p);
	close_window(&p, 0);
	count(&p, 7);
	die(&p);
	adopt(&p);
	assert_int_equal(window__half(p.window), LEDGER_CLEAN);
	assert_int_equal(probe__ctl(p.probe)->state.level, 1);
	assert_window(&p, 1, FIRST + 1);
	count(&p, 7);
	close_window(&p, 14); /* before it was killed, and since */
	close_window(&p, 0);
	end(&p);
}

/* Killed before it has read, or read and not written out: the same window again, with the same counts. */
static void reads_again_what_is_not_written_out(void **state)
{
	struct process p;

	(void)state;
	begin(&p);
	close_window(&p, 0);
	count(&p, 5);
	flip(&p);
	die(&p);
	for (int again = 0; again < 3; again++) {
		adopt(&p);
		assert_int_equal(window__half(p.window), LEDGER_QUIET);
		assert_int_equal(window__flip(p.window, &(struct window_state){.level = 1}, NULL),
				 -EBUSY);
		count(&p, 3); /* of the window that goes on */
		read_window(&p, 5);
		assert_window(&p, 1, FIRST + 1);
		if (again < 2)
			die(&p);
	}
	exported(&p, 5);
	clear(&p);
	flip(&p);
	if (window__read(p.window, ALL, true, p.batches, NULL, &p.error))
		fail_msg("%s", p.error.message);
	assert_int_equal(packets(&p, TOTALS), 9);
	assert_int_equal(packets(&p, ROWS), 9);
	assert_window(&p, 2, FIRST + 2);
	end(&p);
}

/* Killed while it cleared: what is left is cleared, and not read. */
static void clears_what_is_written_out(void **state)
{
	struct process p;

	(void)state;
	begin(&p);
	count(&p, 5);
	flip(&p);
	read_window(&p, 5);
	exported(&p, 5);
	die(&p);
	adopt(&p);
	assert_int_equal(window__half(p.window), LEDGER_CLEARING);
	assert_true(sum(&p) == 5);
	clear(&p);
	close_window(&p, 0);
	close_window(&p, 0);
	end(&p);
}

/* A trigger's flip, of which nobody has heard: the epoch says so. */
static void a_flip_that_is_not_entered_is_found(void **state)
{
	struct process p;

	(void)state;
	begin(&p);
	count(&p, 4);
	probe__ctl(p.probe)->state.epoch++;
	die(&p);
	adopt(&p);
	assert_int_equal(window__half(p.window), LEDGER_QUIET);
	assert_window(&p, 1, FIRST + 1);
	read_window(&p, 4);
	end(&p);
}

/* Killed at the end of a window that a trigger has begun, when the one after it is entered already: each has its own number. */
static void what_is_intended_moves_no_number(void **state)
{
	struct process p;
	struct ctl *ctl;

	(void)state;
	begin(&p);
	ctl = probe__ctl(p.probe);
	ctl->flipped_at = 5;
	ctl->flipped_to = 1;
	ctl->flipped = 1;
	ctl->state.epoch = 1;
	close_window(&p, 0); /* finds it, and is of epoch 0 */
	ledger__intend(pinned__ledger(p.pinned), 2, 7, 8, 0);
	die(&p);
	adopt(&p);
	assert_window(&p, 1, FIRST + 1);
	close_window(&p, 0);
	assert_window(&p, 2, FIRST + 2);
	end(&p);
}

static void has_one_owner(void **state)
{
	struct process p;
	struct pinned *other;
	struct error error = {0};
	struct pinned_look look;

	(void)state;
	begin(&p);
	assert_int_equal(pinned__open(ROOT, "lab", &other, &error), -EBUSY);
	assert_non_null(strstr(error.message, "runs already"));
	assert_int_equal(pinned__look(ROOT, "lab", &look), 0);
	assert_true(look.whole && look.readable && look.alive);
	assert_int_equal(look.pid, getpid());
	assert_int_equal(look.seq, FIRST);
	assert_string_equal(look.version, "1.2");
	assert_string_equal(look.file, "lab.lua");
	assert_int_equal(pinned__look(ROOT, "nobody", &look), -ENOENT);
	end(&p);
	assert_int_equal(pinned__open("/tmp", "lab", &other, &error), -EOPNOTSUPP);
}

static void refuses_what_does_not_fit(void **state)
{
	static const unsigned char another[LEDGER_DIGEST] = "another";
	struct process p;
	struct error error = {0};
	struct pinned *other = NULL;

	(void)state;
	begin(&p);
	die(&p);
	p = (struct process){0};
	open_probe(&p);
	assert_int_equal(pinned__open(ROOT, "lab", &p.pinned, &p.error), 0);
	assert_int_equal(pinned__adopt(p.pinned, p.probe, another, &error), -ESTALE);
	assert_non_null(strstr(error.message, "perilune 1.2"));
	assert_non_null(strstr(error.hint, "perilune unpin lab"));
	pinned__ledger(p.pinned)->abi++;
	probe__free(p.probe);
	pinned__leave(p.pinned);
	assert_int_equal(pinned__open(ROOT, "lab", &other, &error), -ESTALE);
	assert_non_null(strstr(error.message, "perilune 1.2"));
	assert_int_equal(netns__run("rm -r " ROOT), 0);
}

/* A process that was killed before all was pinned has left nothing. */
static void forgets_what_is_not_whole(void **state)
{
	struct process p;

	(void)state;
	begin(&p);
	pinned__ledger(p.pinned)->magic = 0;
	die(&p);
	begin(&p);
	end(&p);
}

/* Nor has one that could not pin all. */
static void begins_only_with_all_of_it(void **state)
{
	const struct pinned_about about = {.digest = digest, .version = "1.2", .file = "lab.lua"};
	struct process p = {0};
	struct pinned_look look;

	(void)state;
	open_probe(&p);
	if (pinned__open(ROOT, "lab", &p.pinned, &p.error) || probe__load(p.probe, &p.error))
		fail_msg("%s", p.error.message);
	assert_int_equal(netns__run("bpftool map create " RUN "/links type array key 4 value 4 "
				    "entries 1 name x"),
			 0); /* in the place of a directory */
	assert_int_not_equal(pinned__begin(p.pinned, p.probe, &about, &p.error), 0);
	probe__free(p.probe);
	assert_int_equal(pinned__look(ROOT, "lab", &look), 0);
	assert_false(look.whole);
	pinned__leave(p.pinned);
	assert_int_equal(netns__run("rm -r " ROOT), 0);
}

/* As many as a policy of many levels and hooks has. */
static void adopts_many_programs(void **state)
{
	char *source = malloc(sizeof(program_source) + 4096), *at = source;
	unsigned char *few = object;
	size_t few_len = object_len;
	struct process p;

	(void)state;
	at += sprintf(at, "%s", program_source);
	for (int i = 0; i < 24; i++)
		at += sprintf(at, "SEC(\"xdp\") int more_%d(void *c) { return XDP_PASS; }\n", i);
	object = program__compile(source, &object_len);
	assert_non_null(object);
	begin(&p);
	count(&p, 2);
	die(&p);
	adopt(&p);
	count(&p, 2);
	close_window(&p, 4);
	end(&p);
	free(source);
	free(object);
	object = few;
	object_len = few_len;
}

static int links(void)
{
	return netns__run("test $(ls " RUN "/links | wc -l) = 1 && bpftool link | grep -q tcx");
}

static void links_stay(void **state)
{
	const struct probe_place place = {.hook = HOOK_TC_EGRESS,
					  .ifindex = (int)if_nametoindex("lo"),
					  .mode = ATTACH_AUTO,
					  .name = "lo"};
	const char *mode = NULL;
	struct process p;

	(void)state;
	begin(&p);
	assert_int_equal(probe__attach(p.probe, "tc_root", &place, &mode, &p.error), 0);
	assert_string_equal(mode, "tcx");
	assert_int_equal(links(), 0);
	die(&p);
	assert_int_equal(links(), 0);
	assert_int_equal(netns__run("ping -q -c 3 -i 0.01 127.0.0.1 >/dev/null"), 0);
	adopt(&p);
	assert_int_equal(probe__attach(p.probe, "tc_root", &place, &mode, &p.error), 0);
	assert_int_equal(links(), 0); /* no second one */
	flip(&p);
	if (window__read(p.window, 1U << TOTALS, true, p.batches, NULL, &p.error))
		fail_msg("%s", p.error.message);
	assert_int_equal(packets(&p, TOTALS), 6); /* requests and answers, while nobody was there */
	assert_int_equal(probe__drop_unclaimed(p.probe), 0);
	die(&p);
	adopt(&p); /* nobody asks for it */
	assert_int_equal(probe__drop_unclaimed(p.probe), 1);
	assert_int_not_equal(links(), 0);
	end(&p);
}

static int attach_lab(struct process *p, const char *name, enum attach_mode mode, const char **got)
{
	const struct probe_place place = {.hook = HOOK_XDP,
					  .ifindex = (int)if_nametoindex(name),
					  .mode = mode,
					  .name = name};

	p->error = (struct error){0};
	return probe__attach(p->probe, "xdp_root", &place, got, &p->error);
}

/* Another mode of XDP is attached in place of the one that was left; where there is no such mode, that one stays. */
static void links_change_their_mode(void **state)
{
	static const enum attach_mode modes[] = {ATTACH_GENERIC, ATTACH_NATIVE, ATTACH_GENERIC};
	static const char *const names[] = {"generic", "native", "generic"};
	const char *mode = NULL;
	struct process p;

	(void)state;
	assert_int_equal(netns__run("ip link add pinA type veth peer name pinB"), 0);
	begin(&p);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(attach_lab(&p, "pinA", modes[i], &mode), 0);
		assert_string_equal(mode, names[i]);
		assert_int_equal(netns__run("test $(ls " RUN "/links | wc -l) = 1"), 0);
		die(&p);
		adopt(&p);
	}
	assert_int_equal(attach_lab(&p, "pinA", ATTACH_AUTO, &mode), 0);
	assert_string_equal(mode, "generic"); /* whatever it was */
	assert_int_equal(attach_lab(&p, "lo", ATTACH_GENERIC, &mode), 0);
	die(&p);
	adopt(&p);
	assert_int_not_equal(attach_lab(&p, "lo", ATTACH_NATIVE, &mode), 0);
	assert_non_null(strstr(p.error.message, "native"));
	die(&p);
	assert_int_equal(netns__run("test $(ls " RUN "/links | wc -l) = 2"), 0);
	assert_int_equal(netns__run("ip link show lo | grep -q xdpgeneric"), 0);
	adopt(&p);
	assert_int_equal(probe__drop_unclaimed(p.probe), 2);
	end(&p);
	assert_int_equal(netns__run("ip link del pinA"), 0);
}

static int setup(void **state)
{
	(void)state;
	if (netns__enter() || mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL))
		return -1;
	object = program__compile(program_source, &object_len);
	if (!object)
		return -1;
	pinned__digest(object, object_len, "how", digest);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(object);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_state_follows_from_two_words),
		cmocka_unit_test(goes_on_in_the_same_window),
		cmocka_unit_test(reads_again_what_is_not_written_out),
		cmocka_unit_test(clears_what_is_written_out),
		cmocka_unit_test(a_flip_that_is_not_entered_is_found),
		cmocka_unit_test(what_is_intended_moves_no_number),
		cmocka_unit_test(has_one_owner),
		cmocka_unit_test(refuses_what_does_not_fit),
		cmocka_unit_test(forgets_what_is_not_whole),
		cmocka_unit_test(begins_only_with_all_of_it),
		cmocka_unit_test(adopts_many_programs),
		cmocka_unit_test(links_stay),
		cmocka_unit_test(links_change_their_mode),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
