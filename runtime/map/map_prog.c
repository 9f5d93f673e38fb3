/* SPDX-License-Identifier: Apache-2.0 */
#include "map/map_prog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "map/map.h"

/* The ids of the maps that the program of this descriptor uses. */
static int read_maps(int fd, struct map_prog *prog, __u32 count)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	int err;

	if (!count)
		return 0;
	prog->maps = calloc(count, sizeof(*prog->maps));
	if (!prog->maps)
		return -ENOMEM;
	info.nr_map_ids = count;
	info.map_ids = (uintptr_t)prog->maps;
	err = bpf_prog_get_info_by_fd(fd, &info, &len);
	prog->nmaps = err ? 0 : info.nr_map_ids < count ? info.nr_map_ids : count;
	return err;
}

static int read_prog(uint32_t id, struct map_prog *prog)
{
	int fd = bpf_prog_get_fd_by_id(id), err;
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);

	if (fd < 0)
		return fd;
	err = bpf_prog_get_info_by_fd(fd, &info, &len);
	if (!err) {
		*prog = (struct map_prog){.id = id, .btf = info.btf_id};
		memcpy(prog->name, info.name, sizeof(prog->name));
		prog->name[sizeof(prog->name) - 1] = '\0';
		err = read_maps(fd, prog, info.nr_map_ids);
	}
	close(fd);
	return err;
}

static int grow(struct map_progs *progs)
{
	struct map_prog *all;

	if (progs->count & (progs->count - 1)) /* full at each power of two */
		return 0;
	all = reallocarray(progs->all, progs->count ? 2 * progs->count : 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	progs->all = all;
	return 0;
}

int map_progs__read(struct map_progs *out, struct error *error)
{
	uint32_t id = 0;
	int err;

	*out = (struct map_progs){0};
	while (!(err = bpf_prog_get_next_id(id, &id))) {
		err = grow(out);
		if (err)
			break;
		out->all[out->count] = (struct map_prog){0};
		err = read_prog(id, &out->all[out->count]);
		if (!err)
			out->count++;
		else
			free(out->all[out->count].maps);
		if (err && err != -ENOENT)
			break;
	}
	if (err == -ENOENT)
		return 0;
	map_progs__free(out);
	return map__explain(error, err, "cannot list the programs");
}

void map_progs__free(struct map_progs *progs)
{
	for (size_t i = 0; i < progs->count; i++)
		free(progs->all[i].maps);
	free(progs->all);
	*progs = (struct map_progs){0};
}

bool map_prog__uses(const struct map_prog *prog, uint32_t map)
{
	for (size_t i = 0; i < prog->nmaps; i++)
		if (prog->maps[i] == map)
			return true;
	return false;
}
