/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench_prog.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_SIZE 65536
#define LOG_STATISTICS 4 /* the verifier's log level for its last line alone */

struct bench_prog {
	struct bpf_object *object;
	struct bpf_program *program;
	struct bench_prog_cost cost;
	char log[LOG_SIZE];
};

/* The verifier ends its log with "… total_states N …". */
static uint32_t states_of(const char *log)
{
	static const char word[] = "total_states ";
	const char *found = strstr(log, word);

	return found ? (uint32_t)strtoul(found + sizeof(word) - 1, NULL, 10) : 0;
}

static uint64_t memory_of(int fd)
{
	static const char word[] = "memlock:";
	char path[64], line[256];
	uint64_t bytes = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (!bytes && fgets(line, sizeof(line), file))
		if (!strncmp(line, word, sizeof(word) - 1))
			bytes = strtoull(line + sizeof(word) - 1, NULL, 10);
	fclose(file);
	return bytes;
}

static void look(struct bench_prog *prog)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	struct bpf_map *map;

	if (!bpf_prog_get_info_by_fd(bpf_program__fd(prog->program), &info, &len)) {
		prog->cost.instructions = info.xlated_prog_len / 8;
		prog->cost.verified = info.verified_insns;
	}
	prog->cost.states = states_of(prog->log);
	bpf_object__for_each_map(map, prog->object)
		prog->cost.map_bytes += memory_of(bpf_map__fd(map));
}

static int ignore(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

static int load(struct bench_prog *prog, const void *object, size_t len, struct error *error)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "bench");
	int err;

	libbpf_set_print(ignore); /* what it would say is in our errors */
	prog->object = bpf_object__open_mem(object, len, &opts);
	if (!prog->object)
		return error__set(error, -errno, "opening the object failed: %s", strerror(errno));
	prog->program = bpf_object__next_program(prog->object, NULL);
	if (!prog->program)
		return error__set(error, -EINVAL, "the object has no program");
	bpf_program__set_log_buf(prog->program, prog->log, sizeof(prog->log));
	bpf_program__set_log_level(prog->program, LOG_STATISTICS);
	err = bpf_object__load(prog->object);
	if (err)
		return error__set(error, err, "loading a program to measure failed: %s",
				  strerror(-err));
	look(prog);
	return 0;
}

int bench_prog__new(const void *object, size_t len, struct bench_prog **out, struct error *error)
{
	struct bench_prog *prog = calloc(1, sizeof(*prog));
	int err;

	*out = NULL;
	if (!prog)
		return error__set(error, -ENOMEM, "out of memory");
	err = load(prog, object, len, error);
	if (err) {
		bench_prog__free(prog);
		return err;
	}
	*out = prog;
	return 0;
}

void bench_prog__free(struct bench_prog *prog)
{
	if (!prog)
		return;
	bpf_object__close(prog->object);
	free(prog);
}

const struct bench_prog_cost *bench_prog__cost(const struct bench_prog *prog)
{
	return &prog->cost;
}

int bench_prog__run(struct bench_prog *prog, const void *frame, size_t len, uint32_t repeat,
		    uint32_t *ns, struct error *error)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (__u32)len,
		    .repeat = (int)repeat);
	int err = bpf_prog_test_run_opts(bpf_program__fd(prog->program), &opts);

	*ns = opts.duration;
	return err ? error__set(error, err, "running a program on a frame failed: %s",
				strerror(-err))
		   : 0;
}
