/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's end of a connection: to a Unix socket or over TCP, with TLS or without, on the loop, and never waiting.
 *
 * What is written before the connection stands waits for it. A host may have several addresses: they are tried in turn until one takes the
 * connection, and one that does not say a word for a few seconds is left for the next. Whatever becomes of it, end() is told once: 0 when the other end
 * has closed, else -errno and why, also of the connect.
 */
#ifndef PERILUNE_STREAM_H
#define PERILUNE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "http/stream_tls.h"
#include "loop/loop.h"

struct stream;

struct stream_spec {
	const char *path; /* of a Unix socket, or NULL */
	const char *host; /* a name or an address otherwise */
	uint16_t port;
	const struct stream_tls_spec *tls; /* NULL: none */
	/* Both may free the stream. */
	void (*bytes)(const char *bytes, size_t len, void *arg);
	void (*end)(int err, const char *why, void *arg);
	void *arg;
};

/* Does not keep the loop running, but for an address that is tried while there are more. What is wrong at once is returned, and end() is not called then. */
int stream__connect(struct loop *loop, const struct stream_spec *spec, struct stream **out,
		    struct error *error);

/* -ENOBUFS, and nothing is written, when the other end does not read and too much waits for it; -EPIPE after the end. */
int stream__write(struct stream *stream, const void *bytes, size_t len);

/* Closes it; nothing is called any more. NULL-safe. */
void stream__free(struct stream *stream);

#endif
