/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/loop_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ULL

/*
 * A timerfd rather than a uv timer: uv counts whole milliseconds from a rounded clock and may be
 * almost two late.
 */
struct loop_timer {
	uv_poll_t poll;
	int fd;
	loop_timer_fn fn;
	void *arg;
};

struct loop_signal {
	uv_signal_t uv;
	loop_signal_fn fn;
	void *arg;
};

struct work {
	uv_work_t uv;
	loop_work_fn work, done;
	void *arg;
};

int loop__new(struct loop **out)
{
	struct sigaction old;
	struct loop *loop = malloc(sizeof(*loop));
	int err;

	if (!loop)
		return -ENOMEM;
	err = uv_loop_init(&loop->uv);
	if (err) {
		free(loop);
		return err;
	}
	loop->uv.data = loop;
	loop->running = loop->closing = false;
	if (!sigaction(SIGPIPE, NULL, &old) && !(old.sa_flags & SA_SIGINFO) &&
	    old.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN); /* an EPIPE here, not our death */
	*out = loop;
	return 0;
}

static void close_any(uv_handle_t *handle, void *arg)
{
	(void)arg;
	switch (handle->type) {
	case UV_POLL:
		loop_timer__free(handle->data);
		break;
	case UV_SIGNAL:
		loop_signal__free(handle->data);
		break;
	case UV_PROCESS:
	case UV_NAMED_PIPE:
		loop_child__kill(handle->data);
		break;
	default:
		break;
	}
}

void loop__free(struct loop *loop)
{
	if (!loop)
		return;
	assert(!loop->running);
	loop->closing = true; /* the callbacks that are still due cannot start anything new */
	do {
		uv_walk(&loop->uv, close_any, NULL);
		uv_run(&loop->uv, UV_RUN_DEFAULT);
	} while (uv_loop_close(&loop->uv) == UV_EBUSY);
	free(loop);
}

static void settle_any(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (handle->type == UV_POLL)
		loop_timer__stop(handle->data);
	else if (handle->type == UV_PROCESS || handle->type == UV_NAMED_PIPE)
		loop_child__kill(handle->data);
}

void loop__settle(struct loop *loop)
{
	assert(!loop->running);
	loop->closing = true;
	uv_walk(&loop->uv, settle_any, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

int loop__run(struct loop *loop)
{
	if (loop->running || loop->closing)
		return -EBUSY;
	loop->running = true;
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	loop->running = false;
	return 0;
}

void loop__stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t loop__now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t loop__wall(void)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t loop__boot(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

/*
 * 0 disarms. A disarmed timer stays in the poll set, where it costs nothing, and does not keep the
 * loop running.
 */
static void timer_arm(struct loop_timer *timer, uint64_t deadline)
{
	struct itimerspec when = {.it_value = {.tv_sec = (time_t)(deadline / NS_PER_S),
					       .tv_nsec = (long)(deadline % NS_PER_S)}};

	timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &when, NULL);
	if (deadline)
		uv_ref((uv_handle_t *)&timer->poll);
	else
		uv_unref((uv_handle_t *)&timer->poll);
}

static void on_timer(uv_poll_t *poll, int status, int events)
{
	struct loop_timer *timer = poll->data;
	uint64_t expirations;

	(void)status;
	(void)events;
	/* Nothing to read: it was stopped or put off after the kernel had reported it. */
	if (read(timer->fd, &expirations, sizeof(expirations)) != sizeof(expirations))
		return;
	timer_arm(timer, 0);
	timer->fn(timer->arg);
}

/* Takes over the descriptor, also when it fails. */
static int new_poll(struct loop *loop, int fd, uv_poll_cb on_readable, loop_timer_fn fn, void *arg,
		    struct loop_timer **out)
{
	struct loop_timer *timer = calloc(1, sizeof(*timer));
	int err;

	if (!timer) {
		close(fd);
		return -ENOMEM;
	}
	timer->fn = fn;
	timer->arg = arg;
	timer->fd = fd;
	err = uv_poll_init(&loop->uv, &timer->poll, timer->fd);
	if (err) {
		close(timer->fd);
		free(timer);
		return err;
	}
	timer->poll.data = timer;
	err = uv_poll_start(&timer->poll, UV_READABLE, on_readable);
	uv_unref((uv_handle_t *)&timer->poll);
	if (err)
		loop_timer__free(timer);
	else
		*out = timer;
	return err;
}

static int new_timer(struct loop *loop, clockid_t clock, uv_poll_cb on_readable, loop_timer_fn fn,
		     void *arg, struct loop_timer **out)
{
	int fd = timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);

	return fd < 0 ? -errno : new_poll(loop, fd, on_readable, fn, arg, out);
}

int loop_timer__new(struct loop *loop, loop_timer_fn fn, void *arg, struct loop_timer **out)
{
	return new_timer(loop, CLOCK_MONOTONIC, on_timer, fn, arg, out);
}

/* Never ends, but the kernel cancels it when the clock is set (timerfd_create(2)). */
static int wait_for_step(struct loop_timer *timer)
{
	struct itimerspec never = {.it_value.tv_sec = LLONG_MAX / NS_PER_S};

	return timerfd_settime(timer->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL)
		       ? -errno
		       : 0;
}

static void on_step(uv_poll_t *poll, int status, int events)
{
	struct loop_timer *timer = poll->data;
	uint64_t expirations;

	(void)status;
	(void)events;
	if (read(timer->fd, &expirations, sizeof(expirations)) >= 0 || errno != ECANCELED)
		return;
	wait_for_step(timer);
	timer->fn(timer->arg);
}

int loop_timer__on_step(struct loop *loop, loop_timer_fn fn, void *arg, struct loop_timer **out)
{
	int err = new_timer(loop, CLOCK_REALTIME, on_step, fn, arg, out);

	if (err)
		return err;
	err = wait_for_step(*out);
	if (err)
		loop_timer__free(*out);
	return err;
}

int loop_timer__start(struct loop_timer *timer, uint64_t deadline)
{
	if (loop__of(timer->poll.loop)->closing)
		return -ECANCELED;
	timer_arm(timer, deadline ? deadline : 1);
	return 0;
}

void loop_timer__stop(struct loop_timer *timer)
{
	timer_arm(timer, 0);
}

/* A timer that is a descriptor of another kind, and never armed. */
struct loop_watch {
	struct loop_timer timer; /* first: handles are told apart by type only */
};

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct loop_timer *timer = poll->data;

	(void)status; /* an error is for whoever reads */
	(void)events;
	timer->fn(timer->arg);
}

int loop_watch__new(struct loop *loop, int fd, loop_timer_fn fn, void *arg, struct loop_watch **out)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3), flags, err;

	if (own < 0)
		return -errno;
	flags = fcntl(own, F_GETFL);
	err = new_poll(loop, own, on_ready, fn, arg, (struct loop_timer **)out);
	/* libuv makes it non-blocking, and so it would be for everybody who has the same: a shell behind us, say. */
	if (!err && flags >= 0)
		fcntl(own, F_SETFL, flags);
	return err;
}

int loop_watch__want(struct loop_watch *watch, bool readable, bool writable)
{
	uv_poll_t *poll = &watch->timer.poll;
	int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);

	return events ? uv_poll_start(poll, events, on_ready) : uv_poll_stop(poll);
}

void loop_watch__free(struct loop_watch *watch)
{
	if (watch)
		loop_timer__free(&watch->timer);
}

static void free_data(uv_handle_t *handle)
{
	free(handle->data);
}

void loop_timer__free(struct loop_timer *timer)
{
	if (!timer || uv_is_closing((uv_handle_t *)&timer->poll))
		return;
	uv_close((uv_handle_t *)&timer->poll, free_data);
	close(timer->fd);
}

static void on_signal(uv_signal_t *uv, int signum)
{
	struct loop_signal *signal = uv->data;

	signal->fn(signum, signal->arg);
}

int loop_signal__new(struct loop *loop, int signum, loop_signal_fn fn, void *arg,
		     struct loop_signal **out)
{
	struct loop_signal *signal = calloc(1, sizeof(*signal));
	int err;

	if (!signal)
		return -ENOMEM;
	signal->fn = fn;
	signal->arg = arg;
	err = uv_signal_init(&loop->uv, &signal->uv);
	if (err) {
		free(signal);
		return err;
	}
	signal->uv.data = signal;
	uv_unref((uv_handle_t *)&signal->uv);
	err = uv_signal_start(&signal->uv, on_signal, signum);
	if (err)
		loop_signal__free(signal);
	else
		*out = signal;
	return err;
}

void loop_signal__free(struct loop_signal *signal)
{
	if (signal && !uv_is_closing((uv_handle_t *)&signal->uv))
		uv_close((uv_handle_t *)&signal->uv, free_data);
}

static void on_work(uv_work_t *uv)
{
	struct work *work = uv->data;

	work->work(work->arg);
}

static void on_work_done(uv_work_t *uv, int status)
{
	struct work *work = uv->data;

	(void)status; /* nothing here is ever cancelled */
	work->done(work->arg);
	free(work);
}

int loop__work(struct loop *loop, loop_work_fn work, loop_work_fn done, void *arg)
{
	struct work *item;
	int err;

	if (loop->closing)
		return -ECANCELED;
	item = malloc(sizeof(*item));
	if (!item)
		return -ENOMEM;
	item->uv.data = item;
	item->work = work;
	item->done = done;
	item->arg = arg;
	err = uv_queue_work(&loop->uv, &item->uv, on_work, on_work_done);
	if (err)
		free(item);
	return err;
}
