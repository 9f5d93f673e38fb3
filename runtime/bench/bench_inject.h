/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What injecting a program costs with nothing but libbpf: opening the object, loading it, attaching it.
 */
#ifndef PERILUNE_BENCH_INJECT_H
#define PERILUNE_BENCH_INJECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Does so with the program of this name, at TC's ingress by TCX, and takes it away again, which is not in *ns. Blocks.
 */
int bench_inject__bare(const void *object, size_t len, const char *program, int ifindex,
		       uint64_t *ns, struct error *error);

#endif
