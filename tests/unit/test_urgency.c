/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "probe/urgency.h"

static struct sched_attr attributes(void)
{
	struct sched_attr attr = {.size = sizeof(attr)};

	assert_int_equal(syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0), 0);
	return attr;
}

/* Also where the kernel has no stretches of its own for a thread, which then are what they were. */
static void is_ours_alone(void **state)
{
	struct sched_attr before = attributes(), after, child;
	int status, pipe_of[2];

	(void)state;
	assert_int_equal(urgency__begin(), 0);
	after = attributes();
	assert_int_equal(after.sched_policy, before.sched_policy);
	assert_int_equal(after.sched_nice, before.sched_nice);
	assert_true(after.sched_runtime == before.sched_runtime || after.sched_runtime == 100000);
	assert_int_equal(pipe(pipe_of), 0);
	if (!fork()) {
		child = attributes();
		_exit(write(pipe_of[1], &child, sizeof(child)) != sizeof(child));
	}
	assert_int_equal(read(pipe_of[0], &child, sizeof(child)), sizeof(child));
	wait(&status);
	assert_int_equal(status, 0);
	assert_int_equal(child.sched_runtime, before.sched_runtime);
	assert_int_equal(child.sched_nice, before.sched_nice);
}

/* Who was given another policy keeps it. */
static void leaves_others_choices(void **state)
{
	struct sched_attr batch = attributes();

	(void)state;
	batch.sched_policy = SCHED_BATCH;
	assert_int_equal(syscall(SYS_sched_setattr, 0, &batch, 0), 0);
	assert_int_equal(urgency__begin(), 0);
	assert_int_equal(attributes().sched_policy, SCHED_BATCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_ours_alone),
		cmocka_unit_test(leaves_others_choices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
