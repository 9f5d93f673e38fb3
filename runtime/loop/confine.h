/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child of this process that sees its memory as it was at the fork (copy on write), can compute and answer, and nothing
 * else; and that can be killed at any moment.
 *
 * A policy's own code runs in one, since no limit holds inside a process: hooks do not fire in compiled loops, a library call
 * may run for minutes, and an error raised by a limit can be caught. The child has no file but its channel and standard
 * error, no capability and no new privilege, may make only the system calls that computing takes (where the kernel has seccomp),
 * and dies with its parent. It never returns into the code around the fork: it ends in _exit(). It has a process group of its own
 * and ignores the signals that a terminal or a service manager sends to all, so that Ctrl-C in the middle of a call is no
 * fault of the function that was called.
 *
 * The parent waits in confine__ask() only, for that child only: no SIGCHLD handler is needed or disturbed. Who has a loop to go on
 * with calls confine__post(), and confine__poll() when the descriptor is readable.
 */
#ifndef PERILUNE_CONFINE_H
#define PERILUNE_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define CONFINE_MESSAGE 49152 /* bytes of one message, either way; more is cut */
#define CONFINE_NOTE 1024     /* bytes of a note, with its NUL; more is cut */

struct confine;	     /* the parent's side */
struct confine_peer; /* the child's side */

struct confine_spec {
	uint64_t memory; /* bytes of address space beyond what the process has at the fork */
	uint64_t cpu_ns; /* of processor time in all its life, by the scheduler's tick */
	bool files;	 /* may open files for reading; without it, none */
	void (*serve)(struct confine_peer *peer,
		      void *arg); /* runs in the child, which ends when it returns */
	void *arg;
};

enum confine_kind {
	CONFINE_REPLY = 'r',  /* the answer */
	CONFINE_FAILED = 'e', /* the answer is an error, of which the child did not die */
	CONFINE_MEMORY = 'm', /* the memory did not suffice */
	CONFINE_OUTPUT = 'o', /* text that comes before the answer, as often as it likes */
	CONFINE_TIME = 't',   /* no answer in time */
	CONFINE_DIED = 'd',   /* ended without an answer */
};

struct confine_answer {
	enum confine_kind
		kind;	  /* never CONFINE_OUTPUT. After MEMORY, TIME and DIED the child is gone */
	const char *text; /* of REPLY and FAILED, NUL-terminated; valid until the next question */
	size_t len;
	int signal; /* of DIED: what killed it, or 0 if it ended by itself */
	uint64_t
		cpu_ns; /* of TIME: the processor time it had for this question; 0 when not known */
};

typedef void (*confine_output_fn)(const char *text, size_t len, void *arg);

/* Forks. In the parent: 0 and *out, or -errno with `error` filled. The child does not come back. */
int confine__start(const struct confine_spec *spec, struct confine **out, struct error *error);

/*
 * Sends a message and waits at most `timeout_ns` for the answer, passing on output (`fn` may be NULL) as it comes. A child that
 * does not answer is killed and reaped. 0, or -EPIPE when the child was gone before, -EMSGSIZE for a message over CONFINE_MESSAGE.
 */
int confine__ask(struct confine *confine, const char *message, size_t len, uint64_t timeout_ns,
		 confine_output_fn fn, void *arg, struct confine_answer *answer);

/* The same without waiting: sends a message; the answer is fetched by confine__poll(). Errors as confine__ask(). */
int confine__post(struct confine *confine, const char *message, size_t len);

/* The answer to what was posted, if it is there; output is passed on. 0, -EAGAIN: not yet, -EPIPE: the child was gone before. */
int confine__poll(struct confine *confine, confine_output_fn fn, void *arg,
		  struct confine_answer *answer);

/* Readable when confine__poll() has something. Borrowed. */
int confine__fd(const struct confine *confine);

/* What the child noted last, whatever became of it since; "" when nothing. */
const char *confine__note(const struct confine *confine);

/* The child's process id; 0 when it is gone. */
pid_t confine__pid(const struct confine *confine);

/* Kills and reaps the child. NULL-safe. */
void confine__free(struct confine *confine);

/* In the child. A message of the parent's, valid until the next one; -EPIPE when there will be none. */
int confine_peer__receive(struct confine_peer *peer, const char **message, size_t *len);

/* In the child. -EPIPE when the parent is gone. */
int confine_peer__send(struct confine_peer *peer, enum confine_kind kind, const char *text,
		       size_t len);

/* In the child. Leaves a text for confine__note(), one store after the other, so that a kill never leaves half of it. */
void confine_peer__note(struct confine_peer *peer, const char *text);

#endif
