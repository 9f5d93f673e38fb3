/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "compile/compile_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_NONE, KIND_ERROR, KIND_WARNING, KIND_NOTE };

struct diagnostic {
	enum kind kind;
	const char *file; /* NULL: none was given */
	int file_len;
	long line;
	const char *message;
	int message_len;
};

static const struct {
	const char *word;
	enum kind kind;
} words[] = {
	{"fatal error: ", KIND_ERROR},
	{"error: ", KIND_ERROR},
	{"warning: ", KIND_WARNING},
	{"note: ", KIND_NOTE},
};

/* Takes a ":NUMBER" off the end of text[0..len). */
static bool take_number(const char *text, int *len, long *out)
{
	int at = *len;

	while (at > 0 && isdigit((unsigned char)text[at - 1]))
		at--;
	if (at == *len || at < 2 || text[at - 1] != ':')
		return false;
	*out = strtol(text + at, NULL, 10);
	*len = at - 1;
	return true;
}

/* FILE:LINE[:COLUMN]; anything else is no place at all. */
static void parse_place(const char *text, int len, struct diagnostic *d)
{
	long last, before;

	if (!take_number(text, &len, &last))
		return;
	d->line = take_number(text, &len, &before) ? before : last;
	d->file = text;
	d->file_len = len;
}

static struct diagnostic parse_line(const char *line, int len)
{
	struct diagnostic d = {.kind = KIND_NONE};
	const char *first = NULL;

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		const char *at = memmem(line, (size_t)len, words[i].word, strlen(words[i].word));

		/* "fatal error: " holds "error: ": the leftmost wins */
		if (!at || (first && at >= first) ||
		    (at != line && (at < line + 2 || at[-2] != ':')))
			continue;
		first = at;
		d.kind = words[i].kind;
		d.message = at + strlen(words[i].word);
		d.message_len = (int)(line + len - d.message);
	}
	if (first && first != line)
		parse_place(line, (int)(first - line) - 2, &d);
	return d;
}

/* One line more of the message; false when it does not fit. */
static bool add(struct error *error, const struct diagnostic *d)
{
	const char *kind = d->kind == KIND_WARNING ? "warning: "
			   : d->kind == KIND_NOTE  ? "note: "
						   : "";
	size_t used = strlen(error->message), room = sizeof(error->message) - used;
	int len;

	if (d->file)
		len = snprintf(error->message + used, room, "%s%.*s:%ld: %s%.*s", used ? "\n" : "",
			       d->file_len, d->file, d->line, kind, d->message_len, d->message);
	else
		len = snprintf(error->message + used, room, "%sclang: %s%.*s", used ? "\n" : "",
			       kind, d->message_len, d->message);
	if (len >= 0 && (size_t)len < room)
		return true;
	if (used)
		error->message[used] = '\0'; /* whole lines only */
	return false;
}

static void hint(struct error *error)
{
	if (strstr(error->message, "No available targets"))
		error__hint(
			error, 0,
			"this clang has no BPF target: install Debian's clang or set PERILUNE_CLANG");
	else if (strstr(error->message, "'bpf/") && strstr(error->message, "file not found"))
		error__hint(error, 0, "apt-get install libbpf-dev");
	else if (strstr(error->message, "file not found") &&
		 (strstr(error->message, "'asm/") || strstr(error->message, "'linux/")))
		error__hint(error, 0, "apt-get install linux-libc-dev");
}

void compile_text__errors(const char *text, const char *otherwise, struct error *error)
{
	const char *first = NULL, *last = NULL, *line, *end;
	struct diagnostic d;
	int last_len = 0;

	error__set(error, 0, "%s", "");
	for (int pass = 0; pass < 2; pass++) {
		for (line = text; *line; line = *end ? end + 1 : end) {
			end = strchrnul(line, '\n');
			if (end != line) {
				last = line;
				last_len = (int)(end - line);
			}
			d = parse_line(line, (int)(end - line));
			if (pass == 0 && d.kind == KIND_ERROR) {
				first = line;
				add(error, &d);
				break;
			}
			if (pass == 1 && d.kind != KIND_NONE && line != first && !add(error, &d))
				break;
		}
		if (!first)
			break;
	}
	if (!first && last)
		error__set(error, 0, "clang failed: %.*s", last_len, last);
	else if (!first)
		error__set(error, 0, "%s", otherwise);
	hint(error);
}

/* Reads one name from *from, unescaped to *to. False at the end. */
static bool take_name(const char **from, char **to)
{
	const char *at = *from;
	char *out = *to;

	while (isspace((unsigned char)*at) || (at[0] == '\\' && at[1] == '\n'))
		at++;
	if (!*at)
		return false;
	while (*at && !isspace((unsigned char)*at)) {
		if (at[0] == '\\' && at[1] == '\n')
			break;
		if ((at[0] == '\\' && (at[1] == ' ' || at[1] == '#')) ||
		    (at[0] == '$' && at[1] == '$'))
			at++;
		*out++ = *at++;
	}
	if (*at)
		at++; /* what ended it gives its place to the NUL */
	*out++ = '\0';
	*from = at;
	*to = out;
	return true;
}

int compile_text__headers(char *rule, char ***out)
{
	const char *from = strstr(rule, ": ");
	size_t count = 0, max = 1;
	char **names, *to = rule;

	for (const char *at = rule; *at; at++)
		max += isspace((unsigned char)*at) != 0;
	names = calloc(max + 1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	if (from) {
		from += 2;
		for (char *name = to; count < max && take_name(&from, &to); name = to)
			if (strcmp(name, "-") != 0 && strcmp(name, "<stdin>") != 0)
				names[count++] = name;
	}
	*out = names;
	return 0;
}
