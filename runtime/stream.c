/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

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

#include "buf.h"

#define WAITING_CEILING (16 << 20) /* bytes that wait for the other end */
#define READ_SIZE 65536		   /* more than a record of TLS */

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
	/* A name that a worker looks up. */
	char *name;
	bool looking_up, freed; /* freed meanwhile: then once it is over */
	int lookup_err;
	union address address;
	socklen_t address_len;
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

static void end(struct stream *stream, int err, const char *why)
{
	stream->ended = true;
	if (stream->watch)
		loop_watch__want(stream->watch, false, false);
	stream->spec.end(err, why ? why : strerror(-err), stream->spec.arg);
}

static ssize_t send_some(struct stream *stream, const void *bytes, size_t len)
{
	ssize_t n;

	if (stream->tls)
		return stream_tls__send(stream->tls, bytes, len);
	n = send(stream->fd, bytes, len, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static ssize_t receive_some(struct stream *stream, void *bytes, size_t len)
{
	ssize_t n;

	if (stream->tls)
		return stream_tls__recv(stream->tls, bytes, len);
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
	return -err;
}

/* 0 when bytes can go; -EAGAIN: later; or it has ended. */
static int stand(struct stream *stream)
{
	struct error error = {0};
	bool writing = false;
	int err = stream->connected ? 0 : finish_connect(stream);

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
	char bytes[READ_SIZE];
	ssize_t n;

	if (stand(stream))
		return;
	/* A server that refuses may close before it has read all: what it said is still there to be read. */
	if (flush(stream))
		buf__clear(&stream->waiting);
	loop_watch__want(stream->watch, true, stream->waiting.len > 0);
	n = receive_some(stream, bytes, sizeof(bytes));
	if (n > 0)
		stream->spec.bytes(bytes, (size_t)n, stream->spec.arg);
	else if (n != -EAGAIN && n != -EINTR)
		end(stream, (int)n, NULL);
}

static int begin(struct stream *stream)
{
	int err = 0;

	stream->fd = socket(stream->address.any.sa_family,
			    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (stream->fd < 0)
		return -errno;
	if (connect(stream->fd, &stream->address.any, stream->address_len) && errno != EINPROGRESS)
		err = -errno;
	if (!err)
		err = loop_watch__new(stream->loop, stream->fd, on_ready, stream, &stream->watch);
	return err ? err : loop_watch__want(stream->watch, true, true);
}

static void look_up(void *arg)
{
	struct stream *stream = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *found = NULL;
	char port[8];

	snprintf(port, sizeof(port), "%u", stream->spec.port);
	stream->lookup_err = getaddrinfo(stream->name, port, &hints, &found);
	if (!stream->lookup_err && found->ai_addrlen <= sizeof(stream->address)) {
		memcpy(&stream->address, found->ai_addr, found->ai_addrlen);
		stream->address_len = found->ai_addrlen;
	}
	if (found)
		freeaddrinfo(found);
}

static void looked_up(void *arg)
{
	struct stream *stream = arg;
	int err;

	stream->looking_up = false;
	if (stream->freed) {
		stream__free(stream);
		return;
	}
	if (stream->lookup_err) {
		end(stream, -EHOSTUNREACH, gai_strerror(stream->lookup_err));
		return;
	}
	err = begin(stream);
	if (err)
		end(stream, err, NULL);
}

static int find_host(struct stream *stream, const char *name)
{
	int err;

	stream->name = strdup(name);
	if (!stream->name)
		return -ENOMEM;
	err = loop__work(stream->loop, look_up, looked_up, stream);
	stream->looking_up = !err;
	return err;
}

int stream__connect(struct loop *loop, const struct stream_spec *spec, struct stream **out,
		    struct error *error)
{
	struct stream *stream = calloc(1, sizeof(*stream));
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
	err = address_of(spec, &stream->address, &stream->address_len, error);
	if (err == -ENAMETOOLONG)
		goto out;
	err = err ? find_host(stream, spec->host) : begin(stream);
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
	if (stream->looking_up) {
		stream->freed = true;
		return;
	}
	stream_tls__free(stream->tls);
	loop_watch__free(stream->watch);
	if (stream->fd >= 0)
		close(stream->fd);
	buf__free(&stream->waiting);
	free(stream->name);
	free(stream);
}
