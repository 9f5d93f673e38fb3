/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BTF of records.bpf.c, for tests.
 */
#ifndef PERILUNE_TESTS_BTF_H
#define PERILUNE_TESTS_BTF_H

#include <bpf/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compile/compile.h"
#include "extract/layout.h"

/* Compiles it; NULL, having said why, when that fails. Needs PERILUNE_SOURCE or the source's directory as the current one. */
static inline struct btf *test_btf(void)
{
	const char *source = getenv("PERILUNE_SOURCE");
	char clang[256], command[1024], path[64], bytes[4096];
	struct error error = {0};
	struct btf *btf = NULL;
	FILE *object;
	size_t n;
	int fd;

	if (compile__clang(clang, sizeof(clang), &error)) {
		fprintf(stderr, "%s\n", error.message);
		return NULL;
	}
	if (!source)
		source = ".";
	snprintf(command, sizeof(command),
		 "%s -target bpf -g -O2 -Wall -I%s -c %s/tests/unit/records.bpf.c -o -", clang,
		 source, source);
	fd = memfd_create("records", MFD_CLOEXEC);
	object = popen(command, "r");
	while (object && (n = fread(bytes, 1, sizeof(bytes), object)) > 0)
		if (write(fd, bytes, n) != (ssize_t)n)
			perror("write");
	if (object && pclose(object) == 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		btf = btf__parse_elf(path, NULL);
	}
	if (!btf)
		perror(command);
	close(fd);
	return btf;
}

/* The type of this name, or a number that no type has. */
static inline uint32_t test_type(const struct btf *btf, const char *name, uint32_t kind)
{
	int id = btf__find_by_name_kind(btf, name, kind);

	return id > 0 ? (uint32_t)id : 1U << 20;
}

/* The layout of an entry whose key is, without a type, an index. */
static inline int test_layout(const struct btf *btf, uint32_t key_type, uint32_t key_size,
			      uint32_t value_type, uint32_t value_size, struct layout **out,
			      struct error *error)
{
	return layout__new(&(struct layout_spec){.btf = btf,
						 .key_type = key_type,
						 .key_size = key_size,
						 .value_type = value_type,
						 .value_size = value_size,
						 .index = key_type == 0},
			   out, error);
}

#endif
