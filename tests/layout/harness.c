/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harness OBJECT READER [OBJECT READER]…
 *
 * Loads each BPF object, has its program fill its maps, and prints what every reader makes of each: `@ MAP` begins one, then come
 * the compiler's lines (reader.h), the JSON, Lua's lines (decode.c). `X …` is a failure, `E` the end. All in one process and one Lua
 * state.
 */
#include "harness.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <errno.h>
#include <lua.h>
#include <sched.h>
#include <stdlib.h>

#include "reader.h"

#define ALIGNMENT 64 /* of what the generated code may touch */

static int failed(const char *what, int err)
{
	printf("X\t%s: %s\n", what, strerror(err < 0 ? -err : err));
	return -1;
}

/* libbpf warns of types that the kernel does not take (an unaligned float); it goes on without them, and so do we. */
static int say_nothing(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* Runs the program once on every CPU that is there. */
static int fill_maps(const struct bpf_object *object)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, "fill");
	cpu_set_t all, one;
	int err = 0;

	if (!program || sched_getaffinity(0, sizeof(all), &all))
		return failed("no program, or no CPUs", ENOENT);
	for (int cpu = 0; !err && cpu < CPU_SETSIZE; cpu++) {
		LIBBPF_OPTS(bpf_test_run_opts, run);

		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			err = failed("sched_setaffinity", errno);
		else if (bpf_prog_test_run_opts(bpf_program__fd(program), &run))
			err = failed("the program does not run", errno);
		else if (run.retval)
			err = printf("X\tthe program failed at layout %u\n", run.retval - 1);
	}
	sched_setaffinity(0, sizeof(all), &all);
	return err;
}

static void print_hex(const unsigned char *bytes, size_t size)
{
	putchar('\t');
	for (size_t i = 0; i < size; i++)
		printf("%02x", bytes[i]);
}

/*
 * What the BPF program left in the map has to be what the same statements leave in the host's memory, or the two compilers do not
 * agree about the type and there is nothing to learn from reading it.
 */
static void print_part(const char *prefix, const unsigned char *got, size_t size,
		       void (*fill)(void *), void (*print)(struct reader *, const void *))
{
	size_t room = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	unsigned char *bytes = aligned_alloc(ALIGNMENT, room);
	struct reader reader = {stdout, prefix};

	if (!bytes)
		abort();
	memset(bytes, 0, room);
	if (fill)
		fill(bytes);
	if (memcmp(bytes, got, size) != 0) {
		printf("X\t%s: the host's and the BPF compiler's bytes differ:", prefix);
		print_hex(bytes, size);
		print_hex(got, size);
		putchar('\n');
	}
	memcpy(bytes, got, size);
	print(&reader, bytes);
	free(bytes);
}

static void print_index(struct reader *reader, const void *bytes)
{
	uint32_t index;

	memcpy(&index, bytes, sizeof(index));
	reader__uint(reader, index, "%s", "");
}

static void print_record(const struct layout_case *c, const struct layout *layout,
			 const unsigned char *record)
{
	const unsigned char *value = record + layout->value_offset;
	cpu_set_t here;
	char prefix[32];

	print_part("key", record, c->key_size, c->fill_key,
		   c->print_key ? c->print_key : print_index);
	if (!c->per_cpu) {
		print_part("value", value, c->value_size, c->fill_value[0], c->print_value);
		return;
	}
	if (sched_getaffinity(0, sizeof(here), &here))
		CPU_ZERO(&here);
	for (uint32_t cpu = 0; cpu < layout->cpus; cpu++) {
		snprintf(prefix, sizeof(prefix), "values[%u]", cpu);
		print_part(prefix, value + cpu * ((c->value_size + 7) & ~7UL), c->value_size,
			   CPU_ISSET(cpu, &here) ? c->fill_value[cpu & 1] : NULL, c->print_value);
	}
}

static int print_case(lua_State *L, const struct bpf_object *object, const struct layout_case *c)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(object, c->map);
	struct error error = {0};
	struct layout *layout;
	struct batch batch;
	int err;

	printf("@\t%s\n", c->map);
	if (!map || bpf_map__key_size(map) != c->key_size ||
	    bpf_map__value_size(map) != c->value_size)
		return failed("the compilers disagree about sizes", EINVAL);
	err = decode__read(bpf_object__btf(object), bpf_map__btf_key_type_id(map),
			   bpf_map__btf_value_type_id(map), bpf_map__fd(map), &layout, &batch,
			   &error);
	if (err)
		return failed(error.message, err);
	if (batch.count == 1) {
		print_record(c, layout, batch.records);
		err = decode__print(L, &batch);
	} else {
		err = printf("X\t%zu records instead of one\n", batch.count);
	}
	batch__free(&batch);
	layout__free(layout);
	return err;
}

static int print_object(lua_State *L, const char *path, const char *reader)
{
	const struct layout_case *cases;
	struct bpf_object *object = NULL;
	void *handle = dlopen(reader, RTLD_NOW | RTLD_LOCAL);
	int err = -1;

	printf("O\t%s\n", path);
	cases = handle ? dlsym(handle, "layout_cases") : NULL;
	if (!cases) {
		printf("X\t%s\n", dlerror());
		goto out;
	}
	object = bpf_object__open(path);
	if (!object || bpf_object__load(object)) {
		err = failed("the object does not load", errno);
		goto out;
	}
	err = fill_maps(object);
	for (; !err && cases->map; cases++)
		print_case(L, object,
			   cases); /* says what is wrong; the others may still be right */
out:
	bpf_object__close(object);
	if (handle)
		dlclose(handle);
	return err;
}

int main(int argc, char **argv)
{
	const char *source = getenv("PERILUNE_SOURCE");
	lua_State *L = decode__open(source ? source : ".");
	int status = L && argc > 2 && argc % 2 ? EXIT_SUCCESS : EXIT_FAILURE;

	libbpf_set_print(say_nothing);
	for (int i = 1; status == EXIT_SUCCESS && i < argc; i += 2)
		if (print_object(L, argv[i], argv[i + 1]))
			status = EXIT_FAILURE;
	if (L)
		lua_close(L);
	puts("E");
	return fflush(stdout) ? EXIT_FAILURE : status;
}
