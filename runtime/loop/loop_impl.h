/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What loop.c and loop_child.c share, and nobody else includes.
 */
#ifndef PERILUNE_LOOP_IMPL_H
#define PERILUNE_LOOP_IMPL_H

#include <uv.h>

#include "loop/loop.h"

struct loop {
	uv_loop_t uv;
	bool running;
	bool closing;	     /* in loop__free(): nothing new is started */
	char scratch[65536]; /* one read is handed on before the next begins, so all children share
				it */
};

static inline struct loop *loop__of(uv_loop_t *uv)
{
	return uv->data;
}

#endif
