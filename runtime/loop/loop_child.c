/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/loop_impl.h"

/* Most bytes that wait for a child which does not read its input. */
#define INPUT_CEILING (4 << 20)

enum { CHILD_INPUT, CHILD_OUTPUT, CHILD_ERRORS, CHILD_EXTRA, CHILD_PIPES };

struct loop_child {
	uv_process_t process;
	uv_pipe_t pipes[CHILD_PIPES];
	uv_write_t write;
	char *input;
	int handles; /* not closed yet */
	bool running;
	size_t unwritten; /* bytes of loop_child__write() that it has not read */
	struct loop_child_result result;
	loop_child_output_fn on_output; /* NULL: collected */
	loop_child_fn fn;		/* NULL when it could not be started */
	void *arg;
};

static void on_child_closed(uv_handle_t *handle)
{
	struct loop_child *child = handle->data;

	if (--child->handles)
		return;
	if (child->fn)
		child->fn(&child->result, child->arg);
	buf__free(&child->result.output);
	buf__free(&child->result.errors);
	buf__free(&child->result.extra);
	free(child->input);
	free(child);
}

static void child_close(void *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, on_child_closed);
}

/* A pipe's type is unknown until it was set up. */
static void child_close_pipes(struct loop_child *child, int first)
{
	for (int i = first; i < CHILD_PIPES; i++)
		if (child->pipes[i].type == UV_NAMED_PIPE)
			child_close(&child->pipes[i]);
}

pid_t loop_child__pid(const struct loop_child *child)
{
	return child->process.pid;
}

void loop_child__signal(struct loop_child *child, int signum)
{
	if (child->running)
		kill(child->process.pid, signum);
}

void loop_child__kill(struct loop_child *child)
{
	/*
	 * Its whole group, for a compiler may be a script that starts one. A pid that was reaped
	 * may be somebody else's.
	 */
	if (child->running)
		kill(-child->process.pid, SIGKILL);
	child_close_pipes(child, CHILD_INPUT);
}

static void on_child_exit(uv_process_t *process, int64_t status, int signum)
{
	struct loop_child *child = process->data;

	child->running = false;
	child->result.status = signum ? -1 : (int)status;
	child->result.signal = signum;
	child_close(process);
	child_close(&child->pipes[CHILD_INPUT]);
}

static void on_child_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct loop *loop = loop__of(handle->loop);

	(void)suggested;
	*out = uv_buf_init(loop->scratch, sizeof(loop->scratch));
}

static void on_child_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *bytes)
{
	struct loop_child *child = stream->data;
	struct buf *into[CHILD_PIPES] = {NULL, &child->result.output, &child->result.errors,
					 &child->result.extra};
	struct buf *buf = into[(uv_pipe_t *)stream - child->pipes];
	size_t room;

	if (len < 0) {
		child_close(stream);
	} else if (child->on_output && buf != &child->result.extra) {
		child->on_output((int)((uv_pipe_t *)stream - child->pipes), bytes->base,
				 (size_t)len, child->arg);
	} else if (buf__append(buf, bytes->base, (size_t)len)) {
		room = buf->ceiling - buf->len;
		if ((size_t)len > room)
			buf__append(buf, bytes->base, room);
		child->result.overflow = true;
		loop_child__kill(child);
	}
}

static void on_child_written(uv_write_t *write, int status)
{
	(void)status; /* a child that does not want its input has its reasons, and an exit status */
	child_close(write->handle);
}

/* Bytes on their way to a child's input that is kept open. */
struct chunk {
	uv_write_t write;
	struct loop_child *child;
	size_t len;
	char bytes[];
};

static void on_chunk_written(uv_write_t *write, int status)
{
	struct chunk *chunk = write->data;

	chunk->child->unwritten -= chunk->len;
	if (status)
		child_close(&chunk->child->pipes[CHILD_INPUT]);
	free(chunk);
}

int loop_child__write(struct loop_child *child, const void *bytes, size_t len)
{
	uv_stream_t *stream = (uv_stream_t *)&child->pipes[CHILD_INPUT];
	struct chunk *chunk;
	uv_buf_t buf;
	int err;

	if (uv_is_closing((uv_handle_t *)stream))
		return -EPIPE;
	if (child->unwritten + len > INPUT_CEILING)
		return -ENOBUFS;
	chunk = malloc(sizeof(*chunk) + len);
	if (!chunk)
		return -ENOMEM;
	chunk->write.data = chunk;
	chunk->child = child;
	chunk->len = len;
	memcpy(chunk->bytes, bytes, len);
	buf = uv_buf_init(chunk->bytes, (unsigned int)len);
	err = uv_write(&chunk->write, stream, &buf, 1, on_chunk_written);
	if (err)
		free(chunk);
	else
		child->unwritten += len;
	return err;
}

static void child_read(struct loop_child *child, bool on)
{
	for (int i = CHILD_OUTPUT; i <= CHILD_ERRORS; i++) {
		uv_stream_t *stream = (uv_stream_t *)&child->pipes[i];

		if (stream->type != UV_NAMED_PIPE || uv_is_closing((uv_handle_t *)stream))
			continue;
		if (on)
			uv_read_start(stream, on_child_alloc, on_child_read);
		else
			uv_read_stop(stream);
	}
}

void loop_child__pause(struct loop_child *child)
{
	child_read(child, false);
}

void loop_child__resume(struct loop_child *child)
{
	child_read(child, true);
}

/*
 * A pipe of the child's. Not UV_CREATE_PIPE: that makes a pair of sockets, and /dev/fd/3 of a
 * socket cannot be opened. *theirs is the descriptor to inherit, closed by the caller.
 */
static int child_pipe(struct loop *loop, struct loop_child *child, int index, int *theirs)
{
	bool input = index == CHILD_INPUT;
	uv_file fds[2];
	int err = uv_pipe(fds, input ? 0 : UV_NONBLOCK_PIPE, input ? UV_NONBLOCK_PIPE : 0);

	if (err)
		return err;
	*theirs = fds[input ? 0 : 1];
	err = uv_pipe_init(&loop->uv, &child->pipes[index], 0);
	if (!err) {
		child->pipes[index].data = child;
		child->handles++;
		err = uv_pipe_open(&child->pipes[index], fds[input ? 1 : 0]);
	}
	if (err)
		close(fds[input ? 1 : 0]);
	return err;
}

/* *theirs: a pipe that holds these bytes already. They are few enough for any pipe, so nothing waits. */
static int child_hand(const char *bytes, size_t len, int *theirs)
{
	int fds[2], err = 0;

	if (len > LOOP_CHILD_HANDED_MAX)
		return -E2BIG;
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	/* A user with many pipes gets smaller ones. */
	if (fcntl(fds[1], F_GETPIPE_SZ) < (int)len)
		fcntl(fds[1], F_SETPIPE_SZ, LOOP_CHILD_HANDED_MAX);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	if (write(fds[1], bytes, len) != (ssize_t)len)
		err = -ENOBUFS;
	close(fds[1]);
	if (err)
		close(fds[0]);
	else
		*theirs = fds[0];
	return err;
}

static int child_spawn(struct loop *loop, struct loop_child *child,
		       const struct loop_child_spec *spec)
{
	int theirs[CHILD_PIPES] = {-1, -1, -1, -1};
	int count = spec->extra || spec->handed ? CHILD_PIPES : CHILD_EXTRA, err = 0;
	uv_stdio_container_t stdio[CHILD_PIPES];
	uv_process_options_t options = {
		.exit_cb = on_child_exit,
		.file = spec->argv[0],
		.args = (char **)spec->argv,
		.flags = UV_PROCESS_DETACHED, /* a group of its own: Ctrl-C is for us, we end the
						 child */
		.stdio = stdio,
		.stdio_count = count,
	};

	for (int i = 0; i < count && !err; i++) {
		err = i == CHILD_EXTRA && spec->handed
			      ? child_hand(spec->handed, spec->handed_len, &theirs[i])
			      : child_pipe(loop, child, i, &theirs[i]);
		stdio[i] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = theirs[i]};
	}
	if (!err) {
		child->process.data = child;
		child->handles++;
		err = uv_spawn(&loop->uv, &child->process, &options);
		if (err)
			child_close(&child->process);
	}
	for (int i = 0; i < count; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	return err;
}

/* What it begins with, and then the end of it, unless more may come. */
static void give_input(struct loop_child *child, size_t len, bool keep)
{
	uv_buf_t input = uv_buf_init(child->input, (unsigned int)len);

	if (keep && len)
		loop_child__write(child, child->input, len);
	if (keep)
		return;
	if (!len || uv_write(&child->write, (uv_stream_t *)&child->pipes[CHILD_INPUT], &input, 1,
			     on_child_written))
		child_close(&child->pipes[CHILD_INPUT]);
}

int loop_child__start(struct loop *loop, const struct loop_child_spec *spec, loop_child_fn fn,
		      void *arg, struct loop_child **out)
{
	size_t len = spec->input ? spec->input_len : 0;
	struct loop_child *child;
	int err;

	if (loop->closing)
		return -ECANCELED;
	child = calloc(1, sizeof(*child));
	if (!child)
		return -ENOMEM;
	child->input = malloc(len + 1);
	if (!child->input) {
		free(child);
		return -ENOMEM;
	}
	if (len)
		memcpy(child->input, spec->input, len);
	child->result.status = -1;
	buf__init(&child->result.output, spec->ceiling);
	buf__init(&child->result.errors, spec->ceiling);
	buf__init(&child->result.extra, spec->ceiling);
	err = child_spawn(loop, child, spec);
	if (err) {
		if (!child->handles) {
			free(child->input);
			free(child);
		} else {
			child_close_pipes(child, CHILD_INPUT);
		}
		return err;
	}
	child->running = true;
	child->fn = fn;
	child->on_output = spec->on_output;
	child->arg = arg;
	give_input(child, len, spec->keep_input);
	for (int i = CHILD_OUTPUT; i < CHILD_PIPES; i++)
		if (child->pipes[i].type == UV_NAMED_PIPE)
			uv_read_start((uv_stream_t *)&child->pipes[i], on_child_alloc,
				      on_child_read);
	*out = child;
	return 0;
}
