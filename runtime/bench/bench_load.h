/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load to measure under: on every CPU a thread that sends packets at a steady pace, and on one of them also marked ones, some at a time.
 */
#ifndef PERILUNE_BENCH_LOAD_H
#define PERILUNE_BENCH_LOAD_H

#include <stdint.h>

#include "base/error.h"
#include "bench/bench_net.h"

struct bench_load;

struct bench_load_pace {
	uint32_t packets;      /* a second and CPU, sent in turns of a millisecond */
	uint32_t marked;       /* UDP packets to port BENCH_LOAD_MARK, one after the other, */
	uint32_t milliseconds; /* so often; 0: never */
};

#define BENCH_LOAD_MARK 9

int bench_load__start(struct bench_net *net, const struct bench_load_pace *pace,
		      struct bench_load **out, struct error *error);

/* Ends it, and frees. Returns how many packets were sent in all. NULL-safe. */
uint64_t bench_load__stop(struct bench_load *load);

#endif
