/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"

#define WAITING_CEILING (16 << 20) /* bytes that wait for the other end */
#define READ_SIZE 65536

struct stream {
	struct loop_watch *watch;
	struct stream_spec spec;
	int fd;
	bool connected, ended;
	struct buf waiting;
	size_t sent; /* of what waits */
};

union address {
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

static int address_of(const struct stream_spec *spec, union address *out, socklen_t *len,
		      struct error *error)
{
	memset(out, 0, sizeof(*out));
	if (spec->path) {
		if (strlen(spec->path) >= sizeof(out->local.sun_path))
			return error__set(error, -ENAMETOOLONG,
					  "%s: the path of a socket has at most %zu bytes",
					  spec->path, sizeof(out->local.sun_path) - 1);
		out->local.sun_family = AF_UNIX;
		strcpy(out->local.sun_path, spec->path);
		*len = sizeof(out->local);
	} else if (inet_pton(AF_INET, spec->host, &out->in4.sin_addr) == 1) {
		out->in4.sin_family = AF_INET;
		out->in4.sin_port = htons(spec->port);
		*len = sizeof(out->in4);
	} else if (inet_pton(AF_INET6, spec->host, &out->in6.sin6_addr) == 1) {
		out->in6.sin6_family = AF_INET6;
		out->in6.sin6_port = htons(spec->port);
		*len = sizeof(out->in6);
	} else {
		error__set(error, -EINVAL, "%s is no address", spec->host);
		return error__hint(error, -EINVAL, "a numeric one, like 127.0.0.1 or ::1");
	}
	return 0;
}

static void end(struct stream *stream, int err)
{
	stream->ended = true;
	loop_watch__want(stream->watch, false, false);
	stream->spec.end(err, stream->spec.arg);
}

/* As much of what waits as the socket takes: 0 or -errno. */
static int flush(struct stream *stream)
{
	struct buf *waiting = &stream->waiting;

	while (stream->sent < waiting->len) {
		ssize_t n = send(stream->fd, waiting->data + stream->sent,
				 waiting->len - stream->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		stream->sent += (size_t)n;
	}
	buf__clear(waiting);
	stream->sent = 0;
	return 0;
}

static int finish_connect(struct stream *stream)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &err, &len))
		return -errno;
	stream->connected = !err;
	return -err;
}

/* One read a call: bytes() may free the stream. */
static void on_ready(void *arg)
{
	struct stream *stream = arg;
	char bytes[READ_SIZE];
	ssize_t n;
	int err = stream->connected ? 0 : finish_connect(stream);

	/* A server that refuses may close before it has read all: what it said is still there to be read. */
	if (!err && flush(stream))
		buf__clear(&stream->waiting);
	if (err)
		return end(stream, err);
	loop_watch__want(stream->watch, true, stream->waiting.len > 0);
	n = recv(stream->fd, bytes, sizeof(bytes), 0);
	if (n > 0)
		stream->spec.bytes(bytes, (size_t)n, stream->spec.arg);
	else if (!n || (errno != EAGAIN && errno != EINTR))
		end(stream, n ? -errno : 0);
}

int stream__connect(struct loop *loop, const struct stream_spec *spec, struct stream **out,
		    struct error *error)
{
	union address address;
	struct stream *stream;
	socklen_t len = 0;
	int err = address_of(spec, &address, &len, error);

	if (err)
		return err;
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return error__set(error, -ENOMEM, "out of memory");
	stream->spec = *spec;
	stream->spec.path = stream->spec.host = NULL; /* the caller's */
	buf__init(&stream->waiting, WAITING_CEILING);
	stream->fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (stream->fd < 0)
		err = -errno;
	if (!err && connect(stream->fd, &address.any, len) && errno != EINPROGRESS)
		err = -errno;
	if (!err)
		err = loop_watch__new(loop, stream->fd, on_ready, stream, &stream->watch);
	if (!err)
		err = loop_watch__want(stream->watch, true, true);
	if (err) {
		stream__free(stream);
		return error__set(error, err, "%s", strerror(-err));
	}
	*out = stream;
	return 0;
}

int stream__write(struct stream *stream, const void *bytes, size_t len)
{
	int err;

	if (stream->ended)
		return -EPIPE;
	err = buf__append(&stream->waiting, bytes, len);
	if (err)
		return err == -EMSGSIZE ? -ENOBUFS : err;
	return loop_watch__want(stream->watch, true, true);
}

void stream__free(struct stream *stream)
{
	if (!stream)
		return;
	loop_watch__free(stream->watch);
	if (stream->fd >= 0)
		close(stream->fd);
	buf__free(&stream->waiting);
	free(stream);
}
