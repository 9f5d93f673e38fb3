/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/pins.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/file.h"

#define BPFFS "/sys/fs/bpf"
#define ROOT BPFFS "/perilune"
#define SETS "sets"
#define KEPT "kept"
#define NAME_SIZE 64
#define KEY_MAX 64 /* bytes */

struct pins {
	int dir; /* the policy's directory, locked */
	char name[NAME_SIZE];
};

void pins__flat_name(const char *name, char *out, size_t size)
{
	snprintf(out, size, "%s", name);
	for (char *p = out; *p; p++)
		if (*p == '.' || *p == '/')
			*p = '_';
}

int pins__no_place(const char *root, struct error *error)
{
	int err = error__set(error, -EOPNOTSUPP, "there is no BPF file system at %s", root);

	return error__hint(error, err, "mount -t bpf -o mode=0700 bpf " BPFFS);
}

/* Removes a locked directory of a policy, but not what is kept in it. */
static void clear_policy(int dir, const char *name)
{
	char path[PINS_PATH];

	file__empty(dir, SETS);
	unlinkat(dir, SETS, AT_REMOVEDIR);
	unlinkat(dir, KEPT, AT_REMOVEDIR); /* these fail where something is kept */
	snprintf(path, sizeof(path), ROOT "/%s", name);
	rmdir(path);
	rmdir(ROOT);
}

/* Locks the directory of a policy, made if asked to. -EBUSY: another process has it. */
static int lock_policy(const char *name, bool create, int *out)
{
	char path[PINS_PATH];

	snprintf(path, sizeof(path), ROOT "/%s", name);
	for (;;) {
		int err = create ? file__make_own_dir(ROOT) : 0;

		if (create && !err)
			err = file__make_own_dir(path);
		if (!err)
			err = file__lock_dir(path, out);
		if (err != -ESTALE && !(create && err == -ENOENT))
			return err; /* else somebody has just swept it */
	}
}

/* What processes that were killed have left. */
static void sweep(void)
{
	DIR *list = opendir(ROOT);
	const struct dirent *entry;
	int dir = -1;

	if (!list)
		return;
	while ((entry = readdir(list))) {
		if (entry->d_name[0] == '.' || lock_policy(entry->d_name, false, &dir))
			continue;
		clear_policy(dir, entry->d_name);
		close(dir);
	}
	closedir(list);
}

int pins__open(const char *policy, struct pins **out, struct error *error)
{
	struct pins *pins;
	struct statfs fs;
	int err;

	if (statfs(BPFFS, &fs) || fs.f_type != BPF_FS_MAGIC)
		return pins__no_place(BPFFS, error);
	pins = calloc(1, sizeof(*pins));
	if (!pins)
		return error__set(error, -ENOMEM, "out of memory");
	pins__flat_name(policy, pins->name, sizeof(pins->name));
	sweep();
	err = lock_policy(pins->name, true, &pins->dir);
	if (!err) {
		*out = pins;
		return 0;
	}
	if (err == -EBUSY) {
		error__set(error, err, "another policy with the name %s runs, and exports sets",
			   policy);
		error__hint(error, err, "give this one another: perilune run NAME=FILE");
	} else {
		error__set(error, err, ROOT "/%s cannot be made: %s", pins->name, strerror(-err));
	}
	free(pins);
	return err;
}

static void path_of(const struct pins *pins, const char *name, bool keep, char path[PINS_PATH])
{
	char flat[NAME_SIZE];

	pins__flat_name(name, flat, sizeof(flat));
	snprintf(path, PINS_PATH, ROOT "/%s/%s/%s", pins->name, keep ? KEPT : SETS, flat);
}

/* Whether a map that is there can take the place of one that is declared. */
static bool same(int fd, const struct bpf_map *map)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);

	return !bpf_map_get_info_by_fd(fd, &info, &len) && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map);
}

int pins__reuse(struct pins *pins, struct probe *probe, const char *name, const char *as, bool keep,
		struct error *error)
{
	struct bpf_map *map = bpf_object__find_map_by_name(probe__object(probe), name);
	char path[PINS_PATH];
	int fd, err = 0;

	if (!map)
		return error__set(error, -ENOENT, "there is no map %s", name);
	path_of(pins, as, keep, path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0
				       : error__set(error, -errno, "%s cannot be opened: %s", path,
						    strerror(errno));
	if (!same(fd, map)) {
		err = error__set(error, -EEXIST, "%s is a map of another kind or size", path);
		error__hint(error, err, "remove it, or export under another name");
	} else if (bpf_map__reuse_fd(map, fd)) {
		err = error__set(error, -errno, "%s cannot be used again: %s", path,
				 strerror(errno));
	}
	close(fd);
	return err;
}

/* Deletes all there is. The next key is asked for before its predecessor is deleted. */
static void clear_map(int fd)
{
	char key[2][KEY_MAX];
	int at = 0, err = bpf_map_get_next_key(fd, NULL, key[0]);

	while (!err) {
		err = bpf_map_get_next_key(fd, key[at], key[!at]);
		bpf_map_delete_elem(fd, key[at]);
		at = !at;
	}
}

int pins__add(struct pins *pins, struct probe *probe, const char *name, const char *as, bool keep,
	      char path[PINS_PATH], struct error *error)
{
	struct bpf_map *map = bpf_object__find_map_by_name(probe__object(probe), name);

	if (!map || bpf_map__key_size(map) > KEY_MAX)
		return error__set(error, -ENOENT, "there is no map %s", name);
	if (mkdirat(pins->dir, keep ? KEPT : SETS, 0700) && errno != EEXIST)
		return error__set(error, -errno, "a set cannot be pinned: %s", strerror(errno));
	path_of(pins, as, keep, path);
	if (!keep)
		unlink(path); /* of an attempt before this one: the directory is ours */
	if (bpf_obj_pin(bpf_map__fd(map), path)) {
		if (!keep || errno != EEXIST)
			return error__set(error, -errno, "%s cannot be pinned: %s", path,
					  strerror(errno));
		clear_map(bpf_map__fd(map));
	}
	return 0;
}

void pins__remove(struct pins *pins, const char *name)
{
	char path[PINS_PATH];

	path_of(pins, name, false, path);
	unlink(path);
}

void pins__close(struct pins *pins)
{
	if (!pins)
		return;
	clear_policy(pins->dir, pins->name);
	close(pins->dir);
	free(pins);
}
