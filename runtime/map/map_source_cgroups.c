/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cgroup storage: the kernel looks a value up by a descriptor of its cgroup's directory, so every directory of every cgroup file
 * system is asked for.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "map/map_owner.h"
#include "map/map_source_impl.h"

#define MOUNTS_MAX 64

struct cgroups {
	FTS *tree;
	char *roots[MOUNTS_MAX + 1]; /* NULL-terminated */
	struct stat stats[MOUNTS_MAX];
	size_t count;
};

/* A hierarchy may be mounted in several places, or a part of it: the one that shows most of it is taken. */
static int add_mount(struct cgroups *cgroups, const char *dir)
{
	struct stat st;
	size_t at = 0;
	char *copy;

	if (stat(dir, &st))
		return 0;
	while (at < cgroups->count && cgroups->stats[at].st_dev != st.st_dev)
		at++;
	if (at < cgroups->count && cgroups->stats[at].st_ino <= st.st_ino)
		return 0;
	copy = strdup(dir);
	if (!copy)
		return -ENOMEM;
	free(cgroups->roots[at]);
	cgroups->roots[at] = copy;
	cgroups->stats[at] = st;
	cgroups->count += at == cgroups->count;
	return 0;
}

/* Where cgroups are mounted, of either version. */
static int read_mounts(struct cgroups *cgroups)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	char text[2 * PATH_MAX];
	struct mntent entry;
	int err = 0;

	if (!mounts)
		return -errno;
	while (!err && cgroups->count < MOUNTS_MAX &&
	       getmntent_r(mounts, &entry, text, sizeof(text))) {
		if (strcmp(entry.mnt_type, "cgroup2") && strcmp(entry.mnt_type, "cgroup"))
			continue;
		err = add_mount(cgroups, entry.mnt_dir);
	}
	endmntent(mounts);
	return err;
}

static int cgroups_open(struct map_source *source, struct error *error)
{
	struct cgroups *cgroups = calloc(1, sizeof(*cgroups));
	int err;

	if (!cgroups)
		return error__set(error, -ENOMEM, "out of memory");
	source->state = cgroups;
	err = read_mounts(cgroups);
	if (err)
		return error__set(error, err, "cannot find the cgroups: %s", strerror(-err));
	if (!cgroups->count) {
		error__set(
			error, -EOPNOTSUPP,
			"no cgroup file system is mounted, so the cgroups that have values cannot be found");
		return error__hint(error, -EOPNOTSUPP, "mount -t cgroup2 none /sys/fs/cgroup");
	}
	cgroups->tree = fts_open(cgroups->roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	return cgroups->tree
		       ? 0
		       : error__set(error, -errno, "cannot list the cgroups: %s", strerror(errno));
}

/* -ENOENT: it has no value, or is gone. */
static int look_up(struct map_source *source, const char *path, struct map_cgroup *cgroup)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == ENODEV ? -ENOENT : -errno;
	err = bpf_map_lookup_elem(source->map->fd, &fd, source->value);
	if (!err && fstat(fd, &st))
		err = -errno;
	close(fd);
	if (err == -EBADF ||
	    err == -EINVAL) /* of the first version, on a kernel that gives only the second's */
		return -ENOENT;
	if (!err) {
		memset(cgroup, 0, sizeof(*cgroup));
		cgroup->id = st.st_ino;
		snprintf(cgroup->path, sizeof(cgroup->path), "%s", path);
	}
	return err;
}

static int cgroups_next(struct map_source *source, struct batch *batch, struct error *error)
{
	struct cgroups *cgroups = source->state;
	uint32_t most = map_source__chunk(source);
	struct map_cgroup cgroup;
	FTSENT *entry;

	while (batch->count < most) {
		int err;

		entry = fts_read(cgroups->tree);
		if (!entry)
			return 0;
		if (entry->fts_info != FTS_D)
			continue;
		err = look_up(source, entry->fts_path, &cgroup);
		if (err == -ENOENT)
			continue;
		if (!err)
			err = map_source__append(source, &cgroup, batch);
		if (err)
			return map__explain(error, err, "cannot read the cgroups' values");
	}
	return 1;
}

static void cgroups_close(struct map_source *source)
{
	struct cgroups *cgroups = source->state;

	if (!cgroups)
		return;
	if (cgroups->tree)
		fts_close(cgroups->tree);
	for (size_t i = 0; i < cgroups->count; i++)
		free(cgroups->roots[i]);
	free(cgroups);
	source->state = NULL;
}

const struct map_source_ops map_source_cgroups = {cgroups_open, cgroups_next, cgroups_close};
