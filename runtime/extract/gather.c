/* SPDX-License-Identifier: Apache-2.0 */
#include "extract/gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "extract/gather_build.h"

#define MAX_CPUS 64 /* the verifier walks the loop over them once for each */

struct gather {
	unsigned char *records;
	size_t mapped; /* bytes */
	int out_fd, program;
};

static const char *refuse(const struct extract_map *map, const struct layout *layout,
			  struct gather_plan *plan)
{
	switch (map->type) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		plan->array = true;
		break;
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_PERCPU_HASH:
		break;
	default: /* of a per-CPU LRU, looking at a CPU's value would count as its use */
		return "maps of this type are not gathered";
	}
	if (layout->stride > GATHER_RECORD_MAX)
		return "the records are too long to be gathered";
	if (map->type == BPF_MAP_TYPE_PERCPU_ARRAY || map->type == BPF_MAP_TYPE_PERCPU_HASH) {
		int cpus = libbpf_num_possible_cpus();

		if (cpus < 0 || cpus > MAX_CPUS)
			return "there are too many CPUs to fold in the kernel";
		if (layout->cpus > 1)
			return "values of CPUs that are kept apart are not gathered";
		if (!gather_fold__possible(layout))
			return "the fold of these fields takes more than integers";
		plan->cpus = (uint32_t)cpus;
	}
	return NULL;
}

static int open_records(struct gather *gather, const struct gather_plan *plan)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	uint32_t most = plan->array ? plan->map->entries : plan->map->max_entries;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
	void *memory;

	most = most ? most : 1;
	size = (size_t)most * plan->layout->stride;
	gather->out_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "perilune_gather", sizeof(uint32_t),
					plan->layout->stride, most, &opts);
	if (gather->out_fd < 0)
		return gather->out_fd;
	size = (size + page - 1) / page * page;
	memory = mmap(NULL, size, PROT_READ, MAP_SHARED, gather->out_fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	gather->records = memory;
	gather->mapped = size;
	return 0;
}

/* Types of `int gather(void *)` and of the callback: functions that are called back need them to be verified. */
static int load_btf(uint32_t *ids)
{
	struct btf *btf = btf__new_empty();
	int fd, number, pointer, proto;
	const void *data;
	uint32_t size;

	if (!btf)
		return -ENOMEM;
	number = btf__add_int(btf, "long", 8, BTF_INT_SIGNED);
	pointer = btf__add_ptr(btf, 0);
	proto = btf__add_func_proto(btf, number);
	btf__add_func_param(btf, "ctx", pointer);
	ids[0] = (uint32_t)btf__add_func(btf, "gather", BTF_FUNC_GLOBAL, proto);
	proto = btf__add_func_proto(btf, number);
	btf__add_func_param(btf, "map", pointer);
	btf__add_func_param(btf, "key", pointer);
	btf__add_func_param(btf, "value", pointer);
	btf__add_func_param(btf, "state", pointer);
	ids[1] = (uint32_t)btf__add_func(btf, "entry", BTF_FUNC_STATIC, proto);
	data = btf__raw_data(btf, &size);
	fd = data ? bpf_btf_load(data, size, NULL) : -ENOMEM;
	btf__free(btf);
	return fd;
}

static int load(struct gather *gather, struct gather_plan *plan, struct gather_code *code)
{
	uint32_t ids[2] = {0};
	size_t callback;
	int btf, err = gather__build(plan, code, &callback);

	if (err)
		return err;
	btf = load_btf(ids);
	if (btf < 0)
		return btf;
	struct bpf_func_info functions[] = {{0, ids[0]}, {(uint32_t)callback, ids[1]}};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_btf_fd = (uint32_t)btf, .func_info = functions,
		    .func_info_cnt = 2, .func_info_rec_size = sizeof(*functions),
		    .prog_flags = BPF_F_SLEEPABLE);

	gather->program = bpf_prog_load(BPF_PROG_TYPE_SYSCALL, "perilune_gather", "Dual BSD/GPL",
					code->insns, code->count, &opts);
	close(btf);
	return gather->program < 0 ? gather->program : 0;
}

int gather__open(const struct extract_map *map, const struct layout *layout,
		 const struct extract_filter *filters, size_t nfilters, struct gather **out,
		 struct error *error)
{
	struct gather_plan plan = {.map = map,
				   .layout = layout,
				   .filters = filters,
				   .nfilters = nfilters};
	const char *reason = refuse(map, layout, &plan);
	struct gather_code *code = NULL;
	struct gather *gather = NULL;
	int err = -ENOMEM;

	if (reason)
		return error__set(error, -EOPNOTSUPP, "%s", reason);
	gather = calloc(1, sizeof(*gather));
	code = malloc(sizeof(*code));
	if (!gather || !code)
		goto out;
	gather->out_fd = gather->program = -1;
	err = open_records(gather, &plan);
	if (err)
		goto out;
	plan.out_fd = gather->out_fd;
	err = load(gather, &plan, code);
out:
	free(code);
	if (err) {
		gather__free(gather);
		if (err == -ENOMEM)
			return error__set(error, err, "out of memory");
		return error__set(error, -EOPNOTSUPP, "the kernel does not gather this map: %s",
				  strerror(-err));
	}
	*out = gather;
	return 0;
}

void gather__free(struct gather *gather)
{
	if (!gather)
		return;
	if (gather->records)
		munmap(gather->records, gather->mapped);
	if (gather->out_fd >= 0)
		close(gather->out_fd);
	if (gather->program >= 0)
		close(gather->program);
	free(gather);
}

int gather__run(struct gather *gather, bool clear, const unsigned char **records, size_t *count)
{
	struct gather_context context = {.clear = clear};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &context, .ctx_size_in = sizeof(context));
	int err = bpf_prog_test_run_opts(gather->program, &opts);

	*records = gather->records;
	*count = err ? 0 : opts.retval;
	return err;
}
