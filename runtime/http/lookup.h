/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of a host, looked up by a thread of its own: a name server that does not answer holds up neither the loop, nor its workers, nor
 * the end of the process.
 */
#ifndef PERILUNE_LOOKUP_H
#define PERILUNE_LOOKUP_H

#include <netdb.h>
#include <stdint.h>

#include "loop/loop.h"

struct lookup;

/* `found` is the callee's, to be freed with freeaddrinfo(); NULL and why (of gai_strerror()) when there is none. May free the lookup. */
typedef void (*lookup_fn)(struct addrinfo *found, const char *why, void *arg);

/* Calls `fn` once, on the loop. Does not keep the loop running. */
int lookup__start(struct loop *loop, const char *host, uint16_t port, lookup_fn fn, void *arg,
		  struct lookup **out);

/* Also while it goes on: nobody waits for it then, and `fn` is not called. NULL-safe. */
void lookup__free(struct lookup *lookup);

#endif
