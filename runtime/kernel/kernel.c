/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/kernel.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/types.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "compile/compile.h"
#include "kernel/kernel_try.h"

#define ENOTSUPP_KERNEL 524 /* the kernel's own "not supported", which has no name in user space */

static const char not_permitted[] = "run as root or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON";
static const char not_permitted_stats[] = "run as root or with CAP_SYS_ADMIN";

static int try_clang(char *detail)
{
	char path[4096];
	int err = compile__clang(path, sizeof(path), NULL);

	if (!err)
		snprintf(detail, KERNEL_DETAIL, "%.127s", path);
	return err;
}

static const struct {
	const char *name;
	const char *what;
	kernel_try_fn try;
	bool required;
	const char *costs;
	const char *remedy;
} table[] = {
	{"bpf", "BPF system call", kernel_try__bpf, true,
	 "nothing can be measured; perilune check still does all but the verifier",
	 "use a kernel with CONFIG_BPF_SYSCALL=y"},
	{"tc", "BPF programs for TC", kernel_try__tc, true,
	 "no traffic can be watched at tc, the default hook",
	 "use a kernel with CONFIG_NET_CLS_BPF"},
	{"global-functions", "global functions and BTF of programs", kernel_try__global_functions,
	 true, "the levels of a policy cannot be verified one by one, so none is loaded",
	 "use Linux 5.6 or later with CONFIG_BPF_SYSCALL=y"},
	{"grace-period", "waiting for running programs", kernel_try__grace, true,
	 "a window could be read while programs still write to it, and counts would be lost",
	 "use a kernel with arrays of maps (Linux 5.0 or later)"},
	{"clang", "clang for BPF", try_clang, true,
	 "policies cannot be compiled; objects that are in the cache still run",
	 "apt install clang (14 or later), or name one in PERILUNE_CLANG"},
	{"jit", "JIT of BPF programs", kernel_try__jit, false,
	 "programs are interpreted: every packet costs several times as much",
	 "sysctl net.core.bpf_jit_enable=1"},
	{"xdp", "XDP links", kernel_try__xdp, false, "the hook xdp is not there; use tc",
	 "use Linux 5.9 or later"},
	{"tcx", "TCX links", kernel_try__tcx, false,
	 "clsact is used instead: its filters are not detached by the kernel when perilune is killed, but at its "
	 "next start",
	 "use Linux 6.6 or later with CONFIG_NET_XGRESS"},
	{"clsact", "clsact filters", kernel_try__clsact, false,
	 "where TCX is not there either, only the hook xdp works", "modprobe sch_ingress cls_bpf"},
	{"test-run", "test runs of XDP programs", kernel_try__test_run, false,
	 "perilune replay does not work", "use a kernel with CONFIG_NET=y, Linux 5.0 or later"},
	{"mmap", "arrays in shared memory", kernel_try__mmap, false,
	 "each change of level and each read of a small map is a system call",
	 "use Linux 5.5 or later"},
	{"batch", "reading maps in batches", kernel_try__batch, false,
	 "big maps are read one entry at a time, some eight times as slow",
	 "use Linux 5.6 or later"},
	{"gather", "gathering maps in the kernel", kernel_try__gather, false,
	 "maps of up to 16,384 entries are read in batches, some three times as slow",
	 "use Linux 5.14 or later; per-CPU maps take 5.19"},
	{"ring-buffer", "ring buffer", kernel_try__ringbuf, false,
	 "templates that send events do not load", "use Linux 5.8 or later"},
	{"loop", "bpf_loop", kernel_try__loop, false, "templates that loop for long do not load",
	 "use Linux 5.17 or later"},
	{"coarse-clock", "coarse clock", kernel_try__coarse_clock, false,
	 "time stamps cost some 40 ns more a packet", "use Linux 5.11 or later"},
	{"statistics", "run-time statistics", kernel_try__stats, false,
	 "the cost of a program cannot be measured while it runs, so no budget is kept",
	 "use Linux 5.8 or later"},
	{"membarrier", "membarrier", kernel_try__membarrier, false,
	 "there is no second way to wait for running programs",
	 "nothing to do as long as waiting for running programs works"},
	{"kernel-btf", "BTF of the kernel", kernel_try__btf, false,
	 "templates that look into the kernel's own structures do not load",
	 "use a kernel with CONFIG_DEBUG_INFO_BTF=y"},
	{"bpffs", "BPF file system", kernel_try__bpffs, false,
	 "maps cannot be pinned, so no state outlives the process",
	 "mount -t bpf -o mode=0700 bpf /sys/fs/bpf"},
	{"memory", "map memory charged to the cgroup", kernel_try__memory, false,
	 "maps count against the limit of locked memory",
	 "ulimit -l unlimited, or use Linux 5.11 or later"},
	{"cpus", "number of CPUs", kernel_try__cpus, false, "per-CPU maps cannot be read",
	 "mount sysfs on /sys"},
};

size_t kernel__probe(struct capability *out, size_t max)
{
	size_t count = sizeof(table) / sizeof(*table);

	_Static_assert(sizeof(table) / sizeof(*table) <= KERNEL_CAPABILITIES_MAX,
		       "raise KERNEL_CAPABILITIES_MAX");
	for (size_t i = 0; i < count && i < max; i++) {
		struct capability *c = &out[i];

		*c = (struct capability){.name = table[i].name,
					 .what = table[i].what,
					 .required = table[i].required,
					 .costs = table[i].costs,
					 .remedy = table[i].remedy};
		c->result = table[i].try(c->detail);
		if (c->result == -ENOTSUPP_KERNEL)
			c->result = -EOPNOTSUPP;
		if (c->result == -EPERM || c->result == -EACCES)
			c->remedy = table[i].try == kernel_try__stats ? not_permitted_stats
								      : not_permitted;
	}
	return count;
}

static bool has(uint64_t set, int capability)
{
	return set >> capability & 1;
}

int kernel__rights(struct kernel_rights *out)
{
	FILE *file = fopen("/proc/self/status", "re");
	uint64_t set;
	static const char label[] = "CapEff:";
	char line[256];
	bool found = false;

	if (!file)
		return -errno;
	while (!found && fgets(line, sizeof(line), file))
		found = !strncmp(line, label, sizeof(label) - 1);
	fclose(file);
	if (!found)
		return -EPROTO;
	set = strtoull(line + sizeof(label) - 1, NULL, 16);
	*out = (struct kernel_rights){.root = !geteuid(),
				      .sys_admin = has(set, CAP_SYS_ADMIN),
				      .bpf = has(set, CAP_BPF),
				      .net_admin = has(set, CAP_NET_ADMIN),
				      .perfmon = has(set, CAP_PERFMON)};
	out->enough = out->net_admin && (out->sys_admin || (out->bpf && out->perfmon));
	return 0;
}

const char *kernel__libbpf_version(void)
{
	const char *version = libbpf_version_string();

	return version[0] == 'v' ? version + 1 : version;
}
