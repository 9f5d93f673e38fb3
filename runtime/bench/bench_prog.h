/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program costs: its size, what the verifier had to look at, the memory of its maps, and the time it takes for a frame.
 */
#ifndef PERILUNE_BENCH_PROG_H
#define PERILUNE_BENCH_PROG_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct bench_prog;

struct bench_prog_cost {
	uint32_t instructions; /* of the program and its functions, as the kernel runs them */
	uint32_t
		verified; /* instructions that the verifier looked at, each as often as it did; 0: the kernel does not say */
	uint32_t states;    /* that it kept; 0: it does not say */
	uint64_t map_bytes; /* memory of the maps it uses; 0: the kernel does not say */
};

/* Loads a BPF object's only program of its kind, with its maps at the sizes they declare. Attached to nothing. */
int bench_prog__new(const void *object, size_t len, struct bench_prog **out, struct error *error);
void bench_prog__free(struct bench_prog *prog); /* NULL-safe */
const struct bench_prog_cost *bench_prog__cost(const struct bench_prog *prog);

/*
 * Runs it on a copy of the frame `repeat` times, one after the other. *ns: of one, as the kernel measures it, rounded down. The call
 * itself takes some 20 ms more, in which the kernel prepares to run XDP programs.
 */
int bench_prog__run(struct bench_prog *prog, const void *frame, size_t len, uint32_t repeat,
		    uint32_t *ns, struct error *error);

#endif
