/* SPDX-License-Identifier: Apache-2.0 */
/* What is written of the maps of an object that was loaded without perilune. */
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "map/map_type.h"
#include "map_test.h"

#define PACKETS "9223372036854775809"
#define COUNTS(packets)                                                                            \
	"{\"packets\":" packets ",\"balance\":-5,\"low\":9,\"high\":2049,\"label\":\"a\\\"b\","    \
	"\"at\":[{\"x\":1,\"y\":2},{\"x\":3,\"y\":4}]}"
#define FLOW "{\"src\":\"10.0.0.1\",\"port\":53,\"mac\":\"02:00:00:00:00:01\",\"color\":\"GREEN\"}"
#define LIST(one) "[\n" one "\n]\n"

static int setup(void **state)
{
	struct bpf_object *object = test_maps();

	*state = object;
	return object && !test_run(object, "fill") && !test_run(object, "sample") ? 0 : -1;
}

static int teardown(void **state)
{
	bpf_object__close(*state);
	return 0;
}

static void expect(int fd, const struct map_dump_options *options, const char *text)
{
	struct test_dump dump = test_dump(fd, options);

	if (dump.err)
		print_error("%s\n", dump.error.message);
	assert_int_equal(dump.err, 0);
	assert_string_equal(dump.text, text);
	free(dump.text);
}

static void refuse(int fd, const struct map_dump_options *options, int err, const char *word)
{
	struct test_dump dump = test_dump(fd, options);

	assert_int_equal(dump.err, err);
	assert_non_null(strstr(dump.error.message, word));
	assert_true(dump.error.hint[0]);
	assert_string_equal(dump.text, "");
	free(dump.text);
}

static void tables(void **state)
{
	expect(test_map_fd(*state, "pm_hash"), &test_json,
	       LIST("{\"key\":" FLOW ",\"value\":" COUNTS(PACKETS) "}"));
	expect(test_map_fd(*state, "pm_lru"), &test_json,
	       LIST("{\"key\":" FLOW ",\"value\":" COUNTS(PACKETS) "}"));
	expect(test_map_fd(*state, "pm_trie"), &test_json,
	       LIST("{\"key\":{\"prefixlen\":24,\"data\":\"0a:00:00:01\"},\"value\":\"01:00:00:00\"}"));
	expect(test_map_fd(*state, "pm_inner"), &test_json,
	       LIST("{\"key\":1,\"value\":" COUNTS(PACKETS) "}"));
	expect(test_map_fd(*state, "pm_hash"), &test_lines,
	       "src=10.0.0.1 port=53 mac=02:00:00:00:00:01 color=GREEN -> packets=" PACKETS
	       " balance=-5 low=9 high=2049 label=\"a\\\"b\" at.x=[1 3] at.y=[2 4]\n");
	expect(test_map_fd(*state, "pm_outer"), &test_json, "[]\n");
}

static void limits(void **state)
{
	struct map_dump_options two = {.json = true, .limit = 2};
	struct test_dump dump = test_dump(test_map_fd(*state, "pm_array"), &two);

	assert_int_equal(dump.err, 0);
	assert_int_equal(dump.rows, 2);
	assert_non_null(strstr(dump.text, "{\"key\":1,\"value\":" COUNTS(PACKETS) "}\n]\n"));
	free(dump.text);
}

static void per_cpu(void **state)
{
	static const char zero[] =
		"{\"packets\":0,\"balance\":0,\"low\":0,\"high\":0,\"label\":\"\","
		"\"at\":[{\"x\":0,\"y\":0},{\"x\":0,\"y\":0}]}";
	struct map_dump_options folded = {.json = true,
					  .folded = true,
					  .fold = FOLD_SUM,
					  .limit = UINT64_MAX};
	struct test_dump dump = test_dump(test_map_fd(*state, "pm_cpu_hash"), &test_json);
	int cpus = libbpf_num_possible_cpus(), zeros = 0;

	assert_int_equal(dump.err, 0);
	assert_non_null(strstr(dump.text, COUNTS("8")));
	for (const char *at = dump.text; (at = strstr(at, zero)); at += sizeof(zero) - 1)
		zeros++;
	assert_int_equal(zeros, cpus - 1);
	free(dump.text);
	expect(test_map_fd(*state, "pm_cpu_hash"), &folded,
	       LIST("{\"key\":1,\"value\":" COUNTS("8") "}"));
	refuse(test_map_fd(*state, "pm_hash"), &folded, -EINVAL, "fold");
}

static void globals(void **state)
{
	struct bpf_map *map;
	int bss = -1, rodata = -1;

	bpf_object__for_each_map(map, (struct bpf_object *)*state) {
		if (strstr(bpf_map__name(map), ".bss"))
			bss = bpf_map__fd(map);
		else if (strstr(bpf_map__name(map), ".rodata") && bpf_map__btf_value_type_id(map) &&
			 !strstr(bpf_map__name(map), "cst"))
			rodata = bpf_map__fd(map);
	}
	expect(bss, &test_json,
	       LIST("{\"key\":0,\"value\":{\"pm_last\":" COUNTS("8") ",\"pm_runs\":1}}"));
	expect(rodata, &test_json, LIST("{\"key\":0,\"value\":{\"pm_weight\":3}}"));
}

static void inner_maps(void **state)
{
	int inner = test_map_fd(*state, "pm_inner");
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	char text[1024];

	assert_int_equal(bpf_map_get_info_by_fd(inner, &info, &len), 0);
	snprintf(
		text, sizeof(text),
		LIST("{\"key\":1,\"value\":%u,\"inner\":{\"id\":%u,\"type\":\"hash\",\"name\":\"pm_inner\","
		     "\"entries\":[{\"key\":1,\"value\":" COUNTS(PACKETS) "}]}}"),
		info.id, info.id);
	expect(test_map_fd(*state, "pm_outers"), &test_json, text);
}

static void stacks(void **state)
{
	struct test_dump dump = test_dump(test_map_fd(*state, "pm_stacks"), &test_json);

	assert_int_equal(dump.err, 0);
	assert_int_equal(dump.rows, 1);
	assert_non_null(strstr(dump.text, "\"value\":[\"0xffff"));
	free(dump.text);
}

/* A queue gives what came first, a stack what came last; a look takes nothing. */
static void queues(void **state)
{
	struct map_dump_options drain = {.json = true, .drain = true, .limit = UINT64_MAX};
	int queue = test_map_fd(*state, "pm_queue"), stack = test_map_fd(*state, "pm_stack");
	struct test_dump dump;

	for (int i = 0; i < 2; i++) {
		expect(queue, &test_json, LIST("{\"value\":" COUNTS("7") "}"));
		expect(stack, &test_json, LIST("{\"value\":" COUNTS("8") "}"));
	}
	dump = test_dump(queue, &drain);
	assert_int_equal(dump.err, 0);
	assert_string_equal(dump.note, "taken out of the map: 2");
	assert_string_equal(dump.text,
			    "[\n{\"value\":" COUNTS("7") "},\n{\"value\":" COUNTS("8") "}\n]\n");
	free(dump.text);
	drain.limit = 1;
	expect(stack, &drain, LIST("{\"value\":" COUNTS("8") "}"));
	expect(stack, &test_json, LIST("{\"value\":" COUNTS("7") "}"));
	expect(queue, &test_json, "[]\n");
	refuse(test_map_fd(*state, "pm_hash"), &drain, -EINVAL, "drained");
}

#define RECORD "{\"value\":\"18:00:00:00:0a:00:00:01\"}"

static void ring(void **state)
{
	struct map_dump_options drain = {.json = true, .drain = true, .limit = UINT64_MAX};
	struct map_dump_options follow = {.json = true, .follow = true, .limit = 2};
	int fd = test_map_fd(*state, "pm_ring");
	struct test_dump dump;

	for (int i = 0; i < 2; i++)
		expect(fd, &test_json, LIST(RECORD));
	assert_int_equal(test_run(*state, "fill"), 0);
	expect(fd, &follow, RECORD "\n" RECORD "\n");
	expect(fd, &drain, LIST(RECORD ",\n" RECORD));
	expect(fd, &test_json, "[]\n");
	/* Round and round: whoever takes all leaves room for more. */
	for (int i = 0; i < 5; i++) {
		for (int n = 0; n < 100; n++)
			assert_int_equal(test_run(*state, "fill"), 0);
		dump = test_dump(fd, &test_json);
		assert_int_equal(dump.rows, 100);
		free(dump.text);
		dump = test_dump(fd, &drain);
		assert_int_equal(dump.err, 0);
		assert_int_equal(dump.rows, 100);
		free(dump.text);
	}
	refuse(test_map_fd(*state, "pm_hash"), &follow, -EINVAL, "followed");
}

static void perf_events(void **state)
{
	struct map_dump_options follow = {.json = true, .follow = true, .limit = 3};
	int fd = test_map_fd(*state, "pm_events"), pipes[2], status;
	struct test_dump dump;
	pid_t child;
	char go;

	refuse(fd, &test_json, -EOPNOTSUPP, "keeps nothing");
	/* Another process goes on causing events until it is told that they have come. */
	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	child = fork();
	if (!child) {
		for (int i = 0; i < 30000 && read(pipes[0], &go, 1) < 0; i++) {
			test_run(*state, "fill");
			usleep(1000);
		}
		_exit(0);
	}
	dump = test_dump(fd, &follow);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(dump.err, 0);
	assert_int_equal(dump.rows, 3);
	assert_non_null(strstr(dump.text, "{\"cpu\":"));
	assert_non_null(strstr(dump.text, "\"value\":\"18:00:00:00:0a:00:00:01"));
	free(dump.text);
	close(pipes[0]);
	close(pipes[1]);
}

/* Nobody reads any more: an error, not a signal. */
static void closed_output(void **state)
{
	struct map_dump_options options = test_json;
	struct map_dump *dump;
	struct map map;
	int pipes[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(pipes), 0);
	close(pipes[0]);
	options.fd = pipes[1];
	assert_int_equal(map__open_fd(dup(test_map_fd(*state, "pm_hash")), &map, NULL), 0);
	assert_int_equal(map_dump__new(&map, &options, &dump, NULL), 0);
	assert_int_equal(map_dump__run(dump, NULL), -EPIPE);
	map_dump__free(dump);
	close(pipes[1]);
}

static void stopped(void **state)
{
	struct map_dump_options options = test_json;
	struct map_dump *dump;
	struct map map;

	options.fd = memfd_create("dump", MFD_CLOEXEC);
	assert_int_equal(map__open_fd(dup(test_map_fd(*state, "pm_hash")), &map, NULL), 0);
	assert_int_equal(map_dump__new(&map, &options, &dump, NULL), 0);
	map_dump__stop(dump);
	assert_int_equal(map_dump__run(dump, NULL), -ECANCELED);
	map_dump__free(dump);
	close(options.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables),	 cmocka_unit_test(limits),
		cmocka_unit_test(per_cpu),	 cmocka_unit_test(globals),
		cmocka_unit_test(inner_maps),	 cmocka_unit_test(stacks),
		cmocka_unit_test(queues),	 cmocka_unit_test(ring),
		cmocka_unit_test(closed_output), cmocka_unit_test(stopped),
		cmocka_unit_test(perf_events),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
