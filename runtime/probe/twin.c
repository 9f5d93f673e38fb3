/* SPDX-License-Identifier: Apache-2.0 */
/* The first instance, and its links. The second is made in twin_pair.c, they change places in twin_swap.c. */
#include "probe/twin_impl.h"

#include <errno.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "probe/probe_load.h"

int twin__copy_name(char *into, const char *name, struct error *error)
{
	if (strlen(name) >= TWIN_NAME)
		return error__set(error, -ENAMETOOLONG, "the name %s is too long", name);
	strcpy(into, name);
	return 0;
}

int twin__open(const void *object, size_t len, const char *name, struct twin **out,
	       struct error *error)
{
	struct twin *twin = calloc(1, sizeof(*twin));
	int err = -ENOMEM;

	if (!twin)
		return error__set(error, err, "out of memory");
	twin->grace = (struct grace)GRACE_CLOSED;
	snprintf(twin->name, sizeof(twin->name), "%s", name);
	twin->len = len;
	twin->bytes = malloc(len ? len : 1);
	if (twin->bytes)
		err = probe_load__open(memcpy(twin->bytes, object, len), len, name,
				       &twin->objects[0], error);
	else
		error__set(error, err, "out of memory");
	if (err) {
		twin__free(twin);
		return err;
	}
	*out = twin;
	return 0;
}

static int not_loaded(const struct twin *twin, struct error *error)
{
	return twin->loaded ? error__set(error, -EALREADY, "%s is loaded already", twin->name) : 0;
}

int twin__set_entries(struct twin *twin, const char *map, uint32_t entries, struct error *error)
{
	struct bpf_map *found = bpf_object__find_map_by_name(twin->objects[0], map);
	struct twin_entries *one = &twin->entries[twin->nentries];
	int err = not_loaded(twin, error);

	if (err)
		return err;
	if (!found)
		return error__set(error, -ENOENT, "%s: there is no map %s", twin->name, map);
	if (twin->nentries == TWIN_MAPS_MAX || bpf_map__set_max_entries(found, entries))
		return error__set(error, -EINVAL, "map %s: cannot have %u entries", map, entries);
	err = twin__copy_name(one->map, map, error);
	if (!err) {
		one->entries = entries;
		twin->nentries++;
	}
	return err;
}

static struct bpf_program *program_of(const struct twin *twin, const char *name,
				      struct error *error)
{
	struct bpf_program *program = bpf_object__find_program_by_name(twin->objects[0], name);

	if (!program)
		error__set(error, -ENOENT, "%s: there is no program %s", twin->name, name);
	return program;
}

static enum bpf_prog_type type_for(enum hook hook)
{
	return hook == HOOK_XDP ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS;
}

int twin__use(struct twin *twin, const char *program, enum hook hook, struct error *error)
{
	const struct bpf_program *found = program_of(twin, program, error);
	struct twin_use *use = &twin->uses[twin->nuses];
	int err = found ? not_loaded(twin, error) : -ENOENT;
	enum bpf_prog_type type;

	if (err)
		return err;
	type = bpf_program__type(found);
	if (type != BPF_PROG_TYPE_UNSPEC && type != type_for(hook))
		return error__set(error, -EINVAL, "%s: the program %s (section %s) is not for %s",
				  twin->name, program, bpf_program__section_name(found),
				  hook__name(hook));
	if (twin->nuses == sizeof(twin->uses) / sizeof(*twin->uses))
		return error__set(error, -E2BIG, "%s: too many programs", twin->name);
	err = twin__copy_name(use->program, program, error);
	if (!err) {
		use->hook = hook;
		twin->nuses++;
	}
	return err;
}

int twin__set_tail(struct twin *twin, const char *map, uint32_t index, const char *program,
		   struct error *error)
{
	struct bpf_map *array = bpf_object__find_map_by_name(twin->objects[0], map);
	struct twin_tail *tail = &twin->tails[twin->ntails];
	int err = program_of(twin, program, error) ? not_loaded(twin, error) : -ENOENT;

	if (err)
		return err;
	if (!array || bpf_map__type(array) != BPF_MAP_TYPE_PROG_ARRAY)
		return error__set(error, -ENOENT, "%s: there is no array of programs %s",
				  twin->name, map);
	if (twin->ntails == TWIN_TAILS_MAX)
		return error__set(error, -E2BIG, "%s: too many tail calls", twin->name);
	err = twin__copy_name(tail->map, map, error);
	if (!err)
		err = twin__copy_name(tail->program, program, error);
	if (!err) {
		tail->index = index;
		twin->ntails++;
	}
	return err;
}

int twin__prepare(struct twin *twin, struct bpf_object *object, struct error *error)
{
	struct bpf_program *program;

	for (size_t i = 0; i < twin->nentries; i++)
		bpf_map__set_max_entries(bpf_object__find_map_by_name(object, twin->entries[i].map),
					 twin->entries[i].entries);
	for (size_t i = 0; i < twin->nuses; i++) {
		enum hook hook = twin->uses[i].hook;

		program = bpf_object__find_program_by_name(object, twin->uses[i].program);
		if (bpf_program__type(program) != BPF_PROG_TYPE_UNSPEC)
			continue;
		if (bpf_program__set_type(program, type_for(hook)) ||
		    (hook == HOOK_XDP && bpf_program__set_expected_attach_type(program, BPF_XDP)))
			return error__set(error, -EINVAL, "%s: the program %s cannot be for %s",
					  twin->name, twin->uses[i].program, hook__name(hook));
	}
	bpf_object__for_each_program(program, object) {
		if (bpf_program__type(program) == BPF_PROG_TYPE_UNSPEC)
			bpf_program__set_autoload(program, false);
	}
	return twin__use_shares(twin, object, error);
}

int twin__fill_tails(struct twin *twin, struct bpf_object *object, struct error *error)
{
	for (size_t i = 0; i < twin->ntails; i++) {
		const struct twin_tail *tail = &twin->tails[i];
		const struct bpf_map *map = bpf_object__find_map_by_name(object, tail->map);
		const struct bpf_program *program = bpf_object__find_program_by_name(object,
										     tail->program);
		int fd = bpf_program__fd(program);
		int err = bpf_map_update_elem(bpf_map__fd(map), &tail->index, &fd, BPF_ANY);

		if (err)
			return error__set(error, err, "%s: %s cannot be in slot %u of %s: %s",
					  twin->name, tail->program, tail->index, tail->map,
					  strerror(-err));
	}
	return 0;
}

int twin__load(struct twin *twin, struct error *error)
{
	int err = not_loaded(twin, error);

	if (err)
		return err;
	err = twin__prepare(twin, twin->objects[0], error);
	if (!err)
		err = probe_load__load(twin->objects[0], twin->name, error);
	if (!err)
		err = twin__fill_tails(twin, twin->objects[0], error);
	twin->loaded = !err;
	return err;
}

int twin__attach(struct twin *twin, const char *program, enum hook hook, int ifindex,
		 enum attach_mode mode, const char **mode_name, struct error *error)
{
	struct twin_link *link = &twin->links[twin->nlinks];
	const struct bpf_program *found;
	int err;

	if (!twin->loaded)
		return error__set(error, -EINVAL, "%s is not loaded", twin->name);
	if (twin->nlinks == TWIN_LINKS_MAX)
		return error__set(error, -ENOSPC, "%s: attached %d times already", twin->name,
				  TWIN_LINKS_MAX);
	found = bpf_object__find_program_by_name(twin->objects[twin->force], program);
	if (!found || bpf_program__fd(found) < 0)
		return error__set(error, -ENOENT, "%s: there is no program %s%s", twin->name,
				  program, found ? " that was loaded" : "");
	if (bpf_program__type(found) != type_for(hook))
		return error__set(error, -EINVAL, "%s: the program %s (section %s) is not for %s",
				  twin->name, program, bpf_program__section_name(found),
				  hook__name(hook));
	err = twin__copy_name(link->program, program, error);
	if (err)
		return err;
	if (!twin->nlinks)
		attach__sweep(); /* what a process of ours that was killed could not remove */
	err = attach__attach(hook, ifindex, mode, bpf_program__fd(found), &link->attachment, error);
	if (err)
		return err;
	link->gone = false;
	twin->nlinks++;
	*mode_name = link->attachment->ops->name;
	return 0;
}

int twin__detach(struct twin *twin)
{
	int count = (int)twin->nlinks, err = 0;

	while (twin->nlinks) {
		int one = attach__detach(twin->links[--twin->nlinks].attachment);

		if (one && !err)
			err = one;
	}
	return err ? err : count;
}

void twin__unload(struct twin *twin)
{
	if (!twin)
		return;
	twin__detach(twin);
	for (size_t i = 0; i < twin->nmaps; i++)
		twin_map__unload(&twin->maps[i]);
	for (size_t i = 0; i < twin->nothers; i++)
		twin_map__unload(&twin->others[i]);
	twin__free_shares(twin);
	grace__close(&twin->grace);
	for (int side = 1; side >= 0; side--) {
		bpf_object__close(twin->objects[side]);
		twin->objects[side] = NULL;
	}
	twin->loaded = false;
}

void twin__free(struct twin *twin)
{
	if (!twin)
		return;
	twin__unload(twin);
	for (size_t i = 0; i < twin->nmaps; i++)
		twin_map__free(&twin->maps[i]);
	for (size_t i = 0; i < twin->nothers; i++)
		twin_map__free(&twin->others[i]);
	free(twin->bytes);
	free(twin);
}
