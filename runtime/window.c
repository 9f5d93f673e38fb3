/* SPDX-License-Identifier: Apache-2.0 */
#include "window.h"

#include <errno.h>
#include <linux/types.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "../bpf/ctl.h"

struct windowed_map {
	struct layout *layout;
	enum window_kind kind;
	struct extract_map half[2];
	struct extract *extract[2];
};

struct window {
	struct ctl *ctl;
	struct windowed_map maps[WINDOW_MAPS_MAX];
	size_t count;
	bool quiet; /* a half waits to be drained */
	int grace_outer;
	int grace_inner;
};

/* A private array-of-maps with one slot: the kernel answers an update only when all running programs have ended. */
static int grace__open(struct window *window, struct error *error)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);

	window->grace_inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "perilune_grace", 4, 4, 1, NULL);
	if (window->grace_inner < 0)
		return error__set(error, window->grace_inner, "cannot create a map: %s",
				  strerror(-window->grace_inner));
	opts.inner_map_fd = (__u32)window->grace_inner;
	window->grace_outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "perilune_grace", 4, 4, 1,
					     &opts);
	if (window->grace_outer < 0)
		return error__set(error, window->grace_outer, "cannot create an array of maps: %s",
				  strerror(-window->grace_outer));
	return 0;
}

static int half_fd(struct bpf_object *object, const char *name, int half, struct extract_map *out)
{
	char full[128];
	struct bpf_map *map;

	snprintf(full, sizeof(full), "%s_%d", name, half);
	map = bpf_object__find_map_by_name(object, full);
	if (!map)
		return -ENOENT;
	*out = (struct extract_map){.fd = bpf_map__fd(map),
				    .type = bpf_map__type(map),
				    .flags = bpf_map__map_flags(map),
				    .max_entries = bpf_map__max_entries(map)};
	return 0;
}

static int add_hash(struct windowed_map *map, struct bpf_object *object,
		    const struct window_spec *spec, struct error *error)
{
	struct bpf_map *half;
	char full[128];

	for (int i = 0; i < 2; i++)
		if (half_fd(object, spec->map, i, &map->half[i]))
			return error__set(error, -ENOENT, "there is no windowed hash %s",
					  spec->map);
	snprintf(full, sizeof(full), "%s_0", spec->map);
	half = bpf_object__find_map_by_name(object, full);
	return layout__new(&(struct layout_spec){.btf = bpf_object__btf(object),
						 .key_type = bpf_map__btf_key_type_id(half),
						 .key_size = bpf_map__key_size(half),
						 .value_type = bpf_map__btf_value_type_id(half),
						 .value_size = bpf_map__value_size(half)},
			   &map->layout, error);
}

static int add_array(struct windowed_map *map, struct bpf_object *object,
		     const struct window_spec *spec, struct error *error)
{
	struct bpf_map *array = bpf_object__find_map_by_name(object, spec->map);
	const struct btf *btf = bpf_object__btf(object);
	int index = 0;

	if (!array || bpf_map__max_entries(array) < 2 * spec->entries)
		return error__set(error, -ENOENT, "there is no windowed array %s of %u entries",
				  spec->map, spec->entries);
	if (spec->index) {
		index = btf__find_by_name_kind(btf, spec->index, BTF_KIND_ENUM);
		if (index < 0)
			return error__set(error, index, "windowed array %s: there is no enum %s",
					  spec->map, spec->index);
	}
	for (uint32_t i = 0; i < 2; i++)
		map->half[i] = (struct extract_map){.fd = bpf_map__fd(array),
						    .type = bpf_map__type(array),
						    .flags = bpf_map__map_flags(array),
						    .max_entries = bpf_map__max_entries(array),
						    .first = i * spec->entries,
						    .entries = spec->entries};
	return layout__new(&(struct layout_spec){.btf = btf,
						 .key_type = (uint32_t)index,
						 .key_size = bpf_map__key_size(array),
						 .value_type = bpf_map__btf_value_type_id(array),
						 .value_size = bpf_map__value_size(array),
						 .index = true},
			   &map->layout, error);
}

int window__new(struct probe *probe, const struct window_spec *specs, size_t count,
		struct window **out, struct error *error)
{
	struct bpf_object *object = probe__object(probe);
	struct window *window;
	int err;

	if (count > WINDOW_MAPS_MAX)
		return error__set(error, -E2BIG, "%zu windowed maps are more than %d", count,
				  WINDOW_MAPS_MAX);
	window = calloc(1, sizeof(*window));
	if (!window)
		return error__set(error, -ENOMEM, "out of memory");
	window->ctl = probe__ctl(probe);
	window->grace_inner = window->grace_outer = -1;
	err = grace__open(window, error);
	for (size_t i = 0; !err && i < count; i++) {
		struct windowed_map *map = &window->maps[window->count++];

		map->kind = specs[i].kind;
		err = map->kind == WINDOW_HASH ? add_hash(map, object, &specs[i], error)
					       : add_array(map, object, &specs[i], error);
		for (int half = 0; !err && half < 2; half++)
			err = extract__open(&map->half[half], map->layout,
					    &(struct extract_options){.quiet = true},
					    &map->extract[half], error);
	}
	if (err) {
		window__free(window);
		return err;
	}
	*out = window;
	return 0;
}

void window__free(struct window *window)
{
	if (!window)
		return;
	for (size_t i = 0; i < window->count; i++) {
		for (int half = 0; half < 2; half++)
			extract__free(window->maps[i].extract[half]);
		layout__free(window->maps[i].layout);
	}
	if (window->grace_outer >= 0)
		close(window->grace_outer);
	if (window->grace_inner >= 0)
		close(window->grace_inner);
	free(window);
}

size_t window__count(const struct window *window)
{
	return window->count;
}

const struct layout *window__layout(const struct window *window, size_t map)
{
	return window->maps[map].layout;
}

static void store_state(struct window *window, union ctl_state state)
{
	__atomic_store_n(&window->ctl->state.both, state.both, __ATOMIC_SEQ_CST);
}

static union ctl_state load_state(struct window *window)
{
	return (union ctl_state){
		.both = __atomic_load_n(&window->ctl->state.both, __ATOMIC_SEQ_CST)};
}

int window__flip(struct window *window, uint32_t level)
{
	union ctl_state state = load_state(window);

	if (window->quiet)
		return -EBUSY;
	window->quiet = true;
	state.epoch++;
	state.level = level;
	store_state(window, state);
	return 0;
}

/* Builds for tests can leave the grace period out, to show what it is for. */
static bool grace_left_out(void)
{
#ifdef PERILUNE_FAULTS
	return getenv("PERILUNE_FAULT_NO_GRACE") != NULL;
#else
	return false;
#endif
}

int window__grace(struct window *window, double *seconds, struct error *error)
{
	__u32 slot = 0, inner = (__u32)window->grace_inner;
	struct timespec start, end;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	if (!grace_left_out())
		err = bpf_map_update_elem(window->grace_outer, &slot, &inner, BPF_ANY);
	clock_gettime(CLOCK_MONOTONIC, &end);
	*seconds = (double)(end.tv_sec - start.tv_sec) +
		   (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	return err ? error__set(error, err, "the grace period failed: %s", strerror(-err)) : 0;
}

int window__drain(struct window *window, uint64_t maps, bool sorted, struct batch *batches,
		  struct error *error)
{
	uint32_t half = (load_state(window).epoch & 1) ^ 1;
	int err = 0;

	for (size_t i = 0; i < window->count; i++) {
		const struct windowed_map *map = &window->maps[i];
		int one;

		if (!(maps & (1ULL << i)))
			continue;
		one = extract__read(map->extract[half], true, &batches[i]);
		if (one && !err)
			err = error__set(error, one, "reading a window's records failed: %s",
					 strerror(-one));
		if (!one && sorted)
			batch__sort(&batches[i]);
	}
	window->quiet = false;
	return err;
}
