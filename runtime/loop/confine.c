/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/confine.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "loop/confine_child.h"

#define NS_PER_S 1000000000ULL
#define SPIN_NS 20000 /* as long as it takes to be put to sleep and woken */

/* Shared with the child: two places, written in turn, and which of them is whole. */
struct note {
	_Atomic unsigned int current;
	char text[2][CONFINE_NOTE];
};

struct confine {
	pid_t pid; /* 0: gone, and reaped */
	int fd;
	struct note *note;
	char message[1 + CONFINE_MESSAGE + 1];
};

struct confine_peer {
	int fd;
	struct note *note;
	char message[CONFINE_MESSAGE + 1];
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	return clock_gettime(id, &t) ? 0 : (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/*
 * A message that is there or comes very soon, without going to sleep: to be woken costs ten times a short call (5 against
 * 50 µs on a virtual machine). As recv(); -EAGAIN when none has come.
 */
static ssize_t receive_soon(int fd, void *out, size_t size)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + SPIN_NS;
	ssize_t n;

	do {
		n = recv(fd, out, size, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			sched_yield(); /* on one CPU, the other end has to have it */
	} while (n < 0 && (errno == EINTR || errno == EAGAIN) && clock_ns(CLOCK_MONOTONIC) < end);
	return n < 0 ? -errno : n;
}

/* ---- the child */

int confine_peer__receive(struct confine_peer *peer, const char **message, size_t *len)
{
	ssize_t n = receive_soon(peer->fd, peer->message, CONFINE_MESSAGE);

	while (n == -EAGAIN || n == -EINTR) {
		n = recv(peer->fd, peer->message, CONFINE_MESSAGE, 0);
		n = n < 0 ? -errno : n;
	}
	if (n <= 0)
		return -EPIPE;
	peer->message[n] = '\0';
	*message = peer->message;
	*len = (size_t)n;
	return 0;
}

static int send_parts(int fd, char kind, const char *text, size_t len)
{
	struct iovec parts[] = {
		{&kind, 1},
		{(void *)text, len < CONFINE_MESSAGE ? len : CONFINE_MESSAGE},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t n;

	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -EPIPE : 0;
}

int confine_peer__send(struct confine_peer *peer, enum confine_kind kind, const char *text,
		       size_t len)
{
	return send_parts(peer->fd, (char)kind, text, len);
}

void confine_peer__note(struct confine_peer *peer, const char *text)
{
	unsigned int next = !atomic_load_explicit(&peer->note->current, memory_order_relaxed);
	char *out = peer->note->text[next];
	size_t len = strnlen(text, CONFINE_NOTE - 1);

	memcpy(out, text, len);
	out[len] = '\0';
	atomic_store_explicit(&peer->note->current, next, memory_order_release);
}

static void child(const struct confine_spec *spec, int fd, pid_t parent, struct note *note)
{
	static struct confine_peer peer; /* the stack may be nearly used up */
	int err = confine_child__confine(fd, parent, spec);
	char text[256];

	peer.fd = fd;
	peer.note = note;
	if (!err) {
		spec->serve(&peer, spec->arg);
	} else {
		snprintf(text, sizeof(text), "the process cannot be confined: %s", strerror(-err));
		confine_peer__send(&peer, CONFINE_FAILED, text, strlen(text));
	}
	_exit(0);
}

/* ---- the parent */

/*
 * No signal may reach the child before it has handlers of its own: those of the loop would write into the parent's pipe. Only this
 * thread's mask matters, for the child has only this thread.
 */
static pid_t fork_quietly(const struct confine_spec *spec, const int fds[2], struct note *note)
{
	pid_t parent = getpid(), pid;
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (!pid)
		child(spec, fds[1], parent, note);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid < 0 ? -errno : pid;
}

int confine__start(const struct confine_spec *spec, struct confine **out, struct error *error)
{
	struct confine *confine = calloc(1, sizeof(*confine));
	int fds[2] = {-1, -1}, err = -ENOMEM;
	pid_t pid;

	if (!confine)
		return error__set(error, err, "out of memory");
	confine->fd = -1;
	confine->note = mmap(NULL, sizeof(*confine->note), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (confine->note == MAP_FAILED) {
		confine->note = NULL;
		goto out;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) {
		err = -errno;
		goto out;
	}
	pid = fork_quietly(spec, fds, confine->note);
	close(fds[1]);
	confine->fd = fds[0];
	err = pid < 0 ? pid : 0;
	if (!err)
		confine->pid = pid;
out:
	if (err) {
		confine__free(confine);
		return error__set(error, err, "cannot start a process: %s", strerror(-err));
	}
	*out = confine;
	return 0;
}

/* Kills it if it still runs; a process that is ending keeps its own reason. Returns the signal it died of, or 0. */
static int reap(struct confine *confine)
{
	int status = 0;
	pid_t pid;

	if (!confine->pid)
		return 0;
	kill(confine->pid, SIGKILL);
	do
		pid = waitpid(confine->pid, &status, 0);
	while (pid < 0 && errno == EINTR);
	confine->pid = 0;
	return pid > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static uint64_t cpu_of(pid_t pid)
{
	clockid_t id;

	return clock_getcpuclockid(pid, &id) ? 0 : clock_ns(id);
}

/* One message of the child's: its length, 0 at its end, -ETIME when the time is over. */
static ssize_t next_message(struct confine *confine, uint64_t deadline)
{
	struct pollfd p = {.fd = confine->fd, .events = POLLIN};

	ssize_t n = receive_soon(confine->fd, confine->message, 1 + CONFINE_MESSAGE);

	while (n == -EAGAIN || n == -EINTR) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC),
			 left = deadline > now ? deadline - now : 0;
		struct timespec wait = {.tv_sec = (time_t)(left / NS_PER_S),
					.tv_nsec = (long)(left % NS_PER_S)};

		if (ppoll(&p, 1, &wait, NULL) <= 0 && !left)
			return -ETIME;
		n = recv(confine->fd, confine->message, 1 + CONFINE_MESSAGE, MSG_DONTWAIT);
		n = n < 0 ? -errno : n;
	}
	return n < 0 ? 0 : n;
}

static void conclude(struct confine *confine, ssize_t n, uint64_t cpu,
		     struct confine_answer *answer)
{
	if (n == -ETIME) {
		uint64_t now = cpu_of(confine->pid);

		answer->kind = CONFINE_TIME;
		answer->cpu_ns = now > cpu ? now - cpu : 0;
		reap(confine);
	} else if (n <= 0) {
		answer->signal = reap(confine);
		answer->kind = answer->signal == SIGPROF ? CONFINE_TIME : CONFINE_DIED;
		answer->cpu_ns = UINT64_MAX; /* of a TIME: it had all that it may have */
	} else {
		answer->kind = (enum confine_kind)confine->message[0];
		answer->text = confine->message + 1;
		answer->len = (size_t)n - 1;
		if (answer->kind == CONFINE_MEMORY)
			reap(confine);
	}
}

static int post(struct confine *confine, const char *message, size_t len)
{
	if (!confine->pid)
		return -EPIPE;
	if (!len || len > CONFINE_MESSAGE)
		return -EMSGSIZE;
	return send(confine->fd, message, len, MSG_NOSIGNAL) < 0 ? -EIO : 0;
}

/* Whether a message is the answer; output that comes before it is passed on. */
static bool is_answer(struct confine *confine, ssize_t n, confine_output_fn fn, void *arg)
{
	if (n <= 0)
		return true;
	confine->message[n] = '\0';
	if (confine->message[0] != CONFINE_OUTPUT)
		return true;
	if (fn)
		fn(confine->message + 1, (size_t)n - 1, arg);
	return false;
}

int confine__ask(struct confine *confine, const char *message, size_t len, uint64_t timeout_ns,
		 confine_output_fn fn, void *arg, struct confine_answer *answer)
{
	uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + timeout_ns;
	uint64_t cpu = confine->pid ? cpu_of(confine->pid) : 0;
	ssize_t n = 0;
	int err = post(confine, message, len);

	memset(answer, 0, sizeof(*answer));
	if (err && err != -EIO)
		return err;
	if (!err)
		do
			n = next_message(confine, deadline);
		while (!is_answer(confine, n, fn, arg));
	conclude(confine, n, cpu, answer);
	return 0;
}

int confine__post(struct confine *confine, const char *message, size_t len)
{
	int err = post(confine, message, len);

	return err == -EIO ? 0 : err; /* it has died: confine__poll says of what */
}

int confine__poll(struct confine *confine, confine_output_fn fn, void *arg,
		  struct confine_answer *answer)
{
	ssize_t n;

	memset(answer, 0, sizeof(*answer));
	if (!confine->pid)
		return -EPIPE;
	do {
		n = recv(confine->fd, confine->message, 1 + CONFINE_MESSAGE, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return -EAGAIN;
	} while (!is_answer(confine, n, fn, arg));
	conclude(confine, n < 0 ? 0 : n, 0, answer);
	return 0;
}

int confine__fd(const struct confine *confine)
{
	return confine->fd;
}

const char *confine__note(const struct confine *confine)
{
	return confine->note
		->text[atomic_load_explicit(&confine->note->current, memory_order_acquire)];
}

pid_t confine__pid(const struct confine *confine)
{
	return confine->pid;
}

void confine__free(struct confine *confine)
{
	if (!confine)
		return;
	reap(confine);
	if (confine->fd >= 0)
		close(confine->fd);
	if (confine->note)
		munmap(confine->note, sizeof(*confine->note));
	free(confine);
}
