/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "compile/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sha256.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "compile/cache_digest.h"

/*
 * A file: MAGIC, the key, the number of headers, for each its path's length, path and digest, then
 * the object's length, the object, and the digest of all of that. Numbers are the machine's own 64
 * bits: the cache does not travel.
 */
#define MAGIC "perilune object 1\n"
#define MAGIC_LEN (sizeof(MAGIC) - 1)
#define DIGEST SHA256_DIGEST_LENGTH
#define FILE_MAX (32UL << 20)
#define TEMP ".tmp-" /* .tmp-PID-XXXXXX */
#define TEMP_MAX_AGE 3600
#define FILES_MAX 65536

struct cursor {
	const unsigned char *at, *end;
};

static const void *take(struct cursor *c, uint64_t len)
{
	const unsigned char *at = c->at;

	if (len > (uint64_t)(c->end - at))
		return NULL;
	c->at += len;
	return at;
}

static int take_u64(struct cursor *c, uint64_t *out)
{
	const void *at = take(c, sizeof(*out));

	if (!at)
		return -EBADMSG;
	memcpy(out, at, sizeof(*out));
	return 0;
}

static int put_u64(struct buf *buf, uint64_t value)
{
	return buf__append(buf, &value, sizeof(value));
}

static void digest_of(const void *bytes, size_t len, unsigned char out[DIGEST])
{
	SHA256_CTX sha;

	SHA256_Init(&sha);
	SHA256_Update(&sha, bytes, len);
	SHA256_Final(out, &sha);
}

/* Our own file only: others must not choose what we load into the kernel. Notes that it was used. */
static int read_own(const char *path, struct buf *out)
{
	int err = file__read_own(path, out, NULL);

	if (!err)
		utimensat(AT_FDCWD, path,
			  (const struct timespec[]){{.tv_nsec = UTIME_OMIT},
						    {.tv_nsec = UTIME_NOW}},
			  0);
	return err;
}

static int check_headers(struct cursor *c)
{
	unsigned char now[DIGEST];
	const unsigned char *then;
	char path[PATH_MAX];
	uint64_t count, len;
	const void *name;

	if (take_u64(c, &count))
		return -EBADMSG;
	while (count--) {
		if (take_u64(c, &len) || len >= sizeof(path))
			return -EBADMSG;
		name = take(c, len);
		then = take(c, DIGEST);
		if (!name || !then)
			return -EBADMSG;
		memcpy(path, name, len);
		path[len] = '\0';
		if (cache_digest__file(path, now) || memcmp(now, then, DIGEST) != 0)
			return -ESTALE;
	}
	return 0;
}

static int check_file(const struct buf *file, const char *key, struct cursor *object)
{
	struct cursor c = {.at = (const unsigned char *)file->data};
	unsigned char digest[DIGEST];
	const void *magic, *name;
	uint64_t len;

	if (file->len < DIGEST)
		return -EBADMSG;
	c.end = c.at + file->len - DIGEST;
	digest_of(c.at, file->len - DIGEST, digest);
	if (memcmp(digest, c.end, DIGEST) != 0)
		return -EBADMSG;
	magic = take(&c, MAGIC_LEN);
	name = take(&c, CACHE_KEY_LEN);
	if (!magic || !name || memcmp(magic, MAGIC, MAGIC_LEN) != 0 ||
	    memcmp(name, key, CACHE_KEY_LEN) != 0)
		return -EBADMSG;
	if (check_headers(&c) || take_u64(&c, &len))
		return -ESTALE;
	object->at = take(&c, len);
	object->end = c.at;
	return object->at && c.at == c.end ? 0 : -EBADMSG;
}

static int key_path(const char *dir, const char *key, char *path, size_t size)
{
	if (strspn(key, "0123456789abcdef") != CACHE_KEY_LEN || key[CACHE_KEY_LEN])
		return -EINVAL;
	return (size_t)snprintf(path, size, "%s/%s", dir, key) < size ? 0 : -ENAMETOOLONG;
}

int cache__get(const char *dir, const char *key, struct buf *out)
{
	struct cursor object;
	char path[PATH_MAX];
	struct buf file;
	int err;

	buf__init(&file, FILE_MAX);
	err = key_path(dir, key, path, sizeof(path));
	if (!err)
		err = read_own(path, &file);
	if (!err)
		err = check_file(&file, key, &object);
	if (err)
		err = -ENOENT;
	else
		err = buf__append(out, object.at, (size_t)(object.end - object.at));
	buf__free(&file);
	return err;
}

static int make_file(const char *key, const char *const *headers, const void *object, size_t len,
		     struct buf *file)
{
	unsigned char digest[DIGEST];
	uint64_t count = 0;
	int err;

	while (headers && headers[count])
		count++;
	err = buf__append(file, MAGIC, MAGIC_LEN);
	if (!err)
		err = buf__append(file, key, CACHE_KEY_LEN);
	if (!err)
		err = put_u64(file, count);
	for (uint64_t i = 0; i < count && !err; i++) {
		err = cache_digest__file(headers[i], digest);
		if (!err)
			err = put_u64(file, strlen(headers[i]));
		if (!err)
			err = buf__puts(file, headers[i]);
		if (!err)
			err = buf__append(file, digest, DIGEST);
	}
	if (!err)
		err = put_u64(file, len);
	if (!err)
		err = buf__append(file, object, len);
	if (err)
		return err;
	digest_of(file->data, file->len, digest);
	return buf__append(file, digest, DIGEST);
}

int cache__put(const char *dir, const char *key, const char *const *headers, const void *object,
	       size_t len)
{
	char path[PATH_MAX], temp[PATH_MAX];
	struct buf file;
	int fd, err;

	buf__init(&file, FILE_MAX);
	err = key_path(dir, key, path, sizeof(path));
	if (!err && (size_t)snprintf(temp, sizeof(temp), "%s/" TEMP "%d-XXXXXX", dir,
				     (int)getpid()) >= sizeof(temp))
		err = -ENAMETOOLONG;
	if (!err)
		err = make_file(key, headers, object, len, &file);
	if (!err)
		err = file__make_dirs(dir);
	if (err)
		goto out;
	fd = mkostemp(temp, O_CLOEXEC); /* 0600 */
	if (fd < 0) {
		err = -errno;
		goto out;
	}
	err = file__write_all(fd, file.data, file.len);
	if (close(fd) && !err)
		err = -errno;
	if (!err && rename(temp, path))
		err = -errno;
	if (err)
		unlink(temp);
out:
	buf__free(&file);
	return err;
}

struct entry {
	char name[CACHE_KEY_LEN + 1];
	uint64_t size;
	struct timespec used;
};

static int by_use(const void *a, const void *b)
{
	const struct timespec *x = &((const struct entry *)a)->used,
			      *y = &((const struct entry *)b)->used;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

/* Its writer is gone, or it is so old that a process of another PID namespace cannot be meant. */
static int abandoned(const char *name, const struct stat *st)
{
	long pid = strtol(name + strlen(TEMP), NULL, 10);

	return (pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH) ||
	       time(NULL) - st->st_mtime > TEMP_MAX_AGE;
}

/*
 * Lists the cache's own files into `entries` (struct entry) and sweeps; what else lies in the
 * directory is left alone.
 */
static int scan(DIR *dir, int fd, struct buf *entries)
{
	const struct dirent *item;
	struct entry entry;
	struct stat st;
	int err = 0;

	while (!err && (item = readdir(dir))) {
		int temp = !strncmp(item->d_name, TEMP, strlen(TEMP));

		if (!temp && (strspn(item->d_name, "0123456789abcdef") != CACHE_KEY_LEN ||
			      item->d_name[CACHE_KEY_LEN]))
			continue;
		if (fstatat(fd, item->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		if (temp) {
			if (abandoned(item->d_name, &st))
				unlinkat(fd, item->d_name, 0);
			continue;
		}
		memset(&entry, 0, sizeof(entry));
		memcpy(entry.name, item->d_name, CACHE_KEY_LEN);
		entry.size = (uint64_t)st.st_size;
		entry.used = st.st_mtim;
		err = buf__append(entries, &entry, sizeof(entry));
	}
	return err == -EMSGSIZE ? 0 : err; /* more than anybody has: the rest goes next time */
}

int cache__trim(const char *path, uint64_t max_bytes)
{
	uint64_t total = 0;
	struct buf entries;
	struct entry *list;
	size_t count;
	DIR *dir = opendir(path);
	int fd, err;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	buf__init(&entries, FILES_MAX * sizeof(struct entry));
	fd = dirfd(dir);
	err = fd < 0 ? -errno : scan(dir, fd, &entries);
	if (err)
		goto out;
	list = (struct entry *)entries.data;
	count = entries.len / sizeof(*list);
	if (count)
		qsort(list, count, sizeof(*list), by_use);
	for (size_t i = 0; i < count; i++)
		total += list[i].size;
	for (size_t i = 0; i < count && total > max_bytes; i++) {
		if (!unlinkat(fd, list[i].name, 0) || errno == ENOENT)
			total -= list[i].size;
		else
			err = -errno;
	}
out:
	buf__free(&entries);
	closedir(dir);
	return err;
}
