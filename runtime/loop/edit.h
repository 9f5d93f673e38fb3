/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines that a person types, edited with libedit on the loop: everything else goes on while a line is half typed.
 *
 *	new → prompt → line() → prompt → … → line(NULL) at the end of the input → free
 *
 * The terminal is in its usual state except between a prompt and its line, so that commands may print and Ctrl-C is a signal
 * at any time. Input that is no terminal (a pipe, a file) is read line by line, without prompts.
 */
#ifndef PERILUNE_EDIT_H
#define PERILUNE_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "loop/loop.h"

struct edit;

struct edit_spec {
	const char *program; /* whose settings in ~/.editrc hold */
	const char *history; /* file; NULL: none is kept */
	int history_most;    /* lines */
	/* A whole line without its newline, or NULL at the end of the input. Nothing is read until the next edit__prompt(). */
	void (*line)(const char *text, size_t len, void *arg);
	/*
	 * The person asks what could follow: the line up to the cursor. The answer goes through edit__insert() and edit__above(),
	 * within the call.
	 */
	void (*complete)(const char *text, size_t len, void *arg);
	void *arg;
};

/* -EINVAL: the terminal is not one that can be edited on; then lines are read as from a pipe, and this is not called an error. */
int edit__new(struct loop *loop, const struct edit_spec *spec, struct edit **out,
	      struct error *error);
/* Gives the terminal back. NULL-safe. */
void edit__free(struct edit *edit);

/* Whether lines are edited on a terminal. */
bool edit__is_tty(const struct edit *edit);

/* Asks for a line. `prompt` (copied) is shown on a terminal. */
int edit__prompt(struct edit *edit, const char *prompt);
/* What has been typed is given up; nothing is read until the next prompt. */
void edit__discard(struct edit *edit);

/* Writes whole lines (with their newlines) above the line being typed, or just writes them. */
void edit__above(struct edit *edit, const char *text, size_t len);
/* Text at the cursor. */
void edit__insert(struct edit *edit, const char *text);
/* The terminal has another size. */
void edit__resize(struct edit *edit);

/* Appends to the history, and to its file. */
void edit__remember(struct edit *edit, const char *line);

#endif
