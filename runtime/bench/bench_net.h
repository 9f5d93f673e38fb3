/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network to measure on: two interfaces joined to each other, in a namespace that nobody else sees and that goes with the process.
 */
#ifndef PERILUNE_BENCH_NET_H
#define PERILUNE_BENCH_NET_H

#include <stdint.h>

#include "base/error.h"

struct bench_net;

/*
 * Takes the calling thread, and all that it starts from then on (workers, clang), into the namespace, for good. So it comes before
 * the first piece of work that runs on a worker. -EPERM.
 */
int bench_net__new(struct bench_net **out, struct error *error);
void bench_net__free(struct bench_net *net); /* NULL-safe; the namespace stays */

/* The interface that packets come in on. */
int bench_net__ifindex(const struct bench_net *net);

/* Sends `count` UDP packets to it, each from another source of at most 65536. Returns 0 or -errno. On any thread. */
int bench_net__send(const struct bench_net *net, uint32_t count);
/* The same to another port than 2000. */
int bench_net__send_to(const struct bench_net *net, uint16_t port, uint32_t count);

#endif
