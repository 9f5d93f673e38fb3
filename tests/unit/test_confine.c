/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/confine.h"

#define SECOND 1000000000ULL
#define MIB (1UL << 20)

typedef void (*word_fn)(struct confine_peer *peer);

static void say_text(struct confine_peer *peer, const char *text)
{
	confine_peer__send(peer, CONFINE_REPLY, text, strlen(text));
}

static void say_number(struct confine_peer *peer, long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", number);
	say_text(peer, text);
}

/* ---- what the child is asked to do */

static void do_echo(struct confine_peer *peer)
{
	confine_peer__send(peer, CONFINE_OUTPUT, "one", 3);
	confine_peer__send(peer, CONFINE_OUTPUT, "two", 3);
	say_text(peer, "echo");
}

static void do_fail(struct confine_peer *peer)
{
	confine_peer__send(peer, CONFINE_FAILED, "no", 2);
}

static void do_spin(struct confine_peer *peer)
{
	confine_peer__note(peer, "before");
	confine_peer__note(peer, "spinning");
	for (volatile int i = 0;; i++)
		;
}

static void do_sleep(struct confine_peer *peer)
{
	const char *message;
	size_t len;

	confine_peer__receive(peer, &message, &len); /* which never comes */
}

static void do_crash(struct confine_peer *peer)
{
	volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)peer;
	*page = 1;
}

static void do_end(struct confine_peer *peer)
{
	(void)peer;
	_exit(3);
}

/* How much memory there is, in MiB. */
static void do_grow(struct confine_peer *peer)
{
	long got = 0;

	while (mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	       MAP_FAILED)
		got++;
	say_number(peer, got);
}

/* How many of the things are possible that it is not to do. */
static void do_reach(struct confine_peer *peer)
{
	int reached = 0;

	reached += open("/dev/null", O_WRONLY) >= 0;
	reached += open("/tmp", O_TMPFILE | O_RDWR, 0600) >= 0;
	reached += unlink("/nonexistent") == 0 || errno != EPERM;
	reached += socket(AF_INET, SOCK_DGRAM, 0) >= 0;
	reached += kill(getppid(), 0) == 0;
	reached += fork() >= 0;
	reached += execl("/bin/true", "true", NULL) == 0 || errno != EPERM;
	reached += setpgid(0, 0) == 0;
	say_number(peer, reached);
}

static void do_open(struct confine_peer *peer)
{
	say_number(peer, open("/proc/self/status", O_RDONLY) >= 0);
}

/* Which descriptors are open. */
static void do_descriptors(struct confine_peer *peer)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	say_number(peer, count);
}

/* The lines of its status that say what it may. */
static void do_status(struct confine_peer *peer)
{
	static const char *const wanted[] = {"CapEff:\t0000000000000000\n",
					     "CapPrm:\t0000000000000000\n", "NoNewPrivs:\t1\n",
					     "Seccomp:\t2\n"};
	char text[8192];
	int fd = open("/proc/self/status", O_RDONLY), found = 0;
	ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[len > 0 ? len : 0] = '\0';
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		found += strstr(text, wanted[i]) != NULL;
	say_number(peer, found);
}

static const struct {
	const char *word;
	word_fn fn;
} words[] = {
	{"echo", do_echo},   {"fail", do_fail},	      {"spin", do_spin},     {"sleep", do_sleep},
	{"crash", do_crash}, {"end", do_end},	      {"grow", do_grow},     {"reach", do_reach},
	{"open", do_open},   {"fds", do_descriptors}, {"status", do_status},
};

static void serve(struct confine_peer *peer, void *arg)
{
	const char *message;
	size_t len;

	(void)arg;
	while (!confine_peer__receive(peer, &message, &len))
		for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
			if (!strcmp(words[i].word, message))
				words[i].fn(peer);
}

/* ---- the parent */

static struct confine *begin(bool files, uint64_t cpu_ns)
{
	struct confine_spec spec = {.memory = 32 * MIB,
				    .cpu_ns = cpu_ns,
				    .files = files,
				    .serve = serve};
	struct confine *confine = NULL;
	struct error error;

	assert_int_equal(confine__start(&spec, &confine, &error), 0);
	assert_true(confine__pid(confine) > 0);
	return confine;
}

static struct confine_answer ask(struct confine *confine, const char *word, uint64_t timeout_ns)
{
	struct confine_answer answer;

	assert_int_equal(confine__ask(confine, word, strlen(word), timeout_ns, NULL, NULL, &answer),
			 0);
	return answer;
}

static const char *reply(struct confine *confine, const char *word)
{
	struct confine_answer answer = ask(confine, word, 60 * SECOND);

	assert_int_equal(answer.kind, CONFINE_REPLY);
	assert_int_equal(strlen(answer.text), answer.len);
	return answer.text;
}

/* Neither running nor waiting to be reaped, and no child is left but those of the test. */
static void assert_gone(struct confine *confine, pid_t pid)
{
	struct confine_answer answer;

	assert_int_equal(confine__pid(confine), 0);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(confine__ask(confine, "echo", 4, SECOND, NULL, NULL, &answer), -EPIPE);
	confine__free(confine);
}

static void collect(const char *text, size_t len, void *arg)
{
	strncat(arg, text, len);
}

static void it_answers_as_often_as_it_is_asked(void **state)
{
	struct confine *confine = begin(false, 60 * SECOND);
	struct confine_answer answer;
	pid_t pid = confine__pid(confine);
	char output[64] = "";

	(void)state;
	assert_int_equal(confine__ask(confine, "echo", 4, 60 * SECOND, collect, output, &answer),
			 0);
	assert_int_equal(answer.kind, CONFINE_REPLY);
	assert_string_equal(answer.text, "echo");
	assert_string_equal(output, "onetwo");
	answer = ask(confine, "fail", 60 * SECOND);
	assert_int_equal(answer.kind, CONFINE_FAILED);
	assert_string_equal(answer.text, "no");
	assert_string_equal(reply(confine, "echo"), "echo");
	assert_string_equal(confine__note(confine), "");
	assert_int_equal(confine__pid(confine), pid);
	confine__free(confine);
	assert_int_equal(kill(pid, 0), -1);
	confine__free(NULL);
}

/* The answer to what was posted, by waiting for the descriptor as a loop does. */
static int await(struct confine *confine, char *output, struct confine_answer *answer)
{
	struct pollfd readable = {.fd = confine__fd(confine), .events = POLLIN};
	int err;

	do {
		assert_int_equal(poll(&readable, 1, 60000), 1);
		err = confine__poll(confine, collect, output, answer);
	} while (err == -EAGAIN);
	return err;
}

static void one_can_go_on_meanwhile(void **state)
{
	struct confine *confine = begin(false, 60 * SECOND);
	struct confine_answer answer;
	char output[64] = "";

	(void)state;
	assert_int_equal(confine__post(confine, "sleep", 5), 0);
	assert_int_equal(confine__poll(confine, collect, output, &answer), -EAGAIN);
	assert_int_equal(confine__post(confine, "wake", 4), 0);
	assert_int_equal(confine__post(confine, "echo", 4), 0);
	assert_int_equal(await(confine, output, &answer), 0);
	assert_int_equal(answer.kind, CONFINE_REPLY);
	assert_string_equal(answer.text, "echo");
	assert_string_equal(output, "onetwo");
	assert_int_equal(confine__post(confine, "crash", 5), 0);
	assert_int_equal(await(confine, output, &answer), 0);
	assert_int_equal(answer.kind, CONFINE_DIED);
	assert_int_equal(answer.signal, SIGSEGV);
	assert_int_equal(confine__poll(confine, NULL, NULL, &answer), -EPIPE);
	assert_int_equal(confine__post(confine, "echo", 4), -EPIPE);
	confine__free(confine);
}

static void messages_have_bounds(void **state)
{
	static char text[CONFINE_MESSAGE + 1];
	struct confine *confine = begin(false, 60 * SECOND);
	struct confine_answer answer;

	(void)state;
	assert_int_equal(confine__ask(confine, text, sizeof(text), SECOND, NULL, NULL, &answer),
			 -EMSGSIZE);
	assert_int_equal(confine__ask(confine, "", 0, SECOND, NULL, NULL, &answer), -EMSGSIZE);
	assert_string_equal(reply(confine, "echo"), "echo");
	confine__free(confine);
}

static void one_that_runs_on_is_killed(void **state)
{
	struct confine *confine = begin(false, 60 * SECOND);
	pid_t pid = confine__pid(confine);
	struct confine_answer answer = ask(confine, "spin", SECOND / 5);

	(void)state;
	assert_int_equal(answer.kind, CONFINE_TIME);
	assert_true(answer.cpu_ns < SECOND);
	assert_string_equal(confine__note(confine), "spinning");
	assert_gone(confine, pid);
}

static void one_that_had_no_processor_is_known_by_that(void **state)
{
	struct confine *confine = begin(false, 60 * SECOND);
	pid_t pid = confine__pid(confine);
	struct confine_answer answer = ask(confine, "sleep", SECOND / 5);

	(void)state;
	assert_int_equal(answer.kind, CONFINE_TIME);
	assert_true(answer.cpu_ns < SECOND / 10);
	assert_gone(confine, pid);
}

static void its_processor_time_is_limited_whoever_waits(void **state)
{
	struct confine *confine = begin(false, SECOND / 10);
	pid_t pid = confine__pid(confine);
	struct confine_answer answer = ask(confine, "spin", 60 * SECOND);

	(void)state;
	assert_int_equal(answer.kind, CONFINE_TIME);
	assert_true(answer.cpu_ns > 60 * SECOND); /* all it may have */
	assert_gone(confine, pid);
}

static void its_memory_is_limited(void **state)
{
	struct confine *confine = begin(false, 60 * SECOND);
	long got = strtol(reply(confine, "grow"), NULL, 10);

	(void)state;
	assert_true(got > 16 && got <= 32);
	confine__free(confine);
}

static void its_death_is_named(void **state)
{
	struct confine *confine = begin(false, 60 * SECOND);
	pid_t pid = confine__pid(confine);
	struct confine_answer answer;

	(void)state;
	answer = ask(confine, "end", 60 * SECOND);
	assert_int_equal(answer.kind, CONFINE_DIED);
	assert_int_equal(answer.signal, 0);
	assert_gone(confine, pid);
	confine = begin(false, 60 * SECOND);
	pid = confine__pid(confine);
	assert_int_equal(kill(pid, SIGKILL), 0);
	answer = ask(confine, "echo", 60 * SECOND);
	assert_int_equal(answer.kind, CONFINE_DIED);
	assert_int_equal(answer.signal, SIGKILL);
	assert_gone(confine, pid);
	confine = begin(false, 60 * SECOND);
	pid = confine__pid(confine);
	answer = ask(confine, "crash", 60 * SECOND);
	assert_int_equal(answer.kind, CONFINE_DIED);
	assert_int_equal(answer.signal, SIGSEGV);
	assert_gone(confine, pid);
}

static void what_is_meant_for_all_processes_is_no_end_of_it(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct confine *confine = begin(false, 60 * SECOND);

	(void)state;
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		assert_string_equal(reply(confine, "echo"), "echo");
		assert_int_equal(kill(confine__pid(confine), signals[i]), 0);
	}
	assert_string_equal(reply(confine, "echo"), "echo");
	assert_int_not_equal(getpgid(confine__pid(confine)),
			     getpgid(0)); /* Ctrl-C does not even reach it */
	confine__free(confine);
}

static void it_can_compute_and_nothing_else(void **state)
{
	struct confine *confine = begin(false, 60 * SECOND);

	(void)state;
	assert_string_equal(reply(confine, "reach"), "0");
	assert_string_equal(reply(confine, "open"), "0");
	confine__free(confine);
}

static void it_can_read_files_if_it_may(void **state)
{
	int other = open("/dev/null", O_RDWR);
	struct confine *confine = begin(true, 60 * SECOND);

	(void)state;
	assert_true(other >= 0);
	assert_string_equal(reply(confine, "fds"), "2"); /* the channel and standard error */
	assert_string_equal(reply(confine, "status"), "4");
	assert_string_equal(reply(confine, "open"), "1");
	assert_string_equal(reply(confine, "reach"), "0");
	confine__free(confine);
	close(other);
}

/* The parent waits for its own child only. */
static void other_children_are_left_alone(void **state)
{
	pid_t other = fork(), pid;
	struct confine *confine;
	siginfo_t ended = {0};
	int status;

	(void)state;
	if (!other)
		_exit(7);
	assert_int_equal(waitid(P_PID, (id_t)other, &ended, WEXITED | WNOWAIT), 0);
	confine = begin(false, 60 * SECOND);
	pid = confine__pid(confine);
	ask(confine, "end", 60 * SECOND);
	assert_gone(confine, pid);
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/* A process that forks a child, says which, lets it spin, and is killed. */
static void it_dies_with_its_parent(void **state)
{
	int pipes[2], status;
	pid_t parent, child = 0;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe(pipes), 0);
	parent = fork();
	if (!parent) {
		struct confine *confine = begin(false, 600 * SECOND);
		pid_t pid = confine__pid(confine);

		if (write(pipes[1], &pid, sizeof(pid)) == sizeof(pid))
			ask(confine, "spin", 600 * SECOND);
		_exit(1);
	}
	assert_int_equal(read(pipes[0], &child, sizeof(child)), sizeof(child));
	assert_int_equal(kill(parent, SIGKILL), 0);
	assert_int_equal(waitpid(parent, &status, 0), parent);
	assert_int_equal(waitpid(child, &status, 0), child); /* ours now */
	assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : !WEXITSTATUS(status));
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_answers_as_often_as_it_is_asked),
		cmocka_unit_test(one_can_go_on_meanwhile),
		cmocka_unit_test(messages_have_bounds),
		cmocka_unit_test(one_that_runs_on_is_killed),
		cmocka_unit_test(one_that_had_no_processor_is_known_by_that),
		cmocka_unit_test(its_processor_time_is_limited_whoever_waits),
		cmocka_unit_test(its_memory_is_limited),
		cmocka_unit_test(its_death_is_named),
		cmocka_unit_test(what_is_meant_for_all_processes_is_no_end_of_it),
		cmocka_unit_test(it_can_compute_and_nothing_else),
		cmocka_unit_test(it_can_read_files_if_it_may),
		cmocka_unit_test(other_children_are_left_alone),
		cmocka_unit_test(it_dies_with_its_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
