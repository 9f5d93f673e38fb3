/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/loop.h"

#define MS 1000000ULL

static int setup(void **state)
{
	return loop__new((struct loop **)state);
}

static int teardown(void **state)
{
	loop__free(*state);
	return 0;
}

struct ticker {
	struct loop *loop;
	struct loop_timer *timer;
	uint64_t deadline, best; /* smallest lateness so far */
	int left, calls;
};

static void on_tick(void *arg)
{
	struct ticker *t = arg;
	uint64_t now = loop__now();

	assert_true(now >= t->deadline);
	if (now - t->deadline < t->best)
		t->best = now - t->deadline;
	t->calls++;
	if (--t->left <= 0)
		return;
	t->deadline = now + 3 * MS + 333333;
	assert_int_equal(loop_timer__start(t->timer, t->deadline), 0);
}

static void timer_is_never_early_and_hardly_late(void **state)
{
	struct ticker t = {.loop = *state, .best = UINT64_MAX, .left = 20};

	assert_int_equal(loop_timer__new(t.loop, on_tick, &t, &t.timer), 0);
	t.deadline = loop__now() + MS / 2;
	assert_int_equal(loop_timer__start(t.timer, t.deadline), 0);
	assert_int_equal(loop__run(t.loop), 0);
	assert_int_equal(t.calls, 20);
	assert_true(t.best <
		    MS); /* the best of them: the machine may be busy, the rounding must not be */
	loop_timer__free(t.timer);
}

static void stopped_timer_does_not_keep_the_loop(void **state)
{
	struct ticker t = {.left = 1, .best = UINT64_MAX};

	assert_int_equal(loop_timer__new(*state, on_tick, &t, &t.timer), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(loop_timer__start(t.timer, loop__now() + 3600 * 1000 * MS), 0);
	loop_timer__stop(t.timer);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(t.calls, 0);
}

static void later_start_replaces_the_earlier(void **state)
{
	struct ticker t = {.left = 1, .best = UINT64_MAX};

	assert_int_equal(loop_timer__new(*state, on_tick, &t, &t.timer), 0);
	assert_int_equal(loop_timer__start(t.timer, 1), 0);
	t.deadline = loop__now() + 5 * MS;
	assert_int_equal(loop_timer__start(t.timer, t.deadline), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(t.calls, 1);
	t.deadline = 0; /* the past, and zero, are now */
	assert_int_equal(loop_timer__start(t.timer, 0), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(t.calls, 2);
}

static void on_tick_free(void *arg)
{
	struct ticker *t = arg;

	t->calls++;
	loop_timer__free(t->timer);
}

static void timer_may_be_freed_by_its_callback(void **state)
{
	struct ticker t = {0};

	assert_int_equal(loop_timer__new(*state, on_tick_free, &t, &t.timer), 0);
	assert_int_equal(loop_timer__start(t.timer, loop__now()), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(t.calls, 1);
	loop_timer__free(NULL);
}

static void on_tick_run(void *arg)
{
	struct ticker *t = arg;

	t->calls = loop__run(t->loop);
	assert_int_equal(loop_timer__start(t->timer, loop__now() + 3600 * 1000 * MS), 0);
	loop__stop(t->loop);
}

static void running_twice_is_refused_and_stop_stops(void **state)
{
	struct ticker t = {.loop = *state};

	assert_int_equal(loop_timer__new(*state, on_tick_run, &t, &t.timer), 0);
	assert_int_equal(loop_timer__start(t.timer, loop__now()), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(t.calls, -EBUSY);
}

static void on_signal(int signum, void *arg)
{
	struct ticker *t = arg;

	t->calls = signum;
	loop_timer__stop(t->timer);
}

static void on_tick_raise(void *arg)
{
	struct ticker *t = arg;

	loop_timer__start(t->timer, loop__now() + 60 * 1000 * MS);
	kill(getpid(), SIGUSR1);
}

static void signal_arrives_and_does_not_keep_the_loop(void **state)
{
	struct ticker t = {0};
	struct loop_signal *signal, *second;

	assert_int_equal(loop_signal__new(*state, SIGUSR1, on_signal, &t, &signal), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(loop_timer__new(*state, on_tick_raise, &t, &t.timer), 0);
	assert_int_equal(loop_timer__start(t.timer, loop__now()), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(t.calls, SIGUSR1);
	loop_signal__free(signal);
	assert_int_equal(loop_signal__new(*state, SIGKILL, on_signal, &t, &second), -EINVAL);
}

static void on_step(void *arg)
{
	struct ticker *t = arg;

	t->calls++;
	loop_timer__stop(t->timer);
}

/* Sets the clock to what it is, which is a step all the same. */
static void on_tick_step(void *arg)
{
	struct ticker *t = arg;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (clock_settime(CLOCK_REALTIME, &now))
		t->left = errno; /* not allowed here */
	else
		loop_timer__start(t->timer, loop__now() + 60 * 1000 * MS);
}

static void a_step_of_the_clock_is_told_each_time(void **state)
{
	struct ticker t = {0};
	struct loop_timer *steps;

	assert_int_equal(loop_timer__on_step(*state, on_step, &t, &steps), 0);
	assert_int_equal(loop__run(*state), 0); /* it does not keep the loop running */
	assert_int_equal(loop_timer__new(*state, on_tick_step, &t, &t.timer), 0);
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(loop_timer__start(t.timer, loop__now()), 0);
		assert_int_equal(loop__run(*state), 0);
		if (t.left == EPERM)
			skip();
		assert_int_equal(t.calls, i);
	}
	loop_timer__free(steps);
}

struct job {
	pthread_t worker, done;
	int steps;
};

static void do_job(void *arg)
{
	struct job *job = arg;

	job->worker = pthread_self();
	assert_int_equal(job->steps++, 0);
}

static void job_done(void *arg)
{
	struct job *job = arg;

	job->done = pthread_self();
	assert_int_equal(job->steps++, 1);
}

static void work_is_done_beside_and_reported_here(void **state)
{
	struct job jobs[9] = {0};

	for (int i = 0; i < 9; i++)
		assert_int_equal(loop__work(*state, do_job, job_done, &jobs[i]), 0);
	assert_int_equal(loop__run(*state), 0);
	for (int i = 0; i < 9; i++) {
		assert_int_equal(jobs[i].steps, 2);
		assert_true(pthread_equal(jobs[i].done, pthread_self()));
		assert_false(pthread_equal(jobs[i].worker, pthread_self()));
	}
}

struct outcome {
	int calls, status, signal;
	bool overflow;
	char *output, *errors, *extra;
	size_t output_len;
};

static char *copy(const struct buf *buf)
{
	return strdup(buf->data ? buf->data : "");
}

static void on_child(struct loop_child_result *result, void *arg)
{
	struct outcome *o = arg;

	o->calls++;
	o->status = result->status;
	o->signal = result->signal;
	o->overflow = result->overflow;
	o->output = copy(&result->output);
	o->errors = copy(&result->errors);
	o->extra = copy(&result->extra);
	o->output_len = result->output.len;
}

static void forget(struct outcome *o)
{
	free(o->output);
	free(o->errors);
	free(o->extra);
}

static int start(struct loop *loop, const char *script, const char *input, size_t len,
		 size_t ceiling, struct outcome *o, struct loop_child **child)
{
	const char *const argv[] = {"sh", "-c", script, NULL};
	struct loop_child_spec spec = {
		.argv = argv, .input = input, .input_len = len, .ceiling = ceiling, .extra = true};

	return loop_child__start(loop, &spec, on_child, o, child);
}

static void child_gets_its_input_and_gives_its_outputs(void **state)
{
	size_t len = 3 << 20;
	char *input = malloc(len);
	struct loop_child *child;
	struct outcome o = {0};

	memset(input, 'x', len);
	/* fd 3 by its name in /dev/fd: that can be opened only for a pipe */
	assert_int_equal(start(*state, "cat; echo oops >&2; echo dep >/dev/fd/3; exit 7", input,
			       len, 8 << 20, &o, &child),
			 0);
	free(input);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(o.calls, 1);
	assert_int_equal(o.status, 7);
	assert_int_equal(o.signal, 0);
	assert_false(o.overflow);
	assert_int_equal(o.output_len, len);
	assert_string_equal(o.errors, "oops\n");
	assert_string_equal(o.extra, "dep\n");
	forget(&o);
}

static void child_need_not_read_its_input(void **state)
{
	static char input[1 << 20];
	struct loop_child *child;
	struct outcome o = {0};

	assert_int_equal(start(*state, "exit 0", input, sizeof(input), 4096, &o, &child), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(o.calls, 1);
	assert_int_equal(o.status, 0);
	forget(&o);
}

static void child_without_input_reads_the_end(void **state)
{
	struct loop_child *child;
	struct outcome o = {0};

	assert_int_equal(start(*state, "cat; echo end", NULL, 0, 4096, &o, &child), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_string_equal(o.output, "end\n");
	forget(&o);
}

static void child_is_handed_what_nobody_else_sees(void **state)
{
	static const char script[] = "cat; cat /dev/fd/3; tr '\\0' ' ' </proc/$$/cmdline";
	static char most[LOOP_CHILD_HANDED_MAX + 1];
	const char *const argv[] = {"sh", "-c", script, NULL};
	struct loop_child_spec spec = {.argv = argv,
				       .input = "in ",
				       .input_len = 3,
				       .ceiling = 8192,
				       .handed = "secret ",
				       .handed_len = 7};
	struct loop_child *child;
	struct outcome o = {0};

	assert_int_equal(loop_child__start(*state, &spec, on_child, &o, &child), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(o.status, 0);
	assert_non_null(strstr(o.output, "in secret sh -c cat;"));
	assert_null(strstr(strstr(o.output, "sh -c"), "secret"));
	forget(&o);
	spec.handed = most;
	spec.handed_len = sizeof(most);
	assert_int_equal(loop_child__start(*state, &spec, on_child, &o, &child), -E2BIG);
	spec = (struct loop_child_spec){.argv = (const char *[]){"sh", "-c", "wc -c </dev/fd/3",
								 NULL},
					.ceiling = 4096,
					.handed = most,
					.handed_len = sizeof(most) - 1};
	assert_int_equal(loop_child__start(*state, &spec, on_child, &o, &child), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(atoi(o.output), LOOP_CHILD_HANDED_MAX);
	forget(&o);
}

static void child_leads_a_session_of_its_own(void **state)
{
	struct loop_child *child;
	struct outcome o = {0};

	assert_int_equal(start(*state,
			       "read -r _ _ _ _ group session _ </proc/$$/stat; "
			       "[ $group = $$ ] && [ $session = $$ ]",
			       NULL, 0, 4096, &o, &child),
			 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(o.status, 0);
	forget(&o);
}

static void unknown_program_is_told_at_once(void **state)
{
	const char *const argv[] = {"/nonexistent/program", NULL};
	struct loop_child_spec spec = {.argv = argv, .ceiling = 1};
	struct loop_child *child = NULL;
	struct outcome o = {0};

	assert_int_equal(loop_child__start(*state, &spec, on_child, &o, &child), -ENOENT);
	assert_null(child);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(o.calls, 0);
}

static void child_is_killed_at_the_ceiling(void **state)
{
	struct loop_child *child;
	struct outcome o = {0};

	assert_int_equal(start(*state, "while :; do echo 0123456789; done", NULL, 0, 10000, &o,
			       &child),
			 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(o.calls, 1);
	assert_true(o.overflow);
	assert_int_equal(o.signal, SIGKILL);
	assert_int_equal(o.status, -1);
	assert_int_equal(o.output_len, 10000);
	forget(&o);
}

struct heard {
	struct outcome outcome; /* first: both callbacks get the same argument */
	struct loop_child *child;
	char text[3][64]; /* by descriptor */
};

static void on_output(int fd, const char *bytes, size_t len, void *arg)
{
	struct heard *heard = arg;
	size_t had = strlen(heard->text[fd]);

	assert_true(had + len < sizeof(heard->text[fd]));
	memcpy(heard->text[fd] + had, bytes, len);
	if (!strcmp(heard->text[1], "two\n"))
		loop_child__signal(heard->child, SIGTERM);
}

static void child_is_heard_as_it_speaks_and_told_by_signals(void **state)
{
	/* It speaks, and then waits for what comes of it. */
	const char *const argv[] = {"sh", "-c",
				    "trap 'echo caught; exit 3' TERM; echo one >&2; echo two; "
				    "while :; do sleep 0.01; done",
				    NULL};
	struct loop_child_spec spec = {.argv = argv, .on_output = on_output};
	struct heard heard = {.child = NULL};

	assert_int_equal(loop_child__start(*state, &spec, on_child, &heard, &heard.child), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_string_equal(heard.text[1], "two\ncaught\n");
	assert_string_equal(heard.text[2], "one\n");
	assert_int_equal(heard.outcome.calls, 1);
	assert_int_equal(heard.outcome.status, 3);
	assert_int_equal(heard.outcome.output_len, 0);
	forget(&heard.outcome);
}

struct reading {
	struct loop *loop;
	int fd, left;
};

static void read_one(void *arg)
{
	struct reading *r = arg;
	char byte;

	assert_int_equal(read(r->fd, &byte, 1), 1);
	if (!--r->left)
		loop__stop(r->loop);
}

/* Says the next line when it has heard the last, and hangs up after the third. */
static void on_echo(int fd, const char *bytes, size_t len, void *arg)
{
	struct heard *heard = arg;
	size_t had = strlen(heard->text[fd]);

	assert_true(had + len < sizeof(heard->text[fd]));
	memcpy(heard->text[fd] + had, bytes, len);
	if (!strcmp(heard->text[1], "one\n"))
		assert_int_equal(loop_child__write(heard->child, "two\n", 4), 0);
	else if (!strcmp(heard->text[1], "one\ntwo\n"))
		assert_int_equal(loop_child__write(heard->child, "end\n", 4), 0);
}

static void child_is_spoken_to_while_it_runs(void **state)
{
	const char *argv[] = {"sh", "-c",
			      "while read line; do echo $line; [ $line != end ] || exit 4; done",
			      NULL};
	struct loop_child_spec spec = {.argv = argv,
				       .on_output = on_echo,
				       .input = "one\n",
				       .input_len = 4,
				       .keep_input = true};
	struct heard heard = {.child = NULL};

	assert_int_equal(loop_child__start(*state, &spec, on_child, &heard, &heard.child), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_string_equal(heard.text[1], "one\ntwo\nend\n");
	assert_int_equal(heard.outcome.status, 4);
	forget(&heard.outcome);
}

/* It writes for ever; while it is not read, nothing comes. */
static void on_flood(int fd, const char *bytes, size_t len, void *arg)
{
	struct heard *heard = arg;

	(void)fd;
	(void)bytes;
	(void)len;
	heard->outcome.output_len++;
	loop_child__pause(heard->child);
}

static void on_pause_ends(void *arg)
{
	struct heard *heard = arg;

	assert_int_equal(heard->outcome.output_len, 1);
	loop_child__resume(heard->child);
	loop_child__kill(heard->child);
}

static void a_child_is_paused(void **state)
{
	const char *argv[] = {"sh", "-c", "while :; do echo line; done", NULL};
	struct loop_child_spec spec = {.argv = argv, .on_output = on_flood, .keep_input = true};
	struct heard heard = {.child = NULL};
	struct loop_timer *timer;
	char *much = calloc(1, 3 << 20);

	assert_non_null(much);
	assert_int_equal(loop_child__start(*state, &spec, on_child, &heard, &heard.child), 0);
	/* And it does not listen. */
	assert_int_equal(loop_child__write(heard.child, much, 3 << 20), 0);
	assert_int_equal(loop_child__write(heard.child, much, 3 << 20), -ENOBUFS);
	assert_int_equal(loop_timer__new(*state, on_pause_ends, &heard, &timer), 0);
	assert_int_equal(loop_timer__start(timer, loop__now() + 100 * MS), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(heard.outcome.signal, SIGKILL);
	loop_timer__free(timer);
	free(much);
	forget(&heard.outcome);
}

static void never(void *arg)
{
	(void)arg;
	fail_msg("nothing was to be read");
}

static void watch_calls_until_all_is_read(void **state)
{
	struct reading r = {.loop = *state, .left = 3};
	struct loop_timer *timer;
	struct loop_watch *watch;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	r.fd = fds[0];
	assert_int_equal(write(fds[1], "abc", 3), 3);
	assert_int_equal(loop_watch__new(*state, fds[0], read_one, &r, &watch), 0);
	assert_int_equal(loop__run(*state), 0); /* it does not keep the loop running */
	assert_int_equal(loop_timer__new(*state, never, NULL, &timer), 0);
	assert_int_equal(loop_timer__start(timer, loop__now() + 60 * 1000 * MS), 0);
	if (r.left)
		assert_int_equal(loop__run(*state), 0);
	assert_int_equal(r.left, 0);
	loop_watch__free(watch);
	loop_timer__free(timer);
	close(fds[0]);
	close(fds[1]);
}

static void kill_child(void *arg)
{
	loop_child__kill(*(struct loop_child **)arg);
}

static void killing_takes_what_the_child_started(void **state)
{
	struct loop_child *child;
	struct loop_timer *timer;
	struct outcome o = {0};

	/* both hold the pipes open */
	assert_int_equal(start(*state, "sleep 1000 & sleep 1000", NULL, 0, 4096, &o, &child), 0);
	assert_int_equal(loop_timer__new(*state, kill_child, &child, &timer), 0);
	assert_int_equal(loop_timer__start(timer, loop__now() + 5 * MS), 0);
	assert_int_equal(loop__run(*state), 0);
	assert_int_equal(o.calls, 1);
	assert_int_equal(o.signal, SIGKILL);
	forget(&o);
}

static void free_ends_everything(void **state)
{
	struct job job = {0};
	struct ticker t = {0};
	struct loop_signal *signal;
	struct loop_child *child;
	struct outcome o = {0};
	struct loop *loop;

	(void)state;
	assert_int_equal(loop__new(&loop), 0);
	assert_int_equal(start(loop, "sleep 1000", "x", 1, 4096, &o, &child), 0);
	assert_int_equal(loop_timer__new(loop, on_tick, &t, &t.timer), 0);
	assert_int_equal(loop_timer__start(t.timer, loop__now() + 3600 * 1000 * MS), 0);
	assert_int_equal(loop_signal__new(loop, SIGUSR2, on_signal, &t, &signal), 0);
	assert_int_equal(loop__work(loop, do_job, job_done, &job), 0);
	loop__free(loop);
	assert_int_equal(o.calls, 1);
	assert_int_equal(o.signal, SIGKILL);
	assert_int_equal(job.steps, 2);
	assert_int_equal(t.calls, 0);
	forget(&o);
	loop__free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timer_is_never_early_and_hardly_late, setup,
						teardown),
		cmocka_unit_test_setup_teardown(stopped_timer_does_not_keep_the_loop, setup,
						teardown),
		cmocka_unit_test_setup_teardown(later_start_replaces_the_earlier, setup, teardown),
		cmocka_unit_test_setup_teardown(timer_may_be_freed_by_its_callback, setup,
						teardown),
		cmocka_unit_test_setup_teardown(running_twice_is_refused_and_stop_stops, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_step_of_the_clock_is_told_each_time, setup,
						teardown),
		cmocka_unit_test_setup_teardown(signal_arrives_and_does_not_keep_the_loop, setup,
						teardown),
		cmocka_unit_test_setup_teardown(work_is_done_beside_and_reported_here, setup,
						teardown),
		cmocka_unit_test_setup_teardown(child_gets_its_input_and_gives_its_outputs, setup,
						teardown),
		cmocka_unit_test_setup_teardown(child_need_not_read_its_input, setup, teardown),
		cmocka_unit_test_setup_teardown(child_without_input_reads_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(child_is_handed_what_nobody_else_sees, setup,
						teardown),
		cmocka_unit_test_setup_teardown(child_leads_a_session_of_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_program_is_told_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(child_is_heard_as_it_speaks_and_told_by_signals,
						setup, teardown),
		cmocka_unit_test_setup_teardown(child_is_spoken_to_while_it_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_is_paused, setup, teardown),
		cmocka_unit_test_setup_teardown(watch_calls_until_all_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(child_is_killed_at_the_ceiling, setup, teardown),
		cmocka_unit_test_setup_teardown(killing_takes_what_the_child_started, setup,
						teardown),
		cmocka_unit_test(free_ends_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
