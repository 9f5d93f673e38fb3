/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/types.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../bpf/ctl.h"
#include "capture/replay.h"
#include "probe/window.h"
#include "program.h"

enum { TOTALS, ROWS, MAPS };

static const struct window_spec specs[MAPS] = {
	[TOTALS] = {.map = "hook_totals", .kind = WINDOW_ARRAY, .entries = 2, .index = "direction"},
	[ROWS] = {.map = "all_rows", .kind = WINDOW_MAP},
};

/* As the programs have them; the key in front is padded to 8 octets. */
struct totals {
	uint64_t direction, packets, skbs, bytes, frame_bytes, not_ip, truncated, malformed;
	uint64_t bad_length, bad_headers, bad_transport;
};

struct row {
	unsigned char key[24];
	uint64_t packets, skbs, bytes, first, last;
};

static struct probe *probe;
static struct window *window;
static struct batch batches[MAPS];
static int program;

/* Before its windows are made: every packet counts in the rows too. Returns 0. */
static int at_level_one(struct probe *probe)
{
	probe__ctl(probe)->state.level = 1;
	return 0;
}

static int setup(void **state)
{
	struct error error = {0};
	size_t len;
	unsigned char *object = program__compile(program_source, &len);

	(void)state;
	if (!object || probe__open(object, len, "test", &probe, &error) ||
	    probe__load(probe, &error) || at_level_one(probe) ||
	    window__new(probe, specs, MAPS, &window, &error)) {
		fprintf(stderr, "%s\n", error.message);
		return -1;
	}
	free(object);
	for (size_t i = 0; i < MAPS; i++)
		batch__init(&batches[i], window__layout(window, i));
	program = probe__program(probe, "xdp_root");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < MAPS; i++)
		batch__free(&batches[i]);
	window__free(window);
	probe__free(probe);
	return 0;
}

static void run(const unsigned char *data, uint32_t captured, uint32_t wire, uint64_t time)
{
	const struct capture_frame frame = {data, captured, wire, time};
	struct error error = {0};

	if (replay__frame(probe, program, &frame, &error))
		fail_msg("%u octets: %s", captured, error.message);
}

/* What was counted since the last time. */
static struct totals counted(void)
{
	struct totals totals;

	assert_int_equal(window__flip(window, &(struct window_state){.level = 1}, NULL), 0);
	assert_int_equal(window__drain(window, 3, true, batches, NULL, NULL), 0);
	assert_int_equal(batches[TOTALS].layout->stride, sizeof(totals));
	assert_int_equal(batches[ROWS].layout->stride, sizeof(struct row));
	memcpy(&totals, batches[TOTALS].records, sizeof(totals));
	return totals;
}

static struct row only_row(void)
{
	struct row row;

	assert_int_equal(batches[ROWS].count, 1);
	memcpy(&row, batches[ROWS].records, sizeof(row));
	return row;
}

static void frames_keep_their_time(void **state)
{
	unsigned char frame[PROGRAM_FRAME];
	static const uint64_t times[] = {1, 1542796231281919123ULL, UINT64_MAX};
	struct row row;

	(void)state;
	program__frame(1, frame);
	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
		run(frame, sizeof(frame), sizeof(frame), times[i]);
		assert_int_equal(counted().packets, 1);
		row = only_row();
		assert_true(row.first == times[i] && row.last == times[i]);
	}
	run(frame, sizeof(frame), sizeof(frame), 3000);
	run(frame, sizeof(frame), sizeof(frame), 1000);
	run(frame, sizeof(frame), sizeof(frame), 2000);
	assert_int_equal(counted().packets, 3);
	row = only_row();
	assert_true(row.first == 1000 && row.last == 3000);
	/* Time 0 would mean "live": the earliest there is takes its place, and not this machine's clock. */
	run(frame, sizeof(frame), sizeof(frame), 0);
	assert_int_equal(counted().packets, 1);
	row = only_row();
	assert_true(row.first == 1 && row.last == 1);
}

/* Shorter than an Ethernet header: padded for the kernel, but still as short for the program. */
static void short_frames_are_truncated(void **state)
{
	unsigned char frame[PROGRAM_FRAME];

	(void)state;
	program__frame(1, frame);
	for (uint32_t len = 0; len < 14; len++) {
		struct totals totals;

		run(frame, len, len, 5);
		totals = counted();
		assert_int_equal(totals.packets, 1);
		assert_int_equal(totals.truncated, 1);
		assert_int_equal(totals.bytes, 0);
		assert_int_equal(totals.frame_bytes, len ? len : 1);
		assert_int_equal(batches[ROWS].count, 0);
	}
	run(frame, 14, 14, 5); /* a whole header that promises IPv4 */
	assert_int_equal(counted().truncated, 1);
	run(frame, 34, 34, 5); /* IPv4 without what it promises */
	assert_int_equal(counted().bytes, 20);
}

/* Programs see the first 2048 octets, and know how many there were. */
static void long_frames_count_whole(void **state)
{
	static const uint32_t lengths[] = {2047, 2048, 2049, 5000, 65549};
	unsigned char *frame = calloc(1, 65549);

	(void)state;
	program__frame(1, frame);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		uint32_t total = lengths[i] - 14;
		struct totals totals;

		frame[16] = (unsigned char)(total >> 8);
		frame[17] = (unsigned char)total;
		run(frame, lengths[i], lengths[i], 5);
		totals = counted();
		assert_int_equal(totals.frame_bytes, lengths[i]);
		assert_int_equal(totals.bytes, total);
		assert_int_equal(only_row().bytes, total);
	}
	free(frame);
}

static void cut_captures_count_what_was_on_the_wire(void **state)
{
	unsigned char frame[PROGRAM_FRAME];
	struct totals totals;

	(void)state;
	program__frame(1, frame);
	frame[16] = 1500 >> 8;
	frame[17] = 1500 & 255;
	run(frame, sizeof(frame), 1514, 5);
	totals = counted();
	assert_int_equal(totals.frame_bytes, 1514);
	assert_int_equal(totals.bytes, 1500);
	run(frame, sizeof(frame), 10, 5); /* a file that lies: no less than is there */
	totals = counted();
	assert_int_equal(totals.frame_bytes, sizeof(frame));
	assert_int_equal(totals.bytes, 32);
}

static void says_what_cannot_be_run(void **state)
{
	unsigned char frame[PROGRAM_FRAME];
	const struct capture_frame one = {frame, sizeof(frame), sizeof(frame), 5};
	struct error error = {0};

	(void)state;
	program__frame(1, frame);
	assert_int_equal(replay__frame(probe, -1, &one, &error), -EBADF);
	assert_true(*error.message);
	assert_int_equal(counted().packets, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_keep_their_time),
		cmocka_unit_test(short_frames_are_truncated),
		cmocka_unit_test(long_frames_count_whole),
		cmocka_unit_test(cut_captures_count_what_was_on_the_wire),
		cmocka_unit_test(says_what_cannot_be_run),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
