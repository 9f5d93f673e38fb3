/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program whose work is compared with ours: how long it takes, and how much memory.
 */
#ifndef PERILUNE_BENCH_CHILD_H
#define PERILUNE_BENCH_CHILD_H

#include <stdint.h>

#include "base/error.h"

struct bench_child {
	uint64_t ns; /* from its start to its end */
	uint64_t
		peak_kb; /* resident; never less than this process has itself, which the kernel counts in */
};

/* Runs it, looked up in PATH, with its output thrown away. -ENOENT when there is no such program, -EIO when it fails. */
int bench_child__run(const char *const *argv, struct bench_child *out, struct error *error);

#endif
