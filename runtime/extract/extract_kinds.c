/* SPDX-License-Identifier: Apache-2.0 */
#include "extract/extract_kinds.h"

#include <errno.h>
#include <linux/types.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#define SMALL 16
#define RING_BYTES 65536 /* whole pages, whatever their size here */

/* Keys of 4 bytes, or none; values of one number of 8. */
struct kind {
	const char *name;
	enum bpf_map_type type;
	__u32 flags, key_size;
};

static const struct kind kinds[] = {
	{"array, mapped", BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 4},
	{"array", BPF_MAP_TYPE_ARRAY, 0, 4},
	{"percpu_array", BPF_MAP_TYPE_PERCPU_ARRAY, 0, 4},
	{"hash", BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, 4},
	{"percpu_hash", BPF_MAP_TYPE_PERCPU_HASH, BPF_F_NO_PREALLOC, 4},
	{"lru_hash", BPF_MAP_TYPE_LRU_HASH, 0, 4},
	{"lru_percpu_hash", BPF_MAP_TYPE_LRU_PERCPU_HASH, 0, 4},
	{"lpm_trie", BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC, 8},
	{"queue", BPF_MAP_TYPE_QUEUE, 0, 0},
	{"stack", BPF_MAP_TYPE_STACK, 0, 0},
	{"ringbuf", BPF_MAP_TYPE_RINGBUF, 0, 0},
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))
_Static_assert(KINDS <= EXTRACT_KINDS_MAX, "room for all kinds");

static int number_layout(const struct kind *kind, struct layout **out)
{
	struct btf *btf = btf__new_empty();
	int id = btf ? btf__add_int(btf, "unsigned long long", 8, 0) : -ENOMEM;
	struct layout_spec spec = {.btf = btf,
				   .key_size = kind->key_size,
				   .value_type = (uint32_t)id,
				   .value_size = 8,
				   .index = kind->type == BPF_MAP_TYPE_ARRAY ||
					    kind->type == BPF_MAP_TYPE_PERCPU_ARRAY};
	int err = id < 0 ? id : layout__new(&spec, out, NULL);

	btf__free(btf);
	return err;
}

static int way_of(const struct kind *kind, __u32 entries, bool quiet, enum extract_way *out)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = kind->flags);
	const struct extract_options options = {.quiet = quiet};
	struct extract_map map = {.type = kind->type,
				  .flags = kind->flags,
				  .max_entries = entries,
				  .entries = entries};
	struct layout *layout = NULL;
	struct extract *extract;
	int err = number_layout(kind, &layout);

	if (err)
		return err;
	if (kind->type == BPF_MAP_TYPE_RINGBUF)
		map.fd = bpf_map_create(kind->type, "perilune_kind", 0, 0, RING_BYTES, &opts);
	else
		map.fd = bpf_map_create(kind->type, "perilune_kind", kind->key_size, 8, entries,
					&opts);
	err = map.fd < 0 ? map.fd : extract__open(&map, layout, &options, &extract, NULL);
	if (!err) {
		*out = extract__way(extract);
		extract__free(extract);
	}
	if (map.fd >= 0)
		close(map.fd);
	layout__free(layout);
	return err;
}

size_t extract_kinds__try(struct extract_kind out[EXTRACT_KINDS_MAX])
{
	for (size_t i = 0; i < KINDS; i++) {
		struct extract_kind *one = &out[i];

		*one = (struct extract_kind){.type = kinds[i].name};
		one->result = way_of(&kinds[i], SMALL, true, &one->quiet);
		if (kinds[i].type ==
		    BPF_MAP_TYPE_RINGBUF) { /* in use, it is for whoever reads it */
			one->used = one->large = one->quiet;
			continue;
		}
		if (!one->result)
			one->result = way_of(&kinds[i], SMALL, false, &one->used);
		if (!one->result)
			one->result = way_of(&kinds[i], EXTRACT_GATHER_MAX + 1, true, &one->large);
		/* A window takes everything; on a map in use BEST shows the head. */
		if (kinds[i].type == BPF_MAP_TYPE_QUEUE || kinds[i].type == BPF_MAP_TYPE_STACK)
			one->quiet = one->large = EXTRACT_POP;
	}
	return KINDS;
}
