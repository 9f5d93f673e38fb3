/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets that a server listens at: a Unix socket with an owner and a mode, or TCP on an address.
 */
#ifndef PERILUNE_HTTP_LISTEN_H
#define PERILUNE_HTTP_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct http_listen {
	const char *path;  /* of a Unix socket; NULL: TCP */
	mode_t mode;	   /* of the socket's file (0: 0600) */
	const char *group; /* its group; NULL: the process's */
	const char *host;  /* a numeric address, IPv4 or IPv6 */
	uint16_t port;	   /* 0: any */
};

/*
 * A socket that listens, does not block and is closed on exec. A Unix socket that a process has left behind is replaced; it is
 * never open to more than its mode says. -EADDRINUSE when somebody listens there.
 */
int http_listen__open(const struct http_listen *listen, int *out, struct error *error);

/* Whether a numeric address is the machine's own (127.0.0.0/8, ::1). False for what is no address. */
bool http_listen__is_loopback(const char *host);

#endif
