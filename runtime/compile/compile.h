/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a plan's C source to a BPF object, through a clang child on the loop and a content-addressed
 * cache.
 *
 * The source goes in by standard input and the object comes out by standard output: there are no
 * temporary files. An object is taken from the cache only when the source, the arguments, the
 * compiler and the content of every header it read are the same.
 */
#ifndef PERILUNE_COMPILE_H
#define PERILUNE_COMPILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "loop/loop.h"

struct compile;

struct compile_request {
	const char *name;   /* what diagnostics call the source: "<policy syn-flood>" */
	const char *source; /* C, complete */
	const char *const
		*args;	   /* more arguments for clang (-I…, -D…), NULL-terminated; may be NULL */
	const char *cache; /* directory of cached objects; NULL: compile__cache_dir(); "": none */
};

struct compile_result {
	int code;	    /* 0 or -errno */
	struct error error; /* when code is not 0: clang's first error as FILE:LINE: message, then
			       its others */
	const void *object; /* ELF bytes, valid during the callback */
	size_t object_len;
	bool cached;	/* came from the cache */
	double seconds; /* wall time from start to result */
};

typedef void (*compile_fn)(const struct compile_result *result, void *arg);

/*
 * Always calls `fn` once, from the loop, never from within compile__start. *out lives until then.
 * -errno (out of memory, the loop is going away): nothing was started and `fn` is not called.
 */
int compile__start(struct loop *loop, const struct compile_request *request, compile_fn fn,
		   void *arg, struct compile **out);
/* Gives up: kills the child; `fn` gets -ECANCELED. */
void compile__cancel(struct compile *compile);

/*
 * The clang to use: $PERILUNE_CLANG, or the newest of clang-22 … clang-14 and clang in PATH that
 * has the BPF target's version 14 or later. Writes its absolute path. -ENOENT with a hint when
 * there is none. Cheap enough to call each time.
 */
int compile__clang(char *path, size_t size, struct error *error);

/* $PERILUNE_CACHE, $XDG_CACHE_HOME/perilune or ~/.cache/perilune. -ENOENT when none can be named.
 */
int compile__cache_dir(char *path, size_t size);

#endif
