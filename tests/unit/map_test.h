/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of map*: a dump as text, and the object of maps.bpf.c.
 */
#ifndef PERILUNE_TESTS_MAP_H
#define PERILUNE_TESTS_MAP_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "map/map_dump.h"
#include "program.h"

struct test_dump {
	int err;
	uint64_t rows;
	char *text; /* what was written; free() */
	char note[256];
	struct error error;
};

static const struct map_dump_options test_json = {.json = true, .limit = UINT64_MAX};
static const struct map_dump_options test_lines = {.limit = UINT64_MAX};

/* Dumps the map of a descriptor, which is kept. */
static inline struct test_dump test_dump(int map_fd, const struct map_dump_options *options)
{
	struct map_dump_options o = *options;
	struct test_dump out = {0};
	struct map_dump *dump = NULL;
	struct map map = {0};
	off_t len;

	o.fd = memfd_create("dump", MFD_CLOEXEC);
	out.err = map__open_fd(dup(map_fd), &map, &out.error);
	if (!out.err)
		out.err = map_dump__new(&map, &o, &dump, &out.error);
	if (!out.err) {
		out.err = map_dump__run(dump, &out.error);
		out.rows = map_dump__rows(dump);
		snprintf(out.note, sizeof(out.note), "%s", map_dump__note(dump));
	}
	map_dump__free(dump);
	len = lseek(o.fd, 0, SEEK_END);
	out.text = calloc(1, (size_t)len + 1);
	if (pread(o.fd, out.text, (size_t)len, 0) != len)
		out.err = -EIO;
	close(o.fd);
	return out;
}

/* The object of maps.bpf.c, loaded; NULL, having said why. */
static inline struct bpf_object *test_maps(void)
{
	size_t len = 0;
	unsigned char *bytes = program__compile("#include \"../tests/unit/maps.bpf.c\"\n", &len);
	struct bpf_object *object = bytes ? bpf_object__open_mem(bytes, len, NULL) : NULL;

	free(bytes);
	if (object && bpf_object__load(object)) {
		bpf_object__close(object);
		object = NULL;
	}
	return object;
}

/* Runs one of its programs once; 0, or what was wrong. */
static inline int test_run(const struct bpf_object *object, const char *name)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	unsigned char packet[64] = {0};
	struct bpf_program *prog = bpf_object__find_program_by_name(object, name);

	if (bpf_program__type(prog) == BPF_PROG_TYPE_SCHED_CLS) {
		opts.data_in = packet;
		opts.data_size_in = sizeof(packet);
	}
	return bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

static inline int test_map_fd(const struct bpf_object *object, const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

#endif
