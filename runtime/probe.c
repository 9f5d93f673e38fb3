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
#include "probe_load.h"

struct probe {
	struct bpf_object *object;
	struct ctl *ctl;
	struct attachment *attachments[PROBE_HOOKS];
	size_t attached;
	char name[64];
};

int probe__open(const void *object, size_t len, const char *name, struct probe **out,
		struct error *error)
{
	struct probe *probe = calloc(1, sizeof(*probe));
	int err;

	if (!probe)
		return error__set(error, -ENOMEM, "out of memory");
	snprintf(probe->name, sizeof(probe->name), "%s", name);
	err = probe_load__open(object, len, name, &probe->object, error);
	if (err) {
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
	int err = probe_load__load(probe->object, probe->name, error);

	return err ? err : map_ctl(probe, error);
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
