/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/probe_load.h"

#include <errno.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

/* Old kernels fail when the log does not fit, so it is generous; pages the verifier does not write are never touched. */
#define VERIFIER_LOG_SIZE (16U << 20)
#define VERIFIER_LOG_SHOWN 700 /* bytes of its end that an error quotes */

static int ignore(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

int probe_load__open(const void *object, size_t len, const char *name, struct bpf_object **out,
		     struct error *error)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "perilune");

	libbpf_set_print(ignore); /* what it would say is in our errors */
	*out = bpf_object__open_mem(object, len, &opts);
	if (*out)
		return 0;
	return error__set(error, -errno, "%s: the compiled object cannot be opened: %s", name,
			  strerror(errno));
}

/* The last line that starts with `prefix` before `end`; NULL when there is none. */
static const char *last_line(const char *log, const char *end, const char *prefix)
{
	size_t len = strlen(prefix);

	for (const char *at = end; at > log;) {
		const char *line = at - 1;

		while (line > log && line[-1] != '\n')
			line--;
		if (!strncmp(line, prefix, len))
			return line;
		at = line;
	}
	return NULL;
}

/* The FILE:LINE in a line of the log that quotes source as "; text @ FILE:LINE" (since Linux 6.9); its length, 0: none. */
static size_t place_in(const char *line, const char **place)
{
	const char *stop = strchr(line, '\n');

	*place = NULL;
	for (const char *p = line; stop && p + 3 < stop; p++)
		if (!strncmp(p, " @ ", 3))
			*place = p + 3;
	return *place ? (size_t)(stop - *place) : 0;
}

static bool has_suffix(const char *place, size_t len, const char *suffix)
{
	const char *colon = memchr(place, ':', len);
	size_t n = strlen(suffix);

	return colon && (size_t)(colon - place) >= n && !strncmp(colon - n, suffix, n);
}

/*
 * The place the verifier was at. What is wrong with a policy's own code often shows in a function of ours that it calls, put in its
 * place by the compiler: then the last line of that code before it is what helps, with ours behind it.
 */
static void failing_line(const char *log, const char *end, char *out, size_t size)
{
	const char *line = last_line(log, end, "; "), *last, *at;
	size_t len = line ? place_in(line, &last) : 0, n = len;

	out[0] = '\0';
	if (!len)
		return;
	for (at = last; line && n && has_suffix(at, n, ".h") && !has_suffix(at, n, ".bpf.h");
	     n = line ? place_in(line, &at) : 0)
		line = last_line(log, line, "; ");
	if (!line || !n || at == last || *at == '<' || has_suffix(at, n, ".bpf.h"))
		snprintf(out, size, "%.*s: ", (int)len, last);
	else
		snprintf(out, size, "%.*s: after this line, in %.*s: ", (int)n, at, (int)len, last);
}

/* The level function it was proving: "Validating tc_siege() func#3...". */
static void failing_function(const char *log, const char *end, char *out, size_t size)
{
	static const char prefix[] = "Validating ";
	const char *line = last_line(log, end, prefix);
	const char *stop = line ? strchr(line, '(') : NULL;

	out[0] = '\0';
	if (stop)
		snprintf(out, size, " in %.*s", (int)(stop - line - (int)sizeof(prefix) + 1),
			 line + sizeof(prefix) - 1);
}

/* Turns the verifier's log into one line that says where and why, and the end of the log below it. */
static int refused(const char *log, int code, struct error *error)
{
	const char *end = log + strlen(log), *summary, *why, *tail;
	char place[256], function[96];
	size_t len;

	summary = last_line(log, end, "processed ");
	if (summary)
		end = summary;
	why = end > log ? end - 1 : end;
	while (why > log && why[-1] != '\n')
		why--;
	failing_line(log, end, place, sizeof(place));
	failing_function(log, end, function, sizeof(function));
	tail = log;
	if (end - log > VERIFIER_LOG_SHOWN) { /* from the begin of a line, if one begins there */
		const char *line = memchr(end - VERIFIER_LOG_SHOWN, '\n', VERIFIER_LOG_SHOWN);

		tail = line ? line + 1 : end - VERIFIER_LOG_SHOWN;
	}
	len = (size_t)(end - tail);
	while (len && tail[len - 1] == '\n')
		len--;
	error__set(error, code, "%sthe verifier refused%s: %.*s\n%.*s", place, function,
		   (int)strcspn(why, "\n"), why, (int)len, tail);
	return code;
}

int probe_load__load(struct bpf_object *object, const char *name, struct error *error)
{
	char *log = malloc(VERIFIER_LOG_SIZE);
	struct bpf_program *program;
	int err = -ENOMEM;

	if (!log)
		return error__set(error, err, "out of memory");
	log[0] = '\0';
	bpf_object__for_each_program(program, object) {
		err = bpf_program__set_log_buf(program, log, VERIFIER_LOG_SIZE);
		if (err)
			goto out;
	}
	err = bpf_object__load(object);
	if (err == -EPERM && !log[0]) {
		error__set(error, err, "not permitted to load BPF programs");
		error__hint(error, err,
			    "run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON");
	} else if (err && log[0]) {
		err = refused(log, -ENOEXEC, error);
	} else if (err) {
		error__set(error, err, "%s: the kernel refused the object: %s", name,
			   strerror(-err));
	}
out:
	free(log);
	return err;
}
