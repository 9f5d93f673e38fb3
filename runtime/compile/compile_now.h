/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiling while the caller waits: for what has to be known before a policy can be read to its end, such as the fields of its own
 * code. Everything else compiles on the loop (compile.h).
 */
#ifndef PERILUNE_COMPILE_NOW_H
#define PERILUNE_COMPILE_NOW_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "compile/compile.h"

struct compile_now {
	struct buf object; /* ELF bytes; the caller's to free, also after an error */
	bool cached;
	double seconds; /* wall time */
};

/* On a loop of its own, so that a running one is not entered again. 0 or -errno, as compile_result has it. */
int compile__now(const struct compile_request *request, struct compile_now *out,
		 struct error *error);

#endif
