/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/types.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "kernel/statistics.h"

#define CHAIN 4000 /* instructions of the slow program, each of which needs the one before */

/* A program that takes a while, as long each time. */
static int slow_program(void)
{
	static struct bpf_insn code[CHAIN + 2];

	code[0] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 3};
	for (int i = 1; i <= CHAIN; i++)
		code[i] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MUL | BPF_K, .imm = 5};
	code[CHAIN + 1] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "slow", "GPL", code, CHAIN + 2, NULL);
}

struct runner {
	pthread_t thread;
	int program;
	useconds_t delay_us;
	atomic_bool stop;
	uint32_t
		least_ns; /* a run without statistics, as the kernel says; rounds that had them take longer */
};

static void *run(void *arg)
{
	struct runner *r = arg;
	char frame[64] = {0};

	usleep(r->delay_us);
	while (!r->stop) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
			    .data_size_in = sizeof(frame), .repeat = 100);

		if (bpf_prog_test_run_opts(r->program, &opts))
			break;
		if (!r->least_ns || opts.duration < r->least_ns)
			r->least_ns = opts.duration;
	}
	return NULL;
}

static void begin(struct runner *r)
{
	r->program = slow_program();
	assert_true(r->program >= 0);
	assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
}

static void end(struct runner *r)
{
	r->stop = true;
	pthread_join(r->thread, NULL);
	close(r->program);
}

static void calibrates_itself(void **state)
{
	struct statistics_own own = {0};
	struct error error = {0};

	(void)state;
	if (statistics__calibrate(&own, &error))
		fail_msg("%s", error.message);
	assert_true(own.measured_ns > 0 && own.measured_ns < 100000);
	assert_true(own.added_ns > 0 && own.added_ns < 100000);
}

/* Held against the kernel's own measurement of the same program's test runs, the least disturbed span against the least disturbed
 * round. */
static void measures_what_a_run_takes(void **state)
{
	static const struct statistics_until until = {.runs = 100, .least_s = 0.001, .most_s = 10};
	struct statistics_span span;
	struct statistics_own own;
	struct runner r = {0};
	double least = 0;

	(void)state;
	assert_int_equal(statistics__calibrate(&own, NULL), 0);
	begin(&r);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(statistics__span(&r.program, 1, &until, &own, &span, NULL), 0);
		assert_true(span.runs >= 100);
		assert_true(span.seconds >= 0.001);
		if (!i || span.ns / (double)span.runs < least)
			least = span.ns / (double)span.runs;
	}
	end(&r);
	assert_true(r.least_ns > 2000); /* 4,000 multiplications, 3 cycles each */
	assert_true(least > 0.8 * r.least_ns && least < 1.5 * r.least_ns);
}

static void ends_when_nothing_runs(void **state)
{
	static const struct statistics_until until = {.runs = 1, .least_s = 0, .most_s = 0.01};
	struct statistics_own own = {0};
	struct statistics_span span;
	int program = slow_program();

	(void)state;
	assert_int_equal(statistics__span(&program, 1, &until, &own, &span, NULL), 0);
	assert_int_equal(span.runs, 0);
	assert_true(span.ns == 0);
	assert_true(span.seconds >= 0.01);
	assert_true(span.used_s > 0 && span.now_s > 0);
	close(program);
}

/* It waits for what runs later, and says since when. */
static void waits_for_a_burst(void **state)
{
	static const struct statistics_until until = {.runs = 100, .most_s = 60};
	struct statistics_own own = {0};
	struct statistics_span span;
	struct runner r = {.program = slow_program(), .delay_us = 200000};

	(void)state;
	assert_int_equal(pthread_create(&r.thread, NULL, run, &r), 0);
	assert_int_equal(statistics__span(&r.program, 1, &until, &own, &span, NULL), 0);
	end(&r);
	assert_true(span.runs >= 100);
	assert_true(span.seconds >= 0.15);
	assert_true(span.busy_s > 0 && span.busy_s < span.seconds - 0.15);
}

static void *stop_soon(void *arg)
{
	usleep(10000);
	*(atomic_bool *)arg = true;
	return NULL;
}

static void ends_when_told_to(void **state)
{
	static atomic_bool stop;
	static const struct statistics_until until = {.runs = 1, .most_s = 60, .stop = &stop};
	struct statistics_own own = {0};
	struct statistics_span span;
	pthread_t thread;
	int program = slow_program();

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, stop_soon, &stop), 0);
	assert_int_equal(statistics__span(&program, 1, &until, &own, &span, NULL), 0);
	pthread_join(thread, NULL);
	assert_true(span.seconds < 60);
	close(program);
}

static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Whether they are on is the machine's matter, and others may have turned them on; that we do not hold them on is ours. */
static void holds_nothing_behind_a_span(void **state)
{
	static const struct statistics_until until = {.most_s = 0.001};
	int program = slow_program(), closed = -1, before = descriptors();
	struct statistics_own own = {0};
	struct statistics_span span;

	(void)state;
	assert_int_equal(statistics__calibrate(&own, NULL), 0);
	assert_int_equal(statistics__span(&program, 1, &until, &own, &span, NULL), 0);
	assert_true(statistics__span(&closed, 1, &until, &own, &span, NULL) < 0);
	assert_int_equal(descriptors(), before);
	close(program);
}

static void says_who_may(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct data[2] = {0};
		static const struct statistics_until until = {.most_s = 0.01};
		struct statistics_own own = {0};
		struct statistics_span span;
		struct error error = {0};
		int program = slow_program();

		if (syscall(SYS_capset, &header, data))
			_exit(2);
		if (statistics__span(&program, 1, &until, &own, &span, &error) != -EPERM)
			_exit(3);
		_exit(strstr(error.hint, "CAP_SYS_ADMIN") ? 0 : 4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calibrates_itself),
		cmocka_unit_test(measures_what_a_run_takes),
		cmocka_unit_test(ends_when_nothing_runs),
		cmocka_unit_test(waits_for_a_burst),
		cmocka_unit_test(ends_when_told_to),
		cmocka_unit_test(holds_nothing_behind_a_span),
		cmocka_unit_test(says_who_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
