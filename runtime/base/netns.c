/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/thread.h"

#define NAMED "/run/netns/%s" /* where ip-netns(8) keeps them */

static int path_of(const char *name, char *path, size_t size)
{
	int len = snprintf(path, size, strchr(name, '/') ? "%s" : NAMED, name);

	return len < (int)size ? 0 : -ENAMETOOLONG;
}

int netns__open(const char *name, int *out, struct error *error)
{
	char path[PATH_MAX];
	int err = path_of(name, path, sizeof(path));
	int fd = err ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (!err && fd < 0)
		err = -errno;
	if (err == -ENOENT) {
		error__set(error, err, "there is no network namespace %.256s", name);
		return error__hint(error, err, "`ip netns` lists those that have a name");
	}
	if (err)
		return error__set(error, err, "cannot open the network namespace %.256s: %s", name,
				  strerror(-err));
	/* The file of a name is an ordinary one until the namespace is mounted on it. */
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET) {
		close(fd);
		return error__set(error, -EINVAL, "%.256s is no network namespace", name);
	}
	*out = fd;
	return 0;
}

bool netns__is(const char *name, int fd)
{
	char path[PATH_MAX];
	struct stat named, ours;

	return !path_of(name, path, sizeof(path)) && !stat(path, &named) && !fstat(fd, &ours) &&
	       named.st_dev == ours.st_dev && named.st_ino == ours.st_ino;
}

struct call {
	int fd;
	int (*fn)(void *arg);
	void *arg;
	struct error *error;
	int result;
};

static void *enter(void *arg)
{
	struct call *call = arg;
	int err;

	if (!setns(call->fd, CLONE_NEWNET)) {
		call->result = call->fn(call->arg);
		return NULL;
	}
	err = -errno;
	error__set(call->error, err, "cannot enter the network namespace: %s", strerror(-err));
	call->result = err == -EPERM ? error__hint(call->error, err, "it takes CAP_SYS_ADMIN")
				     : err;
	return NULL;
}

int netns__call(int fd, int (*fn)(void *arg), void *arg, struct error *error)
{
	struct call call = {.fd = fd, .fn = fn, .arg = arg, .error = error};
	pthread_t thread;
	int err;

	if (fd == NETNS_OWN)
		return fn(arg);
	err = thread__start(enter, &call, &thread);
	if (err)
		return error__set(error, err, "cannot start a thread: %s", strerror(-err));
	pthread_join(thread, NULL);
	return call.result;
}
