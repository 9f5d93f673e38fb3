/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "capture/tap_room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The directory and those above it. */
static int make_directory(const char *directory)
{
	char path[PATH_MAX];
	size_t len = strlen(directory);

	if (!len || len >= sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, directory, len + 1);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

/* Bytes of all captures, and the one that was written to longest ago. */
static uint64_t look(DIR *list, char oldest[NAME_MAX + 1])
{
	const struct dirent *entry;
	struct timespec least = {0};
	uint64_t sum = 0;
	struct stat st;

	oldest[0] = '\0';
	rewinddir(list);
	while ((entry = readdir(list))) {
		if (fnmatch("*.pcapng", entry->d_name, 0) ||
		    fstatat(dirfd(list), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISREG(st.st_mode))
			continue;
		sum += (uint64_t)st.st_size;
		if (!oldest[0] || st.st_mtim.tv_sec < least.tv_sec ||
		    (st.st_mtim.tv_sec == least.tv_sec && st.st_mtim.tv_nsec < least.tv_nsec)) {
			least = st.st_mtim;
			snprintf(oldest, NAME_MAX + 1, "%s", entry->d_name);
		}
	}
	return sum;
}

int tap_room__make(const char *directory, uint64_t total, uint64_t bytes, bool oldest,
		   struct error *error)
{
	char name[NAME_MAX + 1];
	int err = make_directory(directory);
	DIR *list = err ? NULL : opendir(directory);

	if (!list)
		return error__set(error, err ? err : -errno, "%s: %s", directory,
				  strerror(err ? -err : errno));
	while (look(list, name) + bytes > total) {
		if (oldest && name[0] && !unlinkat(dirfd(list), name, 0))
			continue;
		err = error__set(error, -ENOSPC, "%s is full: its captures may have %llu bytes",
				 directory, (unsigned long long)total);
		error__hint(error, err, "remove some, or raise total");
		break;
	}
	closedir(list);
	return err;
}
