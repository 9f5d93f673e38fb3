/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/confine_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define MOST_FILES 64

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* What a signal from a terminal or a service manager says to every process of ours is for the parent to act on. */
static int default_signals(void)
{
	static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP};
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL); /* fails for those that cannot be caught */
	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		signal(ours[i], SIG_IGN);
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) ? -errno : 0;
}

static int close_others(int channel)
{
	int first = STDERR_FILENO + 1;

	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	if (channel > first && syscall(SYS_close_range, first, channel - 1, 0))
		return -errno;
	return syscall(SYS_close_range, channel + 1, ~0U, 0) ? -errno : 0;
}

/* The process's address space in bytes; 0 when /proc does not tell. */
static uint64_t address_space(void)
{
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[128];
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (len <= 0)
		return 0;
	text[len] = '\0';
	return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int limit(int resource, rlim_t value)
{
	struct rlimit old;

	if (getrlimit(resource, &old))
		return -errno;
	if (old.rlim_max < value) /* somebody has set a lower one: it holds */
		value = old.rlim_max;
	return setrlimit(resource, &(struct rlimit){value, value}) ? -errno : 0;
}

static int limits(const struct confine_spec *spec)
{
	struct itimerval timer = {
		.it_value = {.tv_sec = (time_t)(spec->cpu_ns / 1000000000),
			     .tv_usec = (suseconds_t)(spec->cpu_ns % 1000000000 / 1000)}};
	uint64_t present = address_space();
	int err;

	if (!present)
		return -ENOENT;
	err = limit(RLIMIT_AS, (rlim_t)(present + spec->memory));
	if (!err)
		err = limit(RLIMIT_CORE, 0);
	if (!err)
		err = limit(RLIMIT_NPROC, 0);
	if (!err)
		err = limit(RLIMIT_NOFILE, spec->files ? MOST_FILES : 0);
	if (!err &&
	    setitimer(ITIMER_PROF, &timer, NULL)) /* SIGPROF, which kills; finer than RLIMIT_CPU */
		err = -errno;
	return err;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return syscall(SYS_capset, &header, none) ? -errno : 0;
}

#ifdef ARCH
/* Memory, time, the descriptors it has, and its end. */
static const int computing[] = {
	__NR_read,	     __NR_write,	__NR_sendto,
	__NR_recvfrom,	     __NR_sendmsg,	__NR_mmap,
	__NR_munmap,	     __NR_mremap,	__NR_mprotect,
	__NR_madvise,	     __NR_brk,		__NR_futex,
	__NR_clock_gettime,  __NR_gettimeofday, __NR_getpid,
	__NR_gettid,	     __NR_sched_yield,	__NR_sigaltstack,
	__NR_rt_sigprocmask, __NR_rt_sigreturn, __NR_restart_syscall,
	__NR_exit,	     __NR_exit_group,
};
static const int reading[] = {
	__NR_close, __NR_fstat, __NR_newfstatat, __NR_lseek, __NR_getdents64, __NR_fcntl,
};

#define CALLS (sizeof(computing) / sizeof(*computing) + sizeof(reading) / sizeof(*reading))
#define WRITES (O_ACCMODE | O_CREAT | O_TRUNC)

struct code {
	struct sock_filter list[2 * CALLS + 16];
	unsigned short len;
};

static void emit(struct code *code, struct sock_filter instruction)
{
	code->list[code->len++] = instruction;
}

static void allow(struct code *code, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		emit(code, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							(unsigned int)calls[i], 0, 1));
		emit(code, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	}
}

/* openat() whose flags, the lower half of its third argument, only read. */
static void allow_reading(struct code *code)
{
	allow(code, reading, sizeof(reading) / sizeof(*reading));
	emit(code, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_openat, 0, 4));
	emit(code, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						offsetof(struct seccomp_data, args[2])));
	emit(code, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, WRITES));
	emit(code, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, O_RDONLY, 0, 1));
	emit(code, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

/*
 * The objects that Lua collects in the child are copies of the parent's: were a finalizer allowed to, it would remove a file or
 * send a message that the parent still needs.
 */
static void filter_calls(bool files)
{
	static struct code code;
	struct sock_fprog program = {.filter = code.list};

	emit(&code, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, arch)));
	emit(&code, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
	emit(&code, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
	emit(&code, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr)));
	allow(&code, computing, sizeof(computing) / sizeof(*computing));
	if (files)
		allow_reading(&code);
	emit(&code, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
	program.len = code.len;
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
	      &program); /* a kernel without it: the rest still holds */
}
#else
static void filter_calls(bool files)
{
	(void)files;
}
#endif

int confine_child__confine(int channel, pid_t parent, const struct confine_spec *spec)
{
	int err;

	setpgid(0, 0);
	err = default_signals();
	if (!err && prctl(PR_SET_PDEATHSIG, SIGKILL))
		err = -errno;
	if (!err && getppid() != parent) /* it died before that */
		_exit(0);
	if (!err)
		err = close_others(channel);
	if (!err)
		err = limits(spec);
	if (!err)
		err = drop_capabilities();
	if (!err)
		filter_calls(spec->files);
	return err;
}
