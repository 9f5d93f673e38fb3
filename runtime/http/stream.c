/* SPDX-License-Identifier: Apache-2.0 */
#include "http/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "http/lookup.h"

#define WAITING_CEILING (16 << 20) /* bytes that wait for the other end */
#define READ_SIZE 65536		   /* more than a record of TLS */
#define PATIENCE 3000000000ULL	   /* ns that an address is waited for, where there is another */

union address {
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

struct stream {
	struct loop *loop;
	struct loop_watch *watch;
	struct stream_spec spec;
	struct stream_tls *tls;
	int fd;
	bool connected, secured, ended;
	struct buf waiting;
	size_t sent; /* of what waits */
	/* Of a host that has to be looked up: */
	struct lookup *lookup;
	struct addrinfo *found, *next; /* its addresses, and the one that is tried next */
	struct loop_timer *patience;   /* with the one that is tried now */
};

/* -ENOENT: a host that has to be looked up. */
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
		return -ENOENT;
	}
	return 0;
}

static void disconnect(struct stream *stream)
{
	loop_watch__free(stream->watch);
	stream->watch = NULL;
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
}

static void end(struct stream *stream, int err, const char *why)
{
	stream->ended = true;
	if (stream->patience)
		loop_timer__stop(stream->patience);
	if (stream->watch)
		loop_watch__want(stream->watch, false, false);
	stream->spec.end(err, why ? why : strerror(-err), stream->spec.arg);
}

static ssize_t send_some(struct stream *stream, const void *bytes, size_t len)
{
	struct error error;
	ssize_t n;

	/* Why it fails is told by what is received. */
	if (stream->tls)
		return stream_tls__send(stream->tls, bytes, len, &error);
	n = send(stream->fd, bytes, len, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static ssize_t receive_some(struct stream *stream, void *bytes, size_t len, struct error *error)
{
	ssize_t n;

	if (stream->tls)
		return stream_tls__recv(stream->tls, bytes, len, error);
	n = recv(stream->fd, bytes, len, 0);
	return n < 0 ? -errno : n;
}

/* As much of what waits as the other end takes: 0 or -errno. */
static int flush(struct stream *stream)
{
	struct buf *waiting = &stream->waiting;

	while (stream->sent < waiting->len) {
		ssize_t n = send_some(stream, waiting->data + stream->sent,
				      waiting->len - stream->sent);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
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
	if (stream->patience)
		loop_timer__stop(stream->patience);
	return -err;
}

static int try_next(struct stream *stream, int err);

/* 0 when bytes can go; -EAGAIN: later; or it has ended. */
static int stand(struct stream *stream)
{
	struct error error = {0};
	bool writing = false;
	int err = 0;

	if (!stream->connected) {
		err = finish_connect(stream);
		if (err && stream->next) {
			err = try_next(stream, err);
			if (!err)
				return -EAGAIN;
		}
	}
	if (!err && stream->tls && !stream->secured) {
		err = stream_tls__handshake(stream->tls, stream->fd, &writing, &error);
		stream->secured = !err;
	}
	if (err == -EAGAIN)
		loop_watch__want(stream->watch, !writing, writing);
	else if (err)
		end(stream, err, error.message[0] ? error.message : NULL);
	return err;
}

/* One read a call: bytes() may free the stream. */
static void on_ready(void *arg)
{
	struct stream *stream = arg;
	struct error error = {0};
	char bytes[READ_SIZE];
	ssize_t n;

	if (stand(stream))
		return;
	/* A server that refuses may close before it has read all: what it said is still there to be read. */
	if (flush(stream))
		buf__clear(&stream->waiting);
	loop_watch__want(stream->watch, true, stream->waiting.len > 0);
	n = receive_some(stream, bytes, sizeof(bytes), &error);
	if (n > 0)
		stream->spec.bytes(bytes, (size_t)n, stream->spec.arg);
	else if (n != -EAGAIN && n != -EINTR)
		end(stream, (int)n, error.message[0] ? error.message : NULL);
}

static int begin(struct stream *stream, const struct sockaddr *address, socklen_t len)
{
	int err = 0;

	stream->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (stream->fd < 0)
		return -errno;
	if (connect(stream->fd, address, len) && errno != EINPROGRESS)
		err = -errno;
	if (!err)
		err = loop_watch__new(stream->loop, stream->fd, on_ready, stream, &stream->watch);
	return err ? err : loop_watch__want(stream->watch, true, true);
}

/* The address that was tried has not taken the connection: `err` is why, when there is no other. */
static int try_next(struct stream *stream, int err)
{
	while (err && stream->next) {
		const struct addrinfo *address = stream->next;

		stream->next = address->ai_next;
		disconnect(stream);
		err = begin(stream, address->ai_addr, address->ai_addrlen);
		if (!err && stream->next)
			err = loop_timer__start(stream->patience, loop__now() + PATIENCE);
	}
	return err;
}

static void on_no_word(void *arg)
{
	struct stream *stream = arg;
	int err = try_next(stream, -ETIMEDOUT);

	if (err)
		end(stream, err, NULL);
}

static void looked_up(struct addrinfo *found, const char *why, void *arg)
{
	struct stream *stream = arg;
	int err = -EHOSTUNREACH;

	stream->found = stream->next = found;
	if (found)
		err = try_next(stream, err);
	if (err)
		end(stream, err, found ? NULL : why);
}

static int find_host(struct stream *stream)
{
	int err = loop_timer__new(stream->loop, on_no_word, stream, &stream->patience);

	return err ? err
		   : lookup__start(stream->loop, stream->spec.host, stream->spec.port, looked_up,
				   stream, &stream->lookup);
}

int stream__connect(struct loop *loop, const struct stream_spec *spec, struct stream **out,
		    struct error *error)
{
	struct stream *stream = calloc(1, sizeof(*stream));
	union address address;
	socklen_t len = 0;
	int err;

	if (!stream)
		return error__set(error, -ENOMEM, "out of memory");
	stream->loop = loop;
	stream->fd = -1;
	stream->spec = *spec;
	buf__init(&stream->waiting, WAITING_CEILING);
	err = spec->tls ? stream_tls__new(spec->tls, &stream->tls, error) : 0;
	if (err)
		goto out;
	err = address_of(spec, &address, &len, error);
	if (err == -ENAMETOOLONG)
		goto out;
	err = err ? find_host(stream) : begin(stream, &address.any, len);
	if (err)
		error__set(error, err, "%s", strerror(-err));
	stream->spec.path = stream->spec.host = NULL; /* the caller's, as is tls */
	stream->spec.tls = NULL;
out:
	if (err)
		stream__free(stream);
	else
		*out = stream;
	return err;
}

int stream__write(struct stream *stream, const void *bytes, size_t len)
{
	int err;

	if (stream->ended)
		return -EPIPE;
	err = buf__append(&stream->waiting, bytes, len);
	if (err)
		return err == -EMSGSIZE ? -ENOBUFS : err;
	/* Until it stands, what is waited for is not for us to say. */
	if (!stream->watch || !stream->connected || (stream->tls && !stream->secured))
		return 0;
	return loop_watch__want(stream->watch, true, true);
}

void stream__free(struct stream *stream)
{
	if (!stream)
		return;
	lookup__free(stream->lookup);
	loop_timer__free(stream->patience);
	if (stream->found)
		freeaddrinfo(stream->found);
	stream_tls__free(stream->tls);
	disconnect(stream);
	buf__free(&stream->waiting);
	free(stream);
}
