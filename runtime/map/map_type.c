/* SPDX-License-Identifier: Apache-2.0 */
#include "map/map_type.h"

#include <stdio.h>

#include <linux/bpf.h>

static const struct map_type table[] = {
	{.number = BPF_MAP_TYPE_HASH, .name = "hash", .way = MAP_ENTRIES},
	{.number = BPF_MAP_TYPE_ARRAY, .name = "array", .way = MAP_ENTRIES, .array = true},
	{.number = BPF_MAP_TYPE_PROG_ARRAY, .name = "prog_array", .way = MAP_IDS},
	{.number = BPF_MAP_TYPE_PERF_EVENT_ARRAY, .name = "perf_event_array", .way = MAP_EVENTS},
	{.number = BPF_MAP_TYPE_PERCPU_HASH,
	 .name = "percpu_hash",
	 .way = MAP_ENTRIES,
	 .per_cpu = true},
	{.number = BPF_MAP_TYPE_PERCPU_ARRAY,
	 .name = "percpu_array",
	 .way = MAP_ENTRIES,
	 .per_cpu = true,
	 .array = true},
	{.number = BPF_MAP_TYPE_STACK_TRACE, .name = "stack_trace", .way = MAP_STACKS},
	{.number = BPF_MAP_TYPE_CGROUP_ARRAY,
	 .name = "cgroup_array",
	 .way = MAP_UNREADABLE,
	 .why = "holds references to cgroups, and the kernel does not say which",
	 .remedy = "ask the program that filled it"},
	{.number = BPF_MAP_TYPE_LRU_HASH, .name = "lru_hash", .way = MAP_ENTRIES},
	{.number = BPF_MAP_TYPE_LRU_PERCPU_HASH,
	 .name = "lru_percpu_hash",
	 .way = MAP_ENTRIES,
	 .per_cpu = true},
	{.number = BPF_MAP_TYPE_LPM_TRIE, .name = "lpm_trie", .way = MAP_ENTRIES},
	{.number = BPF_MAP_TYPE_ARRAY_OF_MAPS, .name = "array_of_maps", .way = MAP_INNER},
	{.number = BPF_MAP_TYPE_HASH_OF_MAPS, .name = "hash_of_maps", .way = MAP_INNER},
	{.number = BPF_MAP_TYPE_DEVMAP, .name = "devmap", .way = MAP_IDS},
	{.number = BPF_MAP_TYPE_SOCKMAP, .name = "sockmap", .way = MAP_IDS},
	{.number = BPF_MAP_TYPE_CPUMAP, .name = "cpumap", .way = MAP_IDS},
	{.number = BPF_MAP_TYPE_XSKMAP,
	 .name = "xskmap",
	 .way = MAP_UNREADABLE,
	 .why = "holds references to AF_XDP sockets, and the kernel does not say which",
	 .remedy = "`ss --xdp` lists the AF_XDP sockets of this network namespace"},
	{.number = BPF_MAP_TYPE_SOCKHASH, .name = "sockhash", .way = MAP_IDS},
	{.number = BPF_MAP_TYPE_CGROUP_STORAGE, .name = "cgroup_storage", .way = MAP_ENTRIES},
	{.number = BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, .name = "reuseport_sockarray", .way = MAP_IDS},
	{.number = BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
	 .name = "percpu_cgroup_storage",
	 .way = MAP_ENTRIES,
	 .per_cpu = true},
	{.number = BPF_MAP_TYPE_QUEUE, .name = "queue", .way = MAP_POP},
	{.number = BPF_MAP_TYPE_STACK, .name = "stack", .way = MAP_POP},
	{.number = BPF_MAP_TYPE_SK_STORAGE, .name = "sk_storage", .way = MAP_SOCKETS},
	{.number = BPF_MAP_TYPE_DEVMAP_HASH, .name = "devmap_hash", .way = MAP_IDS},
	{.number = BPF_MAP_TYPE_STRUCT_OPS, .name = "struct_ops", .way = MAP_ENTRIES},
	{.number = BPF_MAP_TYPE_RINGBUF, .name = "ringbuf", .way = MAP_RING},
	{.number = BPF_MAP_TYPE_INODE_STORAGE,
	 .name = "inode_storage",
	 .way = MAP_UNREADABLE,
	 .why = "holds values of inodes, and the kernel has no way to go through the inodes that have one",
	 .remedy = "let a program of yours copy what you need into a hash"},
	{.number = BPF_MAP_TYPE_TASK_STORAGE, .name = "task_storage", .way = MAP_TASKS},
	{.number = BPF_MAP_TYPE_BLOOM_FILTER,
	 .name = "bloom_filter",
	 .way = MAP_DESCRIBED,
	 .why = "does not keep the values that were added, only bits by which to tell that one was not",
	 .remedy = "a hash keeps the values themselves"},
	{.number = BPF_MAP_TYPE_USER_RINGBUF, .name = "user_ringbuf", .way = MAP_RING},
	{.number = BPF_MAP_TYPE_CGRP_STORAGE, .name = "cgrp_storage", .way = MAP_CGROUPS},
	{.number = MAP_TYPE_ARENA,
	 .name = "arena",
	 .way = MAP_UNREADABLE,
	 .why = "is memory without entries, and looking at a page of it from outside would allocate that page",
	 .remedy = "ask the program that maps it"},
	{.number = MAP_TYPE_INSN_ARRAY, .name = "insn_array", .way = MAP_ENTRIES, .array = true},
};

static const char *const flags[] = {
	"no_prealloc",	  "no_common_lru",  "numa_node",     "rdonly",	     "wronly",
	"stack_build_id", "zero_seed",	    "rdonly_prog",   "wronly_prog",  "clone",
	"mmapable",	  "preserve_elems", "inner_map",     "link",	     "path_fd",
	"vtype_obj_fd",	  "token_fd",	    "segv_on_fault", "no_user_conv", "rb_overwrite",
};

const struct map_type *map_type__find(uint32_t number)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (table[i].number == number)
			return &table[i];
	return NULL;
}

const char *map_type__name(uint32_t number, char *room)
{
	const struct map_type *type = map_type__find(number);

	if (type)
		return type->name;
	snprintf(room, 16, "type %u", number);
	return room;
}

const char *map_type__flag(unsigned bit)
{
	return bit < sizeof(flags) / sizeof(*flags) ? flags[bit] : NULL;
}
