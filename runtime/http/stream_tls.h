/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on a client's connection (stream.c): the server has to be who it is asked for, by an authority that is trusted, with a certificate that is
 * for servers.
 */
#ifndef PERILUNE_STREAM_TLS_H
#define PERILUNE_STREAM_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* PEM texts, copied. */
struct stream_tls_spec {
	const char *name;	 /* the host's name or address, as its certificate has it */
	const char *authorities; /* whom to trust; NULL: whom the system does */
	const char *certificate; /* the client's own, with its key, or NULL */
	const char *key;
};

struct stream_tls;

int stream_tls__new(const struct stream_tls_spec *spec, struct stream_tls **out,
		    struct error *error);

/*
 * On a connected socket that does not block, again and again: 0 when it is done, -EAGAIN with *writing when it waits to write
 * (else to read), or -errno and why.
 */
int stream_tls__handshake(struct stream_tls *tls, int fd, bool *writing, struct error *error);

/* As send() and recv(), but -errno, and why where that is more than the number says. One recv() with room for a record (16 KiB) leaves nothing behind that poll() would not see. */
ssize_t stream_tls__send(struct stream_tls *tls, const void *bytes, size_t len,
			 struct error *error);
ssize_t stream_tls__recv(struct stream_tls *tls, void *bytes, size_t len, struct error *error);

/* Not the socket. NULL-safe. */
void stream_tls__free(struct stream_tls *tls);

#endif
