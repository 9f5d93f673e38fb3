/* SPDX-License-Identifier: Apache-2.0 */
#include "map/map.h"

#include <errno.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>

int map__explain(struct error *error, int code, const char *what)
{
	switch (code) {
	case -EPERM:
	case -EACCES:
		error__set(error, code, "%s: not permitted", what);
		return error__hint(error, code, "run as root or with CAP_SYS_ADMIN and CAP_BPF");
	case -ENOENT:
		error__set(error, code, "%s: there is none", what);
		return error__hint(error, code, "perilune map list shows those that there are");
	case -ENOSYS:
		error__set(error, code, "%s: this kernel has no BPF system call", what);
		return error__hint(error, code, "use a kernel with CONFIG_BPF_SYSCALL=y");
	case -EMFILE:
	case -ENFILE:
		error__set(error, code, "%s: too many open files", what);
		return error__hint(error, code, "raise the limit (ulimit -n)");
	default:
		return error__set(error, code, "%s: %s", what, strerror(-code));
	}
}

bool map__has_name(const char *kernel_name, const char *name)
{
	return !strncmp(kernel_name, name, MAP_NAME_MAX - 1) &&
	       (strlen(kernel_name) == MAP_NAME_MAX - 1 || !strcmp(kernel_name, name));
}

/* What kind of BPF object a descriptor is: "map", "prog", "link"; an empty text when none. */
static void kind_of(int fd, char *out, size_t size)
{
	static const char prefix[] = "anon_inode:bpf";
	char path[64], target[64];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target) - 1);
	*out = '\0';
	if (len <= (ssize_t)strlen(prefix))
		return;
	target[len] = '\0';
	if (!strncmp(target, prefix, strlen(prefix)))
		snprintf(out, size, "%s",
			 target + strlen(prefix) + (target[strlen(prefix)] == '-'));
}

int map__open_fd(int fd, struct map *out, struct error *error)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	int err = bpf_map_get_info_by_fd(fd, &info, &len);

	if (err) {
		close(fd);
		return map__explain(error, err, "cannot ask about the map");
	}
	*out = (struct map){.fd = fd,
			    .id = info.id,
			    .type = info.type,
			    .key_size = info.key_size,
			    .value_size = info.value_size,
			    .max_entries = info.max_entries,
			    .flags = info.map_flags,
			    .extra = info.map_extra,
			    .btf = info.btf_id,
			    .key_type = info.btf_key_type_id,
			    .value_type = info.btf_value_type_id,
			    .kernel_value_type = info.btf_vmlinux_value_type_id,
			    .kind = map_type__find(info.type)};
	memcpy(out->name, info.name, sizeof(out->name));
	out->name[sizeof(out->name) - 1] = '\0';
	/* btf_vmlinux_id, which headers before 6.9 have as padding without a name */
	memcpy(&out->kernel_btf,
	       (const char *)&info + offsetof(struct bpf_map_info, map_extra) - sizeof(uint32_t),
	       sizeof(uint32_t));
	return 0;
}

int map__open_id(uint32_t id, struct map *out, struct error *error)
{
	int fd = bpf_map_get_fd_by_id(id);
	char what[32];

	if (fd >= 0)
		return map__open_fd(fd, out, error);
	snprintf(what, sizeof(what), "map %u", id);
	return map__explain(error, fd, what);
}

/* Why `path` could not be opened as a pinned object, looking at what is there. */
static int explain_path(const char *path, int code, struct error *error)
{
	struct stat st;
	struct statfs fs;

	if (stat(path, &st)) {
		error__set(error, code = -errno, "%s: %s", path, strerror(errno));
		if (errno == EACCES || errno == EPERM)
			return error__hint(error, code, "run as root");
		return error__hint(
			error, code,
			"is the path right? perilune map list shows where maps are pinned");
	}
	if (S_ISDIR(st.st_mode)) {
		error__set(error, -EISDIR, "%s: a directory, not a pinned map", path);
		return error__hint(error, -EISDIR, "name one of the maps that are pinned in it");
	}
	if (!statfs(path, &fs) && fs.f_type != BPF_FS_MAGIC) {
		error__set(error, -EINVAL, "%s: not on a BPF file system, so no pinned map", path);
		return error__hint(
			error, -EINVAL,
			"perilune map list shows the maps that there are, by id and where they are pinned");
	}
	return map__explain(error, code, path);
}

int map__open_path(const char *path, struct map *out, struct error *error)
{
	LIBBPF_OPTS(bpf_obj_get_opts, read_only, .file_flags = BPF_F_RDONLY);
	int fd = bpf_obj_get(path);
	char kind[32];

	if (fd == -EACCES || fd == -EPERM) {
		int again = bpf_obj_get_opts(path, &read_only);

		fd = again < 0 ? fd : again;
	}
	if (fd < 0)
		return explain_path(path, fd, error);
	kind_of(fd, kind, sizeof(kind));
	if (*kind && strcmp(kind, "map")) {
		close(fd);
		error__set(error, -EINVAL, "%s: a pinned %s, not a map", path,
			   strcmp(kind, "prog") ? kind : "program");
		return error__hint(error, -EINVAL, "perilune map list shows where maps are pinned");
	}
	return map__open_fd(fd, out, error);
}

void map__close(struct map *map)
{
	if (map->id)
		close(map->fd);
	*map = (struct map){.fd = -1};
}

int map__next_id(uint32_t id, uint32_t *next, struct error *error)
{
	int err = bpf_map_get_next_id(id, next);

	if (!err || err == -ENOENT)
		return err;
	return map__explain(error, err, "cannot list the maps");
}
