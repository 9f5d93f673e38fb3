/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/attach_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SIZE 128
#define FILE_SIZE 1024
#define TORN ".tmp-" /* prefix of files that are being written */

static int inode_of(const char *path, uint64_t *inode)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	*inode = st.st_ino;
	return 0;
}

/* The file's content as a string, at most size - 1 bytes. */
static int read_file(int dir, const char *path, char *text, size_t size)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -errno;
	memset(text, 0, size);
	n = read(fd, text, size - 1);
	close(fd);
	return n < 0 ? -EIO : 0;
}

static int start_of(int pid, uint64_t *start)
{
	char path[64], text[1024];
	const char *p;
	int err;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	err = read_file(AT_FDCWD, path, text, sizeof(text));
	if (err)
		return err;
	p = strrchr(text, ')'); /* the name before it may hold anything */
	/* Behind it are the fields from the third on; the start time is the 22nd. */
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EPROTO;
	*start = strtoull(p, NULL, 10);
	return *start ? 0 : -EPROTO;
}

int attach_record__owner(struct attach_record_owner *owner)
{
	int err;

	*owner = (struct attach_record_owner){.pid = getpid()};
	err = start_of(owner->pid, &owner->start);
	if (!err)
		err = inode_of("/proc/self/ns/pid", &owner->pidns);
	if (!err)
		err = inode_of("/proc/thread-self/ns/net", &owner->netns);
	if (!err)
		err = read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", owner->boot,
				sizeof(owner->boot));
	owner->boot[strcspn(owner->boot, "\n")] = '\0';
	return err;
}

bool attach_record__alive(const struct attach_record_owner *owner,
			  const struct attach_record_owner *self)
{
	uint64_t start;
	int err;

	if (strcmp(owner->boot, self->boot))
		return false;
	if (owner->pidns != self->pidns)
		return true;
	err = start_of(owner->pid, &start);
	return err ? err != -ENOENT && err != -ESRCH : start == owner->start;
}

int attach_record__lock(bool create, int *dir)
{
	for (;;) {
		struct stat ours, now;
		int fd, err = 0;

		if (create && mkdir(ATTACH_RECORD_DIR, 0700) && errno != EEXIST)
			return -errno;
		fd = open(ATTACH_RECORD_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 && create && errno == ENOENT)
			continue; /* the last holder has just removed it */
		if (fd < 0)
			return -errno;
		while (flock(fd, LOCK_EX))
			if (errno != EINTR) {
				err = -errno;
				close(fd);
				return err;
			}
		/* The lock counts only when this is still the directory that others find. */
		if (!fstat(fd, &ours) && !stat(ATTACH_RECORD_DIR, &now) &&
		    ours.st_ino == now.st_ino && ours.st_dev == now.st_dev) {
			*dir = fd;
			return 0;
		}
		close(fd);
	}
}

void attach_record__unlock(int dir)
{
	rmdir(ATTACH_RECORD_DIR); /* fails when it is not empty */
	close(dir);
}

/* Named by its place, of which there is one. */
static void name_of(const struct attach_record *record, char *name)
{
	snprintf(name, NAME_SIZE, "clsact-%" PRIu64 "-%d-%08x-%u-%u", record->owner.netns,
		 record->ifindex, record->parent, record->priority, record->handle);
}

int attach_record__write(int dir, const struct attach_record *record)
{
	const struct attach_record_owner *owner = &record->owner;
	char text[FILE_SIZE], name[NAME_SIZE], torn[NAME_SIZE + sizeof(TORN)];
	int fd, err = 0, len;

	name_of(record, name);
	snprintf(torn, sizeof(torn), TORN "%s", name);
	len = snprintf(text, sizeof(text),
		       "pid=%d\nstart=%" PRIu64 "\npidns=%" PRIu64 "\nboot=%s\nnetns=%" PRIu64 "\n"
		       "ifindex=%d\nparent=%" PRIu32 "\npriority=%" PRIu32 "\nhandle=%" PRIu32
		       "\nqdisc=%d\n"
		       "prog=%" PRIu32 ":%016" PRIx64 "\nnext=%" PRIu32 ":%016" PRIx64
		       "\nifname=%s\n",
		       owner->pid, owner->start, owner->pidns, owner->boot, owner->netns,
		       record->ifindex, record->parent, record->priority, record->handle,
		       record->qdisc, record->prog[0].id, record->prog[0].tag, record->prog[1].id,
		       record->prog[1].tag, record->ifname);
	fd = openat(dir, torn, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)len) != len)
		err = -ENOSPC;
	close(fd);
	if (!err && renameat(dir, torn, dir, name))
		err = -errno;
	if (err)
		unlinkat(dir, torn, 0);
	return err;
}

int attach_record__remove(int dir, const struct attach_record *record)
{
	char name[NAME_SIZE];

	name_of(record, name);
	return unlinkat(dir, name, 0) && errno != ENOENT ? -errno : 0;
}

/* What stands behind `key` ("pid=") at the beginning of a line; NULL when there is no such line. */
static const char *value_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text && strncmp(text, key, len)) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return text ? text + len : NULL;
}

/* A number, or 0, which is never the value of one that must be there. */
static uint64_t number_of(const char *text, const char *key)
{
	const char *value = value_of(text, key);

	return value ? strtoull(value, NULL, 10) : 0;
}

static void copy_of(const char *text, const char *key, char *out, size_t size)
{
	const char *value = value_of(text, key);

	snprintf(out, size, "%.*s", value ? (int)strcspn(value, "\n") : 0, value ? value : "");
}

/* "ID:TAG", the tag in hexadecimal. */
static void prog_of(const char *text, const char *key, struct attach_record_prog *prog)
{
	const char *value = value_of(text, key);
	char *end;

	if (!value)
		return;
	prog->id = (uint32_t)strtoull(value, &end, 10);
	prog->tag = *end == ':' ? strtoull(end + 1, NULL, 16) : 0;
}

static int parse(const char *text, struct attach_record *record)
{
	struct attach_record_owner *owner = &record->owner;

	*record = (struct attach_record){0};
	owner->pid = (int)number_of(text, "pid=");
	owner->start = number_of(text, "start=");
	owner->pidns = number_of(text, "pidns=");
	owner->netns = number_of(text, "netns=");
	copy_of(text, "boot=", owner->boot, sizeof(owner->boot));
	record->ifindex = (int)number_of(text, "ifindex=");
	record->parent = (uint32_t)number_of(text, "parent=");
	record->priority = (uint32_t)number_of(text, "priority=");
	record->handle = (uint32_t)number_of(text, "handle=");
	record->qdisc = number_of(text, "qdisc=") == 1;
	prog_of(text, "prog=", &record->prog[0]);
	prog_of(text, "next=", &record->prog[1]);
	copy_of(text, "ifname=", record->ifname, sizeof(record->ifname));
	return owner->pid > 0 && owner->start && owner->netns && owner->boot[0] &&
			       record->ifindex > 0 && record->parent && record->priority &&
			       record->handle && record->prog[0].id
		       ? 0
		       : -EPROTO;
}

int attach_record__each(int dir, void (*fn)(int dir, const struct attach_record *record, void *arg),
			void *arg)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct attach_record record;
	const struct dirent *entry;
	char text[FILE_SIZE];

	if (!list) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return err;
	}
	while ((entry = readdir(list))) {
		if (!strncmp(entry->d_name, TORN, strlen(TORN)))
			unlinkat(dir, entry->d_name, 0); /* under the lock nobody is writing it */
		else if (entry->d_name[0] != '.' &&
			 !read_file(dir, entry->d_name, text, sizeof(text)) &&
			 !parse(text, &record))
			fn(dir, &record, arg);
	}
	closedir(list);
	return 0;
}
