/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of windowed map, one packet at a time. Under load: tests/fault/test_conservation.c. */
#include <errno.h>
#include <linux/types.h>
#include <pthread.h>
#include <sched.h>
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

#include "../../bpf/ctl.h"
#include "kinds.h"
#include "probe/window.h"
#include "program.h"

enum { TOTALS, ROWS, CPU_ROWS, OWN, SHARED, EVENTS, LATEST, RINGED, FULL, MAPS };
#define ALL ((1U << MAPS) - 1)

static const struct window_fold greatest[] = {{"last", FOLD_MAX}};
static const struct window_spec specs[MAPS] = {
	[TOTALS] = {.map = "hook_totals", .kind = WINDOW_ARRAY, .entries = 2, .index = "direction"},
	[ROWS] = {.map = "rows", .kind = WINDOW_MAP},
	[CPU_ROWS] = {.map = "cpu_rows", .kind = WINDOW_MAP, .folds = greatest, .nfolds = 1},
	[OWN] = {.map = "own",
		 .kind = WINDOW_ARRAY,
		 .entries = KINDS_SLOTS,
		 .folds = greatest,
		 .nfolds = 1},
	[SHARED] = {.map = "shared", .kind = WINDOW_ARRAY, .entries = KINDS_SLOTS},
	[EVENTS] = {.map = "events", .kind = WINDOW_MAP},
	[LATEST] = {.map = "latest", .kind = WINDOW_MAP},
	[RINGED] = {.map = "ringed", .kind = WINDOW_MAP},
	[FULL] = {.map = "full", .kind = WINDOW_ARRAY, .entries = 4},
};

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
	object = program__compile(kinds_source, &object_len);
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
	    probe__set_entries(f->probe, "events", 10, &error) ||
	    probe__set_entries(f->probe, "latest", 10, &error) ||
	    probe__set_entries(f->probe, "ringed", 10, &error) ||
	    probe__set_entries(f->probe, "cpu_rows", 100, &error) ||
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

static void run(struct fixture *f, uint16_t source)
{
	unsigned char frame[PROGRAM_FRAME];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));

	program__frame(source, frame);
	assert_int_equal(bpf_prog_test_run_opts(f->program, &opts), 0);
}

static void close_window(struct fixture *f, uint32_t level)
{
	struct error error = {0};
	double seconds;

	assert_int_equal(window__flip(f->window, &(struct window_state){.level = (uint8_t)level},
				      NULL),
			 0);
	assert_int_equal(window__grace(f->window, &seconds, &error), 0);
	if (window__drain(f->window, ALL, true, f->batches, &seconds, &error))
		fail_msg("%s", error.message);
}

static uint64_t number(const struct batch *batch, size_t record, const char *name)
{
	const struct field *field = layout__field(batch->layout, name);

	assert_non_null(field);
	assert_true(record < batch->count);
	return layout__number(field,
			      batch->records + record * batch->layout->stride + field->offset);
}

static uint64_t sum(const struct batch *batch, const char *name)
{
	uint64_t total = 0;

	for (size_t i = 0; i < batch->count; i++)
		total += number(batch, i, name);
	return total;
}

static void expect(struct fixture *f, uint64_t packets)
{
	static const size_t counted[] = {ROWS, CPU_ROWS, OWN, SHARED};
	const struct batch *full = &f->batches[FULL];

	for (size_t i = 0; i < sizeof(counted) / sizeof(*counted); i++)
		assert_int_equal(sum(&f->batches[counted[i]], "packets"), packets);
	assert_int_equal(f->batches[EVENTS].count + number(full, 0, "value"), packets);
	assert_int_equal(f->batches[LATEST].count + number(full, 1, "value"), packets);
	assert_int_equal(f->batches[RINGED].count + number(full, 3, "value"), packets);
}

static void each_kind_has_its_window(void **state)
{
	struct fixture *f = *state;

	for (int window = 1; window <= 5; window++) {
		for (int i = 0; i < window; i++)
			run(f, (uint16_t)i);
		close_window(f, 1);
		expect(f, (uint64_t)window);
		assert_int_equal(sum(&f->batches[TOTALS], "packets"), window);
		assert_int_equal(f->batches[EVENTS].count, window);
	}
	run(f, 1);
	close_window(f, 0);
	expect(f, 1);
	run(f, 1); /* at the base level */
	close_window(f, 1);
	expect(f, 0);
	assert_int_equal(sum(&f->batches[TOTALS], "packets"), 1);
}

static void queues_and_stacks_have_their_order(void **state)
{
	struct fixture *f = *state;

	for (int window = 0; window < 3; window++) {
		for (uint16_t i = 0; i < 7; i++)
			run(f, (uint16_t)(i * 3 % 7 + 50));
		close_window(f, 1);
		assert_int_equal(f->batches[EVENTS].count, 7);
		for (uint16_t i = 0; i < 7; i++) {
			assert_int_equal(number(&f->batches[EVENTS], i, "source"), i * 3 % 7 + 50);
			assert_int_equal(number(&f->batches[RINGED], i, "source"), i * 3 % 7 + 50);
			assert_int_equal(number(&f->batches[LATEST], 6U - i, "source"),
					 i * 3 % 7 + 50);
		}
	}
}

static void what_does_not_fit_is_counted(void **state)
{
	struct fixture *f = *state;

	for (int window = 0; window < 3; window++) {
		for (uint16_t i = 0; i < 25; i++)
			run(f, i);
		close_window(f, 1);
		expect(f, 25);
		assert_int_equal(f->batches[EVENTS].count, 10);
		assert_int_equal(number(&f->batches[FULL], 1, "value"), 15);
	}
}

/* A ring of whole pages: more than was asked for, and then full as well. Around its end and over, records stay whole. */
static void rings_fill_and_are_read_around_their_end(void **state)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), room = page / 16;
	struct fixture *f = *state;

	assert_int_equal(window__way(f->window, RINGED), EXTRACT_RING);
	for (uint64_t window = 0; window < 6; window++) {
		uint64_t packets = window % 2 ? room + 50 : room * 2 / 3;

		for (uint64_t i = 0; i < packets; i++)
			run(f, (uint16_t)(i % 90));
		close_window(f, 1);
		expect(f, packets);
		assert_in_range(f->batches[RINGED].count, window % 2 ? room - 1 : packets,
				packets < room ? packets : room);
		for (size_t i = 0; i < f->batches[RINGED].count; i++)
			assert_int_equal(number(&f->batches[RINGED], i, "source"), i % 90);
	}
}

static void on_cpu(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

/* Each CPU has noted another source in the same slot: the greatest is shown, though the sum is the type's own fold. */
static void folds_are_as_declared(void **state)
{
	struct fixture *f = *state;
	cpu_set_t before;
	int cpus;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	cpus = CPU_COUNT(&before);
	for (int cpu = 0, nth = 0; nth < cpus; cpu++) {
		if (!CPU_ISSET((size_t)cpu, &before))
			continue;
		on_cpu((unsigned int)cpu);
		run(f, (uint16_t)(4 * (cpus - nth++)));
	}
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	close_window(f, 1);
	assert_int_equal(number(&f->batches[OWN], 0, "last"), 4 * cpus);
	assert_int_equal(number(&f->batches[OWN], 0, "packets"), cpus);
	assert_int_equal(f->batches[CPU_ROWS].count, cpus);
}

static void refuses_what_cannot_be(void **state)
{
	static const struct window_fold colour[] = {{"colour", FOLD_MAX}};
	static const struct window_spec wrong[] = {
		{.map = "rows", .kind = WINDOW_MAP, .folds = colour, .nfolds = 1},
		{.map = "own", .kind = WINDOW_MAP},
		{.map = "rows", .kind = WINDOW_ARRAY, .entries = 1},
		{.map = "own", .kind = WINDOW_ARRAY, .entries = KINDS_SLOTS + 1},
	};
	static const char lru[] = "#include <perilune.h>\n"
				  "WINDOWED_ROWS_(recent, BPF_MAP_TYPE_LRU_HASH, __u32, __u64);\n"
				  "SEC(\"xdp\") int root(struct xdp_md *x) { return XDP_PASS; }\n"
				  "char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n";
	static const struct window_spec recent = {.map = "recent", .kind = WINDOW_MAP};
	struct fixture *f = *state;
	struct window *window = NULL;
	struct probe *probe = NULL;
	struct error error = {0};
	unsigned char *bytes;
	size_t len;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(window__new(f->probe, &wrong[i], 1, &window, &error), -ENOENT);
		assert_non_null(strstr(error.message, wrong[i].map));
	}
	bytes = program__compile(lru, &len);
	assert_non_null(bytes);
	assert_int_equal(probe__open(bytes, len, "test", &probe, &error), 0);
	assert_int_equal(probe__load(probe, &error), 0);
	assert_int_equal(window__new(probe, &recent, 1, &window, &error), -EINVAL);
	assert_non_null(strstr(error.message, "LRU"));
	assert_null(window);
	probe__free(probe);
	free(bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_kind_has_its_window),	    TEST(queues_and_stacks_have_their_order),
		TEST(what_does_not_fit_is_counted), TEST(rings_fill_and_are_read_around_their_end),
		TEST(folds_are_as_declared),	    TEST(refuses_what_cannot_be),
	};

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
