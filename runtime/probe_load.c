/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_load.h"

#include <errno.h>
#include <linux/types.h>
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

/* The place the verifier was at: its log quotes source as "; text @ FILE:LINE" (since Linux 6.9). */
static void failing_line(const char *log, const char *end, char *out, size_t size)
{
	const char *line = last_line(log, end, "; ");
	const char *stop = line ? strchr(line, '\n') : NULL;
	const char *at = NULL;

	out[0] = '\0';
	if (!stop)
		return;
	for (const char *p = line; p + 3 < stop; p++)
		if (!strncmp(p, " @ ", 3))
			at = p + 3;
	if (at)
		snprintf(out, size, "%.*s: ", (int)(stop - at), at);
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
