/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Task storage: the kernel looks a value up by a descriptor of its task, so every task that /proc shows is asked for.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "map/map_owner.h"
#include "map/map_source_impl.h"

/* PIDFD_THREAD, of Linux 6.9: a descriptor of a thread that is not its process's first. */
#define THREAD O_EXCL

struct tasks {
	DIR *processes, *threads; /* /proc, and /proc/PID/task of the one that is being read */
	uint32_t pid;
};

static int tasks_open(struct map_source *source, struct error *error)
{
	struct tasks *tasks = calloc(1, sizeof(*tasks));

	if (!tasks)
		return error__set(error, -ENOMEM, "out of memory");
	source->state = tasks;
	tasks->processes = opendir("/proc");
	if (!tasks->processes)
		return error__set(error, -errno, "cannot list the tasks: /proc: %s",
				  strerror(errno));
	return 0;
}

/* The next name that is a number; 0 after the last. */
static uint32_t next_number(DIR *dir)
{
	struct dirent *entry;

	while ((entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]))
			return (uint32_t)strtoul(entry->d_name, NULL, 10);
	return 0;
}

/* The next thread of the next process; false after the last. */
static bool next_task(struct tasks *tasks, struct map_task *task)
{
	char path[64];

	for (;;) {
		while (!tasks->threads) {
			tasks->pid = next_number(tasks->processes);
			if (!tasks->pid)
				return false;
			snprintf(path, sizeof(path), "/proc/%u/task", tasks->pid);
			tasks->threads = opendir(path); /* NULL: it is gone */
		}
		task->tid = next_number(tasks->threads);
		task->pid = tasks->pid;
		if (task->tid)
			return true;
		closedir(tasks->threads);
		tasks->threads = NULL;
	}
}

static void read_comm(struct map_task *task)
{
	char path[64];
	ssize_t len;
	int fd;

	memset(task->comm, 0, sizeof(task->comm));
	snprintf(path, sizeof(path), "/proc/%u/task/%u/comm", task->pid, task->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	len = read(fd, task->comm, sizeof(task->comm));
	if (len > 0)
		task->comm[len - 1] = '\0'; /* a line end */
	close(fd);
}

/* -ENOENT: it has no value, or is gone. */
static int look_up(struct map_source *source, const struct map_task *task)
{
	unsigned flags = task->tid == task->pid ? 0 : THREAD;
	int fd = (int)syscall(SYS_pidfd_open, (pid_t)task->tid, flags), err;

	if (fd < 0 && errno == EINVAL && flags) {
		source->note =
			"this kernel gives values of processes' first threads only, those of other threads from Linux 6.9 on";
		return -ENOENT;
	}
	if (fd < 0)
		return errno == ESRCH || errno == EINVAL ? -ENOENT : -errno;
	err = bpf_map_lookup_elem(source->map->fd, &fd, source->value);
	close(fd);
	return err;
}

static int tasks_next(struct map_source *source, struct batch *batch, struct error *error)
{
	uint32_t most = map_source__chunk(source);
	struct map_task task;

	while (batch->count < most) {
		int err;

		if (!next_task(source->state, &task))
			return 0;
		err = look_up(source, &task);
		if (err == -ENOENT)
			continue;
		read_comm(&task);
		if (!err)
			err = map_source__append(source, &task, batch);
		if (err)
			return map__explain(error, err, "cannot read the tasks' values");
	}
	return 1;
}

static void tasks_close(struct map_source *source)
{
	struct tasks *tasks = source->state;

	if (!tasks)
		return;
	if (tasks->threads)
		closedir(tasks->threads);
	if (tasks->processes)
		closedir(tasks->processes);
	free(tasks);
	source->state = NULL;
}

const struct map_source_ops map_source_tasks = {tasks_open, tasks_next, tasks_close};
