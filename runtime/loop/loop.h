/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: the only owner of the uv loop.
 *
 * Timers, signals, children and workers are asked for here; nothing else in the runtime knows
 * libuv. Callbacks run on the loop's thread, a work function runs on a worker and must not touch
 * anything the loop's thread uses meanwhile.
 */
#ifndef PERILUNE_LOOP_H
#define PERILUNE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

struct loop;
struct loop_timer;
struct loop_signal;
struct loop_watch;
struct loop_child;

/*
 * Ignores SIGPIPE from then on, unless it is handled already: a child may end before it has read
 * its input.
 */
int loop__new(struct loop **out);

/*
 * Stops and closes what is still open (children are killed and reaped, running workers are waited
 * for and their `done` is called), then frees. NULL-safe.
 */
void loop__free(struct loop *loop);

/*
 * For the end: stops timers, kills children, waits for running workers, and calls what is still
 * owed to anybody. Nothing new can be started afterwards. Whoever owns handles then frees them, and
 * last of all the loop is freed.
 */
void loop__settle(struct loop *loop);

/*
 * Runs until loop__stop() or until nothing is left that could call back. -EBUSY when it is running
 * already.
 */
int loop__run(struct loop *loop);
/*
 * Ends loop__run() after the callbacks that are due; when it is not running, the next one ends at
 * once.
 */
void loop__stop(struct loop *loop);

/* CLOCK_MONOTONIC and CLOCK_REALTIME, ns. */
uint64_t loop__now(void);
uint64_t loop__wall(void);
/* ns of the boot clock, which goes on while the machine sleeps. */
uint64_t loop__boot(void);

typedef void (*loop_timer_fn)(void *arg);

/* A stopped timer. One that is running keeps loop__run() from returning. */
int loop_timer__new(struct loop *loop, loop_timer_fn fn, void *arg, struct loop_timer **out);
/*
 * Calls `fn` once, when loop__now() has reached `deadline` (ns) and never before; replaces an
 * earlier start.
 */
int loop_timer__start(struct loop_timer *timer, uint64_t deadline);
void loop_timer__stop(struct loop_timer *timer);
void loop_timer__free(struct loop_timer *timer);

/*
 * Calls `fn` each time somebody sets the wall clock (also when the machine wakes up), not when it is slewed. Does not keep the loop
 * running; freed like a timer, and cannot be started or stopped.
 */
int loop_timer__on_step(struct loop *loop, loop_timer_fn fn, void *arg, struct loop_timer **out);

/*
 * Calls `fn` whenever `fd` can be read, again and again until it has been. The descriptor stays the caller's and may be closed
 * at any time: the watch has a duplicate. Does not keep the loop running.
 */
int loop_watch__new(struct loop *loop, int fd, loop_timer_fn fn, void *arg,
		    struct loop_watch **out);
/* What it calls `fn` for instead of reading alone; for neither, it calls no more. */
int loop_watch__want(struct loop_watch *watch, bool readable, bool writable);
void loop_watch__free(struct loop_watch *watch);

typedef void (*loop_signal_fn)(int signum, void *arg);

/* Calls `fn` on the loop for every `signum` received. Does not keep the loop running. */
int loop_signal__new(struct loop *loop, int signum, loop_signal_fn fn, void *arg,
		     struct loop_signal **out);
void loop_signal__free(struct loop_signal *signal);

typedef void (*loop_work_fn)(void *arg);

/*
 * `work` on a worker, then `done` on the loop, always both and in this order. -errno when it could
 * not be queued.
 */
int loop__work(struct loop *loop, loop_work_fn work, loop_work_fn done, void *arg);

/* Some of what a child has written, to its standard output (1) or standard error (2). */
typedef void (*loop_child_output_fn)(int fd, const char *bytes, size_t len, void *arg);

/* A child process whose standard input is given and whose outputs are collected, or handed on as they come. */
struct loop_child_spec {
	const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
	const char *input; /* written to its standard input, which is then closed; may be NULL */
	size_t input_len;
	bool keep_input; /* it stays open, for loop_child__write() */
	size_t ceiling;	 /* most bytes kept of each output; the child is killed beyond that */
	bool extra;	 /* also give it fd 3, a pipe to write to; */
	const char
		*handed; /* or one to read these bytes from, which nobody else sees; may be NULL */
	size_t handed_len;		/* at most LOOP_CHILD_HANDED_MAX */
	loop_child_output_fn on_output; /* may be NULL: then they are collected */
};

#define LOOP_CHILD_HANDED_MAX 32768

struct loop_child_result {
	int status;	   /* exit status, or -1 */
	int signal;	   /* the signal that ended it, or 0 */
	bool overflow;	   /* an output went over the ceiling */
	struct buf output; /* standard output; freed after the callback */
	struct buf errors; /* standard error */
	struct buf extra;  /* what came through fd 3 */
};

typedef void (*loop_child_fn)(struct loop_child_result *result, void *arg);

/*
 * Starts it and calls `fn` once, when it has been reaped and all its pipes are closed; *out is
 * freed after that call. -ENOENT when there is no such program, -E2BIG when too much is handed. The copy of the input is the loop's
 * own. It leads a session of its own, so a terminal's Ctrl-C does not reach it.
 */
int loop_child__start(struct loop *loop, const struct loop_child_spec *spec, loop_child_fn fn,
		      void *arg, struct loop_child **out);
/*
 * Writes more to its standard input, if that was kept open. -EPIPE when it is closed, -ENOBUFS when the child does not read and
 * too much waits for it (nothing is written then).
 */
int loop_child__write(struct loop_child *child, const void *bytes, size_t len);
/* Stops reading its outputs, so that it waits once its pipes are full; and goes on. Only with on_output. */
void loop_child__pause(struct loop_child *child);
void loop_child__resume(struct loop_child *child);
pid_t loop_child__pid(const struct loop_child *child);
/* Sends a signal to it alone, unless it has been reaped. */
void loop_child__signal(struct loop_child *child, int signum);
/* Kills it and what it started; `fn` is still called. */
void loop_child__kill(struct loop_child *child);

#endif
