/* SPDX-License-Identifier: Apache-2.0 */
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
#include "probe/twin_impl.h"
#include "program.h"
#include "wire.h"

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

/* Programs in the manner of others, each with what a test is about. */
#define PASSES "(struct __sk_buff *skb)\n{\n	"
#define LICENCE "char LICENSE[] SEC(\"license\") = \"GPL\";\n"

static const char tails_source[] = FOREIGN_HEAD
	"static __always_inline void add(__u32 key) { struct row *row = "
	"bpf_map_lookup_elem(&stats, &key); if (row) "
	"__sync_fetch_and_add(&row->packets, 1); }\n"
	"struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2); "
	"__uint(key_size, 4); __uint(value_size, 4); } next SEC(\".maps\");\n"
	"SEC(\"of no kind\") int second" PASSES "add(1);\n	return -1;\n}\n"
	"SEC(\"of no kind either\") int root" PASSES
	"add(0);\n	bpf_tail_call(skb, &next, 1);\n	return -1;\n}\n"
	"SEC(\"nor this\") int unused" PASSES "return -1;\n}\n" LICENCE;

static const char nested_source[] = FOREIGN_HEAD
	"struct inner { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); "
	"__type(value, struct row); __uint(max_entries, 8); } "
	"counted SEC(\".maps\"), kept SEC(\".maps\");\n"
	"struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); "
	"__type(key, __u32); __array(values, struct inner); } outer SEC(\".maps\") "
	"= {.values = {&counted, &kept}};\n"
	"static __always_inline void add(__u32 slot) { __u32 key = 7; struct row fresh "
	"= {}, *row; void *inner = bpf_map_lookup_elem(&outer, &slot); if (!inner) "
	"return; bpf_map_update_elem(inner, &key, &fresh, BPF_NOEXIST); row = "
	"bpf_map_lookup_elem(inner, &key); if (row) "
	"__sync_fetch_and_add(&row->packets, 1); }\n"
	"SEC(\"tc\") int watch" PASSES "add(0);\n	add(1);\n	return -1;\n}\n" LICENCE;

static const char refused_source[] = FOREIGN_HEAD "SEC(\"tc\") int watch" PASSES
						  "return *(volatile int *)0;\n}\n" LICENCE;

static unsigned char *object;
static size_t object_len;
static int va, out; /* the interface's index, and a socket on it */

static int setup_group(void **state)
{
	(void)state;
	object = program__compile(foreign_source, &object_len);
	if (!object || netns__enter() || wire__pair("twa", "twb"))
		return -1;
	va = (int)if_nametoindex("twa");
	out = wire__open("twa");
	return out < 0 ? -1 : 0;
}

static int teardown_group(void **state)
{
	(void)state;
	free(object);
	close(out);
	return 0;
}

struct fixture {
	struct twin *twin;
	struct batch batches[MAPS];
	int64_t evicted[MAPS];
	struct twin_cost cost;
};

static void must(int err, const struct error *error)
{
	if (err)
		fail_msg("%s: %s", error__name(err), error->message);
}

static struct twin *load_source(const char *source, const char *const *use, size_t count)
{
	struct error error = {0};
	struct twin *twin = NULL;
	size_t len;
	unsigned char *bytes = program__compile(source, &len);

	assert_non_null(bytes);
	must(twin__open(bytes, len, "test", &twin, &error), &error);
	free(bytes);
	for (size_t i = 0; i < count; i++)
		must(twin__use(twin, use[i], HOOK_TC_EGRESS, &error), &error);
	return twin;
}

static void attach(struct twin *twin, const char *program, enum hook hook, int ifindex)
{
	struct error error = {0};
	const char *mode = NULL;

	must(twin__attach(twin, program, hook, ifindex, ATTACH_AUTO, &mode, &error), &error);
	assert_string_equal(mode, hook == HOOK_XDP ? "native" : "tcx");
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error error = {0};

	*state = f;
	if (!f || twin__open(object, object_len, "test", &f->twin, &error) ||
	    twin__load(f->twin, &error) || twin__window(f->twin, specs, MAPS, &error)) {
		fprintf(stderr, "%s\n", error.message);
		return -1;
	}
	for (size_t i = 0; i < MAPS; i++)
		batch__init(&f->batches[i], twin__layout(f->twin, i));
	attach(f->twin, "watch", HOOK_TC_EGRESS, va);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < MAPS; i++)
		batch__free(&f->batches[i]);
	twin__free(f->twin);
	free(f);
	return 0;
}

static void send_many(int packets, int sources)
{
	for (int i = 0; i < packets; i++)
		assert_int_equal(wire__send(out, (uint16_t)(i % sources)), 0);
}

static void swap(struct fixture *f)
{
	struct error error = {0};

	must(twin__swap(f->twin, &f->cost, &error), &error);
	must(twin__drain(f->twin, ALL, true, f->batches, f->evicted, &f->cost, &error), &error);
}

/* Of all records, or of the one whose first field (a key) is that. */
static uint64_t sum(const struct batch *batch, const char *name, int64_t key)
{
	const struct field *field = layout__field(batch->layout, name);
	const struct field *first = &batch->layout->fields[0];
	uint64_t total = 0;

	assert_non_null(field);
	for (size_t i = 0; i < batch->count; i++) {
		const unsigned char *record = batch->records + i * batch->layout->stride;

		if (key < 0 || layout__number(first, record + first->offset) == (uint64_t)key)
			total += layout__number(field, record + field->offset);
	}
	return total;
}

static void expect(struct fixture *f, uint64_t packets, size_t rows)
{
	assert_int_equal(f->batches[FLOWS].count, rows);
	assert_int_equal(f->batches[OWN].count, rows);
	assert_int_equal(sum(&f->batches[FLOWS], "packets", -1), packets);
	assert_int_equal(sum(&f->batches[OWN], "packets", -1), packets);
	assert_int_equal(sum(&f->batches[STATS], "packets", FOREIGN_TOTAL), packets);
	assert_int_equal(sum(&f->batches[CPU_STATS], "packets", FOREIGN_TOTAL), packets);
	assert_int_equal(f->batches[EVENTS].count, packets);
	assert_int_equal(sum(&f->batches[EVENTS], "packets", -1), packets);
	assert_int_equal(sum(&f->batches[RECENT], "packets", -1) + (uint64_t)f->evicted[RECENT],
			 packets);
	assert_true(f->evicted[RECENT] >= 0);
	assert_true(f->evicted[FLOWS] == TWIN_NOT_KNOWN);
}

static void a_window_has_its_own_packets(void **state)
{
	struct fixture *f = *state;

	for (int window = 1; window <= 6; window++) {
		send_many(window * 10, window);
		swap(f);
		expect(f, (uint64_t)window * 10, (size_t)window);
		assert_true(f->cost.swap > 0 && f->cost.grace > 0 && f->cost.read > 0);
		assert_true(f->cost.skew == 0 && f->cost.skew_least == 0 && f->cost.gone == 0);
		assert_true(f->cost.wall > 0);
	}
	swap(f);
	expect(f, 0, 0);
}

static void the_order_of_a_queue_is_kept(void **state)
{
	struct fixture *f = *state;
	const struct field *field;

	for (uint16_t i = 0; i < 20; i++)
		assert_int_equal(wire__send(out, (uint16_t)(100 - i)), 0);
	swap(f);
	field = layout__field(f->batches[EVENTS].layout, "source");
	assert_non_null(field);
	assert_int_equal(f->batches[EVENTS].count, 20);
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(layout__number(field,
						f->batches[EVENTS].records +
							i * f->batches[EVENTS].layout->stride +
							field->offset),
				 100 - i);
}

static void what_an_lru_map_evicts_is_known(void **state)
{
	struct fixture *f = *state;

	send_many(20 * FOREIGN_KEYS, FOREIGN_KEYS);
	swap(f);
	expect(f, 20 * FOREIGN_KEYS, FOREIGN_KEYS);
	assert_true(f->batches[RECENT].count <= FOREIGN_RECENT);
	assert_true(f->evicted[RECENT] >= (FOREIGN_KEYS - FOREIGN_RECENT) * 20);
	/* Not without its total. */
	send_many(5, 5);
	assert_int_equal(twin__swap(f->twin, NULL, NULL), 0);
	assert_int_equal(twin__drain(f->twin, ALL & ~(1U << STATS), false, f->batches, f->evicted,
				     NULL, NULL),
			 0);
	assert_true(f->evicted[RECENT] == TWIN_NOT_KNOWN);
}

static struct batch read_one(struct fixture *f, const char *map, bool clear)
{
	struct error error = {0};
	struct batch batch;
	size_t number;

	must(twin__find(f->twin, map, &number, &error), &error);
	batch__init(&batch, twin__layout(f->twin, number));
	must(twin__read(f->twin, number, clear, &batch, &error), &error);
	return batch;
}

static uint64_t read_sum(struct fixture *f, const char *map, const char *field, bool clear)
{
	struct batch batch = read_one(f, map, clear);
	uint64_t total = sum(&batch, field, -1);

	batch__free(&batch);
	return total;
}

static void a_plain_read_changes_nothing(void **state)
{
	static const char *const maps[] = {"flows", "own", "recent", "stats", "cpu_stats"};
	struct fixture *f = *state;

	send_many(30, 3);
	for (int again = 0; again < 3; again++) {
		for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++)
			assert_int_equal(read_sum(f, maps[i], "packets", false), 30);
		assert_int_equal(read_sum(f, "events", "packets", false), 1); /* the head */
	}
	swap(f);
	expect(f, 30, 3);
	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++)
		assert_int_equal(read_sum(f, maps[i], "packets", false), 0);
}

static void a_read_with_clear_removes_what_it_read(void **state)
{
	struct fixture *f = *state;

	send_many(30, 3);
	assert_int_equal(read_sum(f, "flows", "packets", true), 30);
	assert_int_equal(read_sum(f, "events", "packets", true), 30);
	assert_int_equal(read_sum(f, "flows", "packets", true), 0);
	send_many(4, 2);
	swap(f); /* no window had ended: the others have it all */
	assert_int_equal(sum(&f->batches[FLOWS], "packets", -1), 4);
	assert_int_equal(f->batches[EVENTS].count, 4);
	assert_int_equal(sum(&f->batches[OWN], "packets", -1), 34);
	assert_int_equal(sum(&f->batches[STATS], "packets", FOREIGN_TOTAL), 34);
}

static uint64_t global(struct fixture *f, int side, const char *section, size_t offset)
{
	struct bpf_map *map = bpf_object__find_map_by_name(f->twin->objects[side], section);
	uint64_t value[2] = {0};
	__u32 zero = 0;

	assert_int_equal(bpf_map__value_size(map), 8);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(map), &zero, value), 0);
	return value[offset];
}

static void what_is_not_windowed_is_shared(void **state)
{
	struct fixture *f = *state;
	struct batch batch;
	__u32 key = 3, value = 9;

	send_many(7, 1);
	swap(f);
	send_many(5, 1);
	for (int side = 0; side < 2; side++) {
		assert_int_equal(global(f, side, ".bss", 0), 12);
		assert_int_equal(global(f, side, ".data", 0), 1000);
	}
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(bpf_object__find_map_by_name(
						     f->twin->objects[0], "config")),
					     &key, &value, BPF_ANY),
			 0);
	swap(f);
	batch = read_one(f, "config", false);
	assert_int_equal(batch.count, 1);
	assert_int_equal(sum(&batch, "value", 3), 9);
	batch__free(&batch);
	batch = read_one(f, ".bss", false);
	assert_int_equal(batch.count, 1);
	batch__free(&batch);
}

/* .bss as a windowed map: its variables begin at zero in every window. */
static void global_counters_can_be_windowed(void **state)
{
	static const struct twin_spec bss = {.map = ".bss"};
	struct error error = {0};
	struct twin_cost cost;
	struct twin *twin = NULL;
	struct batch batch;
	uint64_t seen;

	(void)state;
	must(twin__open(object, object_len, "test", &twin, &error), &error);
	must(twin__load(twin, &error), &error);
	must(twin__window(twin, &bss, 1, &error), &error);
	attach(twin, "watch", HOOK_TC_EGRESS, va);
	batch__init(&batch, twin__layout(twin, 0));
	for (int window = 1; window < 5; window++) {
		send_many(window, 1);
		must(twin__swap(twin, &cost, &error), &error);
		must(twin__drain(twin, 1, true, &batch, NULL, &cost, &error), &error);
		assert_int_equal(batch.count, 1);
		memcpy(&seen, batch.records + batch.layout->value_offset, sizeof(seen));
		assert_int_equal(seen, window);
	}
	batch__free(&batch);
	twin__free(twin);
}

static void folds_are_as_declared(void **state)
{
	static const struct window_fold folds[] = {{"bytes", FOLD_MAX}, {NULL, FOLD_MIN}};
	static const struct window_fold wrong[] = {{"colour", FOLD_MAX}};
	static const struct twin_spec spec = {.map = "cpu_stats", .folds = folds, .nfolds = 2};
	static const struct twin_spec bad = {.map = "cpu_stats", .folds = wrong, .nfolds = 1};
	struct error error = {0};
	struct twin *twin = NULL;

	(void)state;
	must(twin__open(object, object_len, "test", &twin, &error), &error);
	must(twin__load(twin, &error), &error);
	assert_int_equal(twin__window(twin, &bad, 1, &error), -ENOENT);
	assert_non_null(strstr(error.message, "colour"));
	must(twin__window(twin, &spec, 1, &error), &error);
	assert_int_equal(layout__field(twin__layout(twin, 0), "packets")->fold, FOLD_MIN);
	assert_int_equal(layout__field(twin__layout(twin, 0), "bytes")->fold, FOLD_MAX);
	twin__free(twin);
}

static void windows_may_come_after_attaching(void **state)
{
	struct error error = {0};
	struct fixture g = {0};

	(void)state;
	must(twin__open(object, object_len, "test", &g.twin, &error), &error);
	assert_int_equal(twin__swap(g.twin, NULL, NULL), -EINVAL);
	assert_int_equal(twin__window(g.twin, specs, MAPS, NULL), -EINVAL); /* not loaded */
	must(twin__load(g.twin, &error), &error);
	assert_int_equal(twin__load(g.twin, NULL), -EALREADY);
	attach(g.twin, "watch", HOOK_TC_EGRESS, va);
	send_many(5, 5);
	must(twin__window(g.twin, specs, MAPS, &error), &error);
	assert_int_equal(twin__window(g.twin, specs, MAPS, &error), -EALREADY);
	for (size_t i = 0; i < MAPS; i++)
		batch__init(&g.batches[i], twin__layout(g.twin, i));
	send_many(5, 5);
	swap(&g);
	expect(&g, 10, 5);
	assert_int_equal(twin__detach(g.twin), 1);
	send_many(5, 5);
	swap(&g); /* without a link there is nothing to replace */
	expect(&g, 0, 0);
	for (size_t i = 0; i < MAPS; i++)
		batch__free(&g.batches[i]);
	twin__free(g.twin);
}

/* When the second instance cannot be, the first still counts, and another attempt may succeed. */
static void a_second_that_is_refused_harms_nothing(void **state)
{
	struct error error = {0};
	struct fixture g = {0};
	void *good;
	size_t good_len;

	(void)state;
	must(twin__open(object, object_len, "test", &g.twin, &error), &error);
	must(twin__load(g.twin, &error), &error);
	attach(g.twin, "watch", HOOK_TC_EGRESS, va);
	good = g.twin->bytes;
	good_len = g.twin->len;
	g.twin->bytes = program__compile(refused_source, &g.twin->len);
	send_many(3, 3);
	assert_int_equal(twin__window(g.twin, specs, MAPS, &error), -ENOEXEC);
	assert_non_null(strstr(error.message, "the second instance: "));
	assert_non_null(strstr(error.message, "verifier refused"));
	assert_non_null(strstr(error.message, "invalid mem access"));
	assert_int_equal(twin__swap(g.twin, NULL, NULL), -EINVAL);
	free(g.twin->bytes);
	g.twin->bytes = good;
	g.twin->len = good_len;
	send_many(3, 3);
	must(twin__window(g.twin, specs, MAPS, &error), &error);
	for (size_t i = 0; i < MAPS; i++)
		batch__init(&g.batches[i], twin__layout(g.twin, i));
	swap(&g);
	expect(&g, 6, 3);
	for (size_t i = 0; i < MAPS; i++)
		batch__free(&g.batches[i]);
	twin__free(g.twin);
}

static void an_attachment_that_fails_leaves_the_others(void **state)
{
	struct fixture *f = *state;
	const char *mode = NULL;
	struct error error = {0};

	assert_int_equal(twin__attach(f->twin, "watch_xdp", HOOK_TC_EGRESS, va, ATTACH_AUTO, &mode,
				      &error),
			 -EINVAL);
	assert_non_null(strstr(error.message, "watch_xdp"));
	assert_int_equal(twin__attach(f->twin, "no_such", HOOK_XDP, va, ATTACH_AUTO, &mode, &error),
			 -ENOENT);
	assert_int_equal(twin__attach(f->twin, "watch_xdp", HOOK_XDP, 999999, ATTACH_AUTO, &mode,
				      &error),
			 -ENODEV);
	send_many(9, 3);
	swap(f);
	expect(f, 9, 3);
	assert_int_equal(twin__detach(f->twin), 1);
}

static void a_swap_that_fails_is_undone(void **state)
{
	struct fixture *f = *state;
	struct error error = {0};

	attach(f->twin, "watch", HOOK_TC_INGRESS, va);
	send_many(5, 5);
	strcpy(f->twin->links[1].program, "watch_xdp"); /* which the kernel will not have there */
	assert_true(twin__swap(f->twin, &f->cost, &error) < 0);
	assert_non_null(strstr(error.message, "cannot be replaced"));
	assert_int_equal(twin__drain(f->twin, ALL, true, f->batches, NULL, NULL, &error), -EINVAL);
	send_many(5, 5);
	assert_int_equal(read_sum(f, "flows", "packets", false), 10);
	strcpy(f->twin->links[1].program, "watch");
	swap(f);
	expect(f, 10, 5);
	assert_true(f->cost.skew > 0 && f->cost.skew >= f->cost.skew_least);
}

static void busy_until_it_is_drained(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(twin__drain(f->twin, ALL, true, f->batches, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(twin__swap(f->twin, NULL, NULL), 0);
	assert_int_equal(twin__swap(f->twin, NULL, NULL), -EBUSY);
	send_many(2, 1);
	assert_int_equal(twin__drain(f->twin, ALL, true, f->batches, f->evicted, NULL, NULL), 0);
	expect(f, 0, 0);
	swap(f);
	expect(f, 2, 1);
}

static void xdp_and_both_ways_of_tc(void **state)
{
	struct fixture *f = *state;
	int vb = (int)if_nametoindex("twb"), in = wire__open("twb");

	assert_true(in >= 0);
	attach(f->twin, "watch_xdp", HOOK_XDP, va);
	attach(f->twin, "watch", HOOK_TC_EGRESS, vb);
	for (int window = 0; window < 3; window++) {
		send_many(4, 2);
		for (uint16_t i = 0; i < 4; i++)
			assert_int_equal(wire__send(in, i % 2), 0);
		/* What has left twb has also been seen coming in at twa, or will be in a later window. */
		swap(f);
		assert_true(sum(&f->batches[FLOWS], "packets", -1) >= 8);
		assert_true(f->cost.skew > 0);
	}
	close(in);
}

static void an_interface_that_is_gone_is_passed_over(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(wire__pair("twc", "twd"), 0);
	attach(f->twin, "watch", HOOK_TC_EGRESS, (int)if_nametoindex("twc"));
	swap(f);
	assert_int_equal(f->cost.gone, 0);
	assert_int_equal(netns__run("ip link del twc"), 0);
	send_many(6, 3);
	for (int i = 0; i < 2; i++) {
		swap(f);
		assert_int_equal(f->cost.gone, 1);
		expect(f, i ? 0 : 6, i ? 0 : 3);
	}
	assert_int_equal(twin__detach(f->twin), 2);
}

static void a_tail_call_stays_in_its_instance(void **state)
{
	static const char *const use[] = {"root", "second"};
	static const struct twin_spec spec = {.map = "stats"};
	struct twin *twin = load_source(tails_source, use, 2);
	struct error error = {0};
	struct batch batch;

	(void)state;
	assert_int_equal(twin__set_tail(twin, "stats", 1, "second", NULL), -ENOENT);
	assert_int_equal(twin__set_tail(twin, "next", 1, "none", NULL), -ENOENT);
	must(twin__set_tail(twin, "next", 1, "second", &error), &error);
	must(twin__load(twin, &error), &error);
	attach(twin, "root", HOOK_TC_EGRESS, va);
	must(twin__window(twin, &spec, 1, &error), &error);
	batch__init(&batch, twin__layout(twin, 0));
	for (int window = 1; window < 5; window++) {
		send_many(window, 1);
		must(twin__swap(twin, NULL, &error), &error);
		must(twin__drain(twin, 1, true, &batch, NULL, NULL, &error), &error);
		assert_int_equal(sum(&batch, "packets", 0), window);
		assert_int_equal(sum(&batch, "packets", 1), window);
	}
	batch__free(&batch);
	twin__free(twin);
}

/* A map of maps goes with the windowed map in it, and what else is in it stays shared. */
static void maps_of_maps(void **state)
{
	static const struct twin_spec spec = {.map = "counted"}, outer = {.map = "outer"};
	struct twin *twin = load_source(nested_source, NULL, 0);
	struct error error = {0};
	struct batch batch;
	size_t kept;

	(void)state;
	must(twin__load(twin, &error), &error);
	attach(twin, "watch", HOOK_TC_EGRESS, va);
	assert_int_equal(twin__window(twin, &outer, 1, &error), -EINVAL);
	must(twin__window(twin, &spec, 1, &error), &error);
	must(twin__find(twin, "kept", &kept, &error), &error);
	for (int window = 1; window < 5; window++) {
		send_many(window, 1);
		must(twin__swap(twin, NULL, &error), &error);
		batch__init(&batch, twin__layout(twin, 0));
		must(twin__drain(twin, 1, true, &batch, NULL, NULL, &error), &error);
		assert_int_equal(sum(&batch, "packets", -1), window);
		batch__free(&batch);
		batch__init(&batch, twin__layout(twin, kept));
		must(twin__read(twin, kept, false, &batch, &error), &error);
		assert_int_equal(sum(&batch, "packets", -1), window * (window + 1) / 2);
		batch__free(&batch);
	}
	twin__free(twin);
}

static void refuses_what_cannot_be(void **state)
{
	static const struct twin_spec wrong[] = {
		{.map = "no_map"},
		{.map = ".data"},
		{.map = ".rodata"},
		{.map = "recent", .total = "config", .total_field = "value"},
		{.map = "recent", .field = "colour", .total = "recent", .total_field = "packets"},
		{.map = "recent", .field = "packets", .total = "recent", .total_field = "colour"},
	};
	static const struct twin_spec twice[] = {{.map = "flows"}, {.map = "flows"}};
	struct error error = {0};
	struct twin *twin = NULL;
	size_t number;

	(void)state;
	assert_true(twin__open("junk", 4, "test", &twin, &error) < 0);
	assert_null(twin);
	must(twin__open(object, object_len, "test", &twin, &error), &error);
	assert_int_equal(twin__set_entries(twin, "no_map", 5, &error), -ENOENT);
	assert_int_equal(twin__use(twin, "watch", HOOK_XDP, &error), -EINVAL);
	assert_int_equal(twin__use(twin, "no_such", HOOK_XDP, &error), -ENOENT);
	assert_int_equal(twin__find(twin, "flows", &number, &error), -EINVAL);
	must(twin__set_entries(twin, "flows", 5, &error), &error);
	must(twin__load(twin, &error), &error);
	assert_int_equal(twin__set_entries(twin, "flows", 5, &error), -EALREADY);
	assert_int_equal(twin__find(twin, "no_map", &number, &error), -ENOENT);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		error.message[0] = '\0';
		assert_true(twin__window(twin, &wrong[i], 1, &error) < 0);
		assert_non_null(strstr(error.message, wrong[i].map));
	}
	assert_int_equal(twin__window(twin, twice, 2, &error), -EINVAL);
	assert_int_equal(twin__window(twin, twice, 0, &error), -EINVAL);
	assert_int_equal(twin__window(twin, specs, TWIN_MAPS_MAX + 1, &error), -EINVAL);
	must(twin__window(twin, twice, 1, &error), &error); /* the failures left nothing behind */
	for (int side = 0; side < 2; side++)
		assert_int_equal(bpf_map__max_entries(
					 bpf_object__find_map_by_name(twin->objects[side],
								      "flows")),
				 5);
	twin__free(twin);
	twin__free(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_window_has_its_own_packets),
		TEST(the_order_of_a_queue_is_kept),
		TEST(what_an_lru_map_evicts_is_known),
		TEST(a_plain_read_changes_nothing),
		TEST(a_read_with_clear_removes_what_it_read),
		TEST(what_is_not_windowed_is_shared),
		TEST(an_attachment_that_fails_leaves_the_others),
		TEST(a_swap_that_fails_is_undone),
		TEST(busy_until_it_is_drained),
		TEST(xdp_and_both_ways_of_tc),
		TEST(an_interface_that_is_gone_is_passed_over),
		cmocka_unit_test(global_counters_can_be_windowed),
		cmocka_unit_test(folds_are_as_declared),
		cmocka_unit_test(windows_may_come_after_attaching),
		cmocka_unit_test(a_second_that_is_refused_harms_nothing),
		cmocka_unit_test(a_tail_call_stays_in_its_instance),
		cmocka_unit_test(maps_of_maps),
		cmocka_unit_test(refuses_what_cannot_be),
	};

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
