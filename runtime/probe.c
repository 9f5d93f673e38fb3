/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <errno.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../bpf/ctl.h"

/* Old kernels fail when the log does not fit, so it is generous; pages the verifier does not write are never touched. */
#define VERIFIER_LOG_SIZE (16U << 20)
#define VERIFIER_LOG_SHOWN 700 /* bytes of its end that an error quotes */

struct probe {
	struct bpf_object *object;
	struct ctl *ctl;
	struct attachment *attachments[PROBE_HOOKS];
	size_t attached;
	char name[64];
};

static int ignore(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

int probe__open(const void *object, size_t len, const char *name, struct probe **out,
		struct error *error)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "perilune");
	struct probe *probe = calloc(1, sizeof(*probe));
	int err;

	if (!probe)
		return error__set(error, -ENOMEM, "out of memory");
	libbpf_set_print(ignore); /* what it would say is in our errors */
	snprintf(probe->name, sizeof(probe->name), "%s", name);
	probe->object = bpf_object__open_mem(object, len, &opts);
	if (!probe->object) {
		err = error__set(error, -errno, "%s: the compiled object cannot be opened: %s",
				 name, strerror(errno));
		probe__free(probe);
		return err;
	}
	*out = probe;
	return 0;
}

int probe__set_entries(struct probe *probe, const char *name, uint32_t entries, struct error *error)
{
	static const char *const suffixes[] = {"", "_0", "_1"};
	char full[128];
	size_t found = 0;

	for (size_t i = 0; i < 3; i++) {
		struct bpf_map *map;

		snprintf(full, sizeof(full), "%s%s", name, suffixes[i]);
		map = bpf_object__find_map_by_name(probe->object, full);
		if (!map)
			continue;
		found++;
		if (bpf_map__type(map) == BPF_MAP_TYPE_ARRAY_OF_MAPS)
			continue;
		if (bpf_map__set_max_entries(map, entries))
			return error__set(error, -errno, "map %s: cannot have %u entries", full,
					  entries);
	}
	return found ? 0 : error__set(error, -ENOENT, "%s: there is no map %s", probe->name, name);
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

/* Maps the control block itself; libbpf's initial value of it is a copy. */
static int map_ctl(struct probe *probe, struct error *error)
{
	struct bpf_map *map = bpf_object__find_map_by_name(probe->object, ".data.ctl");
	void *ctl;

	if (!map)
		return error__set(error, -ENOENT, "%s: the object has no control block",
				  probe->name);
	ctl = mmap(NULL, sizeof(*probe->ctl), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map),
		   0);
	if (ctl == MAP_FAILED)
		return error__set(error, -errno, "%s: the control block cannot be mapped: %s",
				  probe->name, strerror(errno));
	probe->ctl = ctl;
	return 0;
}

int probe__load(struct probe *probe, struct error *error)
{
	char *log = malloc(VERIFIER_LOG_SIZE);
	struct bpf_program *program;
	int err = -ENOMEM;

	if (!log) {
		error__set(error, err, "out of memory");
		goto out;
	}
	log[0] = '\0';
	bpf_object__for_each_program(program, probe->object) {
		err = bpf_program__set_log_buf(program, log, VERIFIER_LOG_SIZE);
		if (err)
			goto out;
	}
	err = bpf_object__load(probe->object);
	if (err == -EPERM && !log[0]) {
		error__set(error, err, "not permitted to load BPF programs");
		error__hint(error, err,
			    "run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON");
		goto out;
	}
	if (err) {
		if (log[0])
			err = refused(log, -ENOEXEC, error);
		else
			error__set(error, err, "%s: the kernel refused the object: %s", probe->name,
				   strerror(-err));
		goto out;
	}
	err = map_ctl(probe, error);
out:
	free(log);
	return err;
}

struct ctl *probe__ctl(struct probe *probe)
{
	return probe->ctl;
}

struct bpf_object *probe__object(struct probe *probe)
{
	return probe->object;
}

int probe__program(struct probe *probe, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(probe->object, name);

	return program ? bpf_program__fd(program) : -ENOENT;
}

int probe__attach(struct probe *probe, const char *program, enum hook hook, int ifindex,
		  enum attach_mode mode, const char **mode_name, struct error *error)
{
	struct attachment **slot = &probe->attachments[probe->attached];
	int fd = probe__program(probe, program), err;

	if (fd < 0)
		return error__set(error, fd, "%s: there is no program %s", probe->name, program);
	if (probe->attached == PROBE_HOOKS)
		return error__set(error, -ENOSPC, "%s: attached to all hooks already", probe->name);
	if (!probe->attached)
		attach__sweep(); /* what a process of ours that was killed could not remove */
	err = attach__attach(hook, ifindex, mode, fd, slot, error);
	if (err)
		return err;
	probe->attached++;
	*mode_name = (*slot)->ops->name;
	return 0;
}

int probe__detach(struct probe *probe)
{
	int count = (int)probe->attached, err = 0;

	while (probe->attached) {
		int one = attach__detach(probe->attachments[--probe->attached]);

		if (one && !err)
			err = one;
	}
	return err ? err : count;
}

void probe__free(struct probe *probe)
{
	if (!probe)
		return;
	probe__detach(probe);
	if (probe->ctl)
		munmap(probe->ctl, sizeof(*probe->ctl));
	bpf_object__close(probe->object);
	free(probe);
}
