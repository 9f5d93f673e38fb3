/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench_child.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int start(const char *const *argv, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	int err = posix_spawn_file_actions_init(&actions);

	if (err)
		return -err;
	err = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (!err)
		err = posix_spawnp(pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

int bench_child__run(const char *const *argv, struct bench_child *out, struct error *error)
{
	uint64_t begun = now();
	struct rusage usage;
	int status = 0, err;
	pid_t pid;

	err = start(argv, &pid);
	if (err)
		return error__set(error, err, "cannot run %s: %s", argv[0], strerror(-err));
	while (wait4(pid, &status, 0, &usage) < 0)
		if (errno != EINTR)
			return error__set(error, -errno, "cannot wait for %s: %s", argv[0],
					  strerror(errno));
	out->ns = now() - begun;
	out->peak_kb = (uint64_t)usage.ru_maxrss;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return error__set(error, -EIO, "%s failed", argv[0]);
	return 0;
}
