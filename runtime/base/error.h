/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong, in words a person can act on.
 *
 * Functions return 0 or -errno; those whose caller needs more than the number take a `struct error *` as their last
 * parameter and fill it on failure. It may always be NULL.
 */
#ifndef PERILUNE_ERROR_H
#define PERILUNE_ERROR_H

struct error {
	char message
		[2048]; /* what is wrong; one line, unless it quotes a compiler or the verifier */
	char hint[512]; /* what to do about it; may be empty */
};

/* Writes the message and clears the hint. Returns `code` (a -errno), so that `return error__set(…)` reads well. */
int error__set(struct error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds what to do. Returns `code`. */
int error__hint(struct error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The symbolic name of an errno ("ENOENT" for 2 and for -2); "E?" for a number that has none. Static storage. */
const char *error__name(int code);

#endif
