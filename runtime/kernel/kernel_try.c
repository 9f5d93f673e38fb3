/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/kernel_try.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <linux/types.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kernel/statistics.h"

#define GRACE_RUNS 5
#define BATCH 4

static int closed(int fd)
{
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int array(__u32 flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);

	return bpf_map_create(BPF_MAP_TYPE_ARRAY, "perilune_try", sizeof(__u32), sizeof(__u64), 1,
			      &opts);
}

int kernel_try__bpf(char *detail)
{
	(void)detail;
	return closed(array(0));
}

/*
 * A child without any allowance of locked memory can create a map when the memory is charged to its cgroup instead.
 * EPERM is what both a lack of privilege and the limit give, so the parent tries first.
 */
int kernel_try__memory(char *detail)
{
	static const struct rlimit none = {0, 0};
	struct rlimit limit;
	int status, err = closed(array(0));
	pid_t pid;

	if (err)
		return err;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) { /* only system calls from here on: this may be one thread of many */
		if (setrlimit(RLIMIT_MEMLOCK, &none))
			_exit(errno);
		_exit(-closed(array(0)));
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (!WIFEXITED(status))
		return -EPROTO;
	if (!WEXITSTATUS(status))
		return 0;
	if (!getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur != RLIM_INFINITY)
		snprintf(detail, KERNEL_DETAIL, "locked memory is limited to %llu kB",
			 (unsigned long long)limit.rlim_cur / 1024);
	return -EOPNOTSUPP;
}

int kernel_try__batch(char *detail)
{
	__u32 keys[BATCH] = {0, 1, 2, 3}, next, count = BATCH;
	__u64 values[BATCH] = {0};
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "perilune_try", sizeof(*keys), sizeof(*values),
				BATCH, NULL),
	    err;

	(void)detail;
	if (fd < 0)
		return fd;
	err = bpf_map_update_batch(fd, keys, values, &count, NULL);
	count = BATCH;
	if (!err)
		err = bpf_map_lookup_batch(fd, NULL, &next, keys, values, &count, NULL);
	if (err == -ENOENT) /* the map's end, together with its content */
		err = count == BATCH ? 0 : -EPROTO;
	count = BATCH;
	if (!err)
		err = bpf_map_delete_batch(fd, keys, &count, NULL);
	close(fd);
	return err;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Sorts a few numbers. */
static void sort(uint64_t *list, int n)
{
	for (int i = 1; i < n; i++)
		for (int j = i; j && list[j] < list[j - 1]; j--) {
			uint64_t t = list[j];

			list[j] = list[j - 1];
			list[j - 1] = t;
		}
}

static int time_grace(int inner, uint64_t *times)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .inner_map_fd = (__u32)inner);
	__u32 zero = 0;
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "perilune_try", sizeof(zero),
				sizeof(inner), 1, &opts),
	    err;

	if (fd < 0)
		return fd;
	err = 0;
	for (int i = 0; i < GRACE_RUNS && !err; i++) {
		uint64_t start = now();

		err = bpf_map_update_elem(fd, &zero, &inner, BPF_ANY);
		times[i] = now() - start;
	}
	close(fd);
	return err;
}

int kernel_try__grace(char *detail)
{
	uint64_t times[GRACE_RUNS];
	int inner = array(0), err;

	if (inner < 0)
		return inner;
	err = time_grace(inner, times);
	close(inner);
	if (err)
		return err;
	sort(times, GRACE_RUNS);
	snprintf(detail, KERNEL_DETAIL, "%.1f ms (%.1f to %.1f in %d runs)",
		 (double)times[GRACE_RUNS / 2] / 1e6, (double)times[0] / 1e6,
		 (double)times[GRACE_RUNS - 1] / 1e6, GRACE_RUNS);
	return 0;
}

int kernel_try__mmap(char *detail)
{
	long page = sysconf(_SC_PAGESIZE);
	int fd = array(BPF_F_MMAPABLE), err = 0;
	void *memory;

	(void)detail;
	if (fd < 0)
		return fd;
	memory = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		err = -errno;
	else
		munmap(memory, (size_t)page);
	close(fd);
	return err;
}

int kernel_try__ringbuf(char *detail)
{
	(void)detail;
	return closed(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "perilune_try", 0, 0,
				     (__u32)sysconf(_SC_PAGESIZE), NULL));
}

int kernel_try__stats(char *detail)
{
	struct statistics_own own;
	int err = statistics__calibrate(&own, NULL);

	if (!err)
		snprintf(detail, KERNEL_DETAIL, "%.0f ns a packet while they are on", own.added_ns);
	return err;
}

int kernel_try__bpffs(char *detail)
{
	struct statfs fs;

	(void)detail;
	if (statfs("/sys/fs/bpf", &fs))
		return -errno;
	return fs.f_type == BPF_FS_MAGIC ? 0 : -ENOENT;
}

int kernel_try__membarrier(char *detail)
{
	(void)detail;
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) ? -errno : 0;
}

int kernel_try__cpus(char *detail)
{
	int possible = libbpf_num_possible_cpus();

	if (possible < 0)
		return possible;
	snprintf(detail, KERNEL_DETAIL, "%ld online, %d possible", sysconf(_SC_NPROCESSORS_ONLN),
		 possible);
	return 0;
}

int kernel_try__btf(char *detail)
{
	int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);

	(void)detail;
	return fd < 0 ? -errno : closed(fd);
}
