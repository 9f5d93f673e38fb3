/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clang writes besides the object: its diagnostics and its dependency list, made into our own
 * terms.
 */
#ifndef PERILUNE_COMPILE_TEXT_H
#define PERILUNE_COMPILE_TEXT_H

#include "base/error.h"

/*
 * Clang's standard error as an error: its first error as "FILE:LINE: message" in the first line,
 * then the other errors, warnings and notes, one a line, as many as fit. Without any error in the
 * text the message is what was said last, or `otherwise`.
 */
void compile_text__errors(const char *text, const char *otherwise, struct error *error);

/*
 * The prerequisites in a make rule. `rule` is changed and holds the names from then on; *out is
 * NULL-terminated and the caller's to free(). 0 or -ENOMEM.
 */
int compile_text__headers(char *rule, char ***out);

#endif
