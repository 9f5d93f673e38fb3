/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compile/compile.h"

#define NEWEST 22
#define OLDEST 14

/* The variable's value; an empty one is none. */
static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static int executable(const char *path, char *out, size_t size)
{
	char real[PATH_MAX];
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	if (access(path, X_OK))
		return -errno;
	if (*path != '/') { /* a link's own name is kept: a compiler may go by it */
		if (!realpath(path, real))
			return -errno;
		path = real;
	}
	return (size_t)snprintf(out, size, "%s", path) < size ? 0 : -ENAMETOOLONG;
}

static int in_path(const char *name, char *out, size_t size)
{
	const char *dir = env("PATH"), *end;
	char path[PATH_MAX];

	for (; dir; dir = *end ? end + 1 : NULL) {
		end = strchrnul(dir, ':');
		if (end != dir &&
		    (size_t)snprintf(path, sizeof(path), "%.*s/%s", (int)(end - dir), dir, name) <
			    sizeof(path) &&
		    !executable(path, out, size))
			return 0;
	}
	return -ENOENT;
}

int compile__clang(char *path, size_t size, struct error *error)
{
	const char *wanted = env("PERILUNE_CLANG");
	char name[32];
	int err;

	if (wanted) {
		err = strchr(wanted, '/') ? executable(wanted, path, size)
					  : in_path(wanted, path, size);
		if (!err)
			return 0;
		error__set(error, err, "PERILUNE_CLANG names %s, which cannot be run: %s", wanted,
			   strerror(-err));
		return error__hint(error, -ENOENT,
				   "unset it, or name a clang of version %d or later", OLDEST);
	}
	for (int version = NEWEST; version >= OLDEST; version--) {
		snprintf(name, sizeof(name), "clang-%d", version);
		if (!in_path(name, path, size))
			return 0;
	}
	if (!in_path("clang", path, size))
		return 0;
	error__set(error, -ENOENT, "there is no clang in PATH to compile the probes with");
	return error__hint(error, -ENOENT, "apt-get install clang, or name one in PERILUNE_CLANG");
}

int compile__cache_dir(char *path, size_t size)
{
	const char *own = env("PERILUNE_CACHE"), *xdg = env("XDG_CACHE_HOME"), *home = env("HOME");
	int len;

	/* The XDG specification has relative paths ignored. */
	if (own)
		len = snprintf(path, size, "%s", own);
	else if (xdg && *xdg == '/')
		len = snprintf(path, size, "%s/perilune", xdg);
	else if (home && *home == '/')
		len = snprintf(path, size, "%s/.cache/perilune", home);
	else
		return -ENOENT;
	return len >= 0 && (size_t)len < size ? 0 : -ENAMETOOLONG;
}
