/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define TEMP ".tmp-" /* .tmp-PID-XXXXXX, while it is being written */

struct file_log {
	int fd;
	uint64_t size; /* bytes that are whole lines */
};

struct file_lock {
	int fd;
};

static int failed(struct error *error, int code, const char *what, const char *path)
{
	return error__set(error, code, "cannot %s %s: %s", what, path,
			  code == -EACCES ? "it is not only ours to write" : strerror(-code));
}

int file__make_dirs(const char *dir)
{
	size_t len = strlen(dir);
	char path[PATH_MAX];

	if (!len || len >= sizeof(path))
		return -EINVAL;
	memcpy(path, dir, len + 1);
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700); /* the last one tells whether it went well */
		*slash = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

/* The directory that `path` lies in; "." for a bare name. */
static int parent_of(const char *path, char parent[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (!slash || slash == path) {
		strcpy(parent, slash ? "/" : ".");
		return 0;
	}
	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(parent, path, len);
	parent[len] = '\0';
	return 0;
}

static int make_parent(const char *path, char parent[PATH_MAX])
{
	int err = parent_of(path, parent);

	return err ? err : file__make_dirs(parent);
}

int file__write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		ssize_t done = write(fd, at, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += done;
		len -= (size_t)done;
	}
	return 0;
}

static int check_own(int fd, struct stat *st)
{
	if (fstat(fd, st))
		return -errno;
	if (!S_ISREG(st->st_mode))
		return -EINVAL;
	return st->st_uid != geteuid() || st->st_mode & 022 ? -EACCES : 0;
}

/* O_NONBLOCK, so that a pipe in the file's place does not hold us up. */
static int open_own(const char *path, int flags, struct stat *st)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0600), err;

	if (fd < 0)
		return -errno;
	err = check_own(fd, st);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int file__open_own(const char *path, struct stat *st)
{
	return open_own(path, O_RDONLY, st);
}

int file__read_own(const char *path, struct buf *out, struct error *error)
{
	struct stat st = {0};
	int fd = file__open_own(path, &st), err;
	size_t end;

	if (fd < 0)
		return failed(error, fd, "read", path);
	end = out->len + (size_t)st.st_size;
	err = buf__reserve(out, (size_t)st.st_size);
	while (!err && out->len < end) {
		ssize_t len = read(fd, out->data + out->len, end - out->len);

		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0)
			err = len ? -errno : -EBADMSG; /* it became shorter meanwhile */
		else
			out->len += (size_t)len;
	}
	close(fd);
	if (out->data)
		out->data[out->len] = '\0';
	return err ? failed(error, err, "read", path) : 0;
}

/* What a rename has done is on the disk when its directory is. */
static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = fsync(fd) && errno != EINVAL ? -errno : 0; /* EINVAL: a file system without it */
	close(fd);
	return err;
}

static int write_temp(char *temp, const void *bytes, size_t len)
{
	int fd = mkostemp(temp, O_CLOEXEC), err; /* 0600 */

	if (fd < 0)
		return -errno;
	err = file__write_all(fd, bytes, len);
	if (!err && fsync(fd))
		err = -errno;
	if (close(fd) && !err)
		err = -errno;
	if (err)
		unlink(temp);
	return err;
}

int file__replace(const char *path, const void *bytes, size_t len, struct error *error)
{
	char parent[PATH_MAX], temp[PATH_MAX];
	int err = make_parent(path, parent);

	if (!err && (size_t)snprintf(temp, sizeof(temp), "%s/" TEMP "%d-XXXXXX", parent,
				     (int)getpid()) >= sizeof(temp))
		err = -ENAMETOOLONG;
	if (!err)
		err = write_temp(temp, bytes, len);
	if (!err && rename(temp, path)) {
		err = -errno;
		unlink(temp);
	}
	if (!err)
		err = sync_dir(parent);
	return err ? failed(error, err, "write", path) : 0;
}

int file__check_own_dir(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		return -errno;
	return S_ISDIR(st.st_mode) && (!st.st_uid || st.st_uid == geteuid()) &&
			       !(st.st_mode & (S_IWGRP | S_IWOTH))
		       ? 0
		       : -EPERM;
}

int file__make_own_dir(const char *path)
{
	return mkdir(path, 0700) && errno != EEXIST ? -errno : file__check_own_dir(path);
}

int file__lock_dir(const char *path, int *out)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat ours, now;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB))
		err = -EBUSY;
	/* The lock counts only when this is still the directory that others find. */
	else if (fstat(fd, &ours) || stat(path, &now) || ours.st_ino != now.st_ino)
		err = -ESTALE;
	if (err)
		close(fd);
	else
		*out = fd;
	return err;
}

void file__empty(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!list) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(list)))
		if (entry->d_name[0] != '.')
			unlinkat(fd, entry->d_name, 0);
	closedir(list);
}

void file__sweep(const char *dir)
{
	DIR *opened = opendir(dir);
	const struct dirent *item;

	while (opened && (item = readdir(opened))) {
		long pid;

		if (strncmp(item->d_name, TEMP, strlen(TEMP)) != 0)
			continue;
		pid = strtol(item->d_name + strlen(TEMP), NULL, 10);
		if (pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH)
			unlinkat(dirfd(opened), item->d_name, 0);
	}
	if (opened)
		closedir(opened);
}

/* The lines that are there, the last of them ended. */
static int begin_log(int fd, struct file_log *log)
{
	off_t end = lseek(fd, 0, SEEK_END);
	char last = '\n';
	int err = 0;

	if (end < 0 || (end && pread(fd, &last, 1, end - 1) != 1))
		return -EIO;
	if (last != '\n') {
		err = file__write_all(fd, "\n", 1);
		end++;
	}
	log->fd = fd;
	log->size = (uint64_t)end;
	return err;
}

int file_log__open(const char *path, struct file_log **out, struct error *error)
{
	struct file_log *log = calloc(1, sizeof(*log));
	char parent[PATH_MAX];
	struct stat st;
	int fd = -1, err = log ? make_parent(path, parent) : -ENOMEM;

	if (!err) {
		fd = open_own(path, O_RDWR | O_APPEND | O_CREAT, &st);
		err = fd < 0 ? fd : 0;
	}
	if (!err && flock(fd, LOCK_EX | LOCK_NB))
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (!err)
		err = begin_log(fd, log);
	if (!err) {
		*out = log;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	free(log);
	if (err == -EBUSY)
		return error__set(error, err, "%s is being written by another process", path);
	return failed(error, err, "write", path);
}

int file_log__write(struct file_log *log, const char *text, size_t len, struct error *error)
{
	int err = file__write_all(log->fd, text, len);

	if (!err) {
		log->size += len;
		return 0;
	}
	/* Should that fail too, the next one who opens it ends the line. */
	if (ftruncate(log->fd, (off_t)log->size))
		return error__set(error, err, "a line was written in part: %s", strerror(-err));
	return error__set(error, err, "a line could not be written: %s", strerror(-err));
}

int file_log__sync(struct file_log *log, struct error *error)
{
	if (!fdatasync(log->fd))
		return 0;
	return error__set(error, -errno, "cannot bring a log to the disk: %s", strerror(errno));
}

uint64_t file_log__size(const struct file_log *log)
{
	return log->size;
}

void file_log__free(struct file_log *log)
{
	if (!log)
		return;
	close(log->fd);
	free(log);
}

int file_lock__take(const char *path, struct file_lock **out, struct error *error)
{
	struct file_lock *lock = calloc(1, sizeof(*lock));
	char parent[PATH_MAX];
	struct stat st;
	int fd = -1, err = lock ? make_parent(path, parent) : -ENOMEM;

	if (!err) {
		fd = open_own(path, O_RDWR | O_CREAT, &st);
		err = fd < 0 ? fd : 0;
	}
	if (!err && flock(fd, LOCK_EX | LOCK_NB))
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (!err) {
		lock->fd = fd;
		*out = lock;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	free(lock);
	if (err == -EBUSY)
		return error__set(error, err, "another process has %s", path);
	return failed(error, err, "lock", path);
}

void file_lock__free(struct file_lock *lock)
{
	if (!lock)
		return;
	close(lock->fd);
	free(lock);
}
