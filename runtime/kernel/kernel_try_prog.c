/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* unshare */
#include "kernel/kernel_try.h"

#include <errno.h>
#include <limits.h>
#include <linux/if_link.h>
#include <linux/types.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "extract/gather.h"

/* Instructions, as far as the tries need them. */
#define MOV_REG(d, s) {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (d), .src_reg = (s)}
#define MOV_IMM(d, i) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (d), .imm = (i)}
#define CALL(helper) {.code = BPF_JMP | BPF_CALL, .imm = (helper)}
#define CALL_NEXT(offset) {.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_CALL, .imm = (offset)}
#define EXIT {.code = BPF_JMP | BPF_EXIT}
/* The address of the function that many instructions after this pair. */
#define LD_FUNC(d, offset)                                                                         \
	{.code = BPF_LD | BPF_DW | BPF_IMM,                                                        \
	 .dst_reg = (d),                                                                           \
	 .src_reg = BPF_PSEUDO_FUNC,                                                               \
	 .imm = (offset)},                                                                         \
		{.code = 0}

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#define VERDICT_TC (-1) /* TCX_NEXT, TC_ACT_UNSPEC: as if we were not there */

static const struct bpf_insn pass_tc[] = {MOV_IMM(0, VERDICT_TC), EXIT};
static const struct bpf_insn pass_xdp[] = {MOV_IMM(0, XDP_PASS), EXIT};

static int load(enum bpf_prog_type type, const struct bpf_insn *insns, size_t count)
{
	return bpf_prog_load(type, "perilune_try", "Dual BSD/GPL", insns, count, NULL);
}

#define LOAD(type, insns) load((type), (insns), COUNT(insns))

static int closed(int fd)
{
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int kernel_try__jit(char *detail)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	int fd = LOAD(BPF_PROG_TYPE_SCHED_CLS, pass_tc), err;

	(void)detail;
	if (fd < 0)
		return fd;
	err = bpf_prog_get_info_by_fd(fd, &info, &len);
	close(fd);
	return err ? err : info.jited_prog_len ? 0 : -EOPNOTSUPP;
}

int kernel_try__xdp(char *detail)
{
	/* The loopback has no driver to run XDP in: where there are links it says so, and nothing is attached. */
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int fd = LOAD(BPF_PROG_TYPE_XDP, pass_xdp), err;

	(void)detail;
	if (fd < 0)
		return fd;
	err = closed(bpf_link_create(fd, (int)if_nametoindex("lo"), BPF_XDP, &opts));
	close(fd);
	return err == -EOPNOTSUPP ? 0 : err;
}

int kernel_try__tc(char *detail)
{
	(void)detail;
	return closed(LOAD(BPF_PROG_TYPE_SCHED_CLS, pass_tc));
}

int kernel_try__tcx(char *detail)
{
	int fd = LOAD(BPF_PROG_TYPE_SCHED_CLS, pass_tc), err;

	(void)detail;
	if (fd < 0)
		return fd;
	/* No interface has this number: a kernel that knows the kind of link looks for it. */
	err = closed(bpf_link_create(fd, INT_MAX, BPF_TCX_INGRESS, NULL));
	close(fd);
	return err == -ENODEV ? 0 : err == -EINVAL ? -EOPNOTSUPP : err;
}

/* In a network namespace of this thread's own, which goes with it. */
static void *attach_clsact(void *arg)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = *(int *)arg);
	int err;

	if (unshare(CLONE_NEWNET)) {
		*(int *)arg = -errno;
		return NULL;
	}
	hook.ifindex = (int)if_nametoindex("lo");
	err = bpf_tc_hook_create(&hook);
	if (!err)
		err = bpf_tc_attach(&hook, &opts);
	*(int *)arg = err;
	return NULL;
}

int kernel_try__clsact(char *detail)
{
	int fd = LOAD(BPF_PROG_TYPE_SCHED_CLS, pass_tc), arg = fd, err;
	pthread_t thread;

	(void)detail;
	if (fd < 0)
		return fd;
	err = -pthread_create(&thread, NULL, attach_clsact, &arg);
	if (!err) {
		pthread_join(thread, NULL);
		err = arg;
	}
	close(fd);
	if (err == -EPERM) { /* the namespace takes CAP_SYS_ADMIN, clsact does not */
		snprintf(detail, KERNEL_DETAIL, "not tried, no private network namespace");
		return 0;
	}
	return err == -ENOENT ? -EOPNOTSUPP : err;
}

/* BTF of two functions `int f(void *ctx)` or `long f(int, void *)`: functions need a type to be verified on their own. */
static int load_btf(bool callback, __u32 *ids)
{
	struct btf *btf = btf__new_empty();
	const void *data;
	int fd, type, context, proto;
	__u32 size;

	if (!btf)
		return -errno;
	type = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	context = btf__add_ptr(btf, btf__add_struct(btf, "__sk_buff", 0));
	proto = btf__add_func_proto(btf, type);
	btf__add_func_param(btf, "skb", context);
	ids[0] = (__u32)btf__add_func(btf, "root", BTF_FUNC_GLOBAL, proto);
	if (callback) {
		proto = btf__add_func_proto(btf, type);
		btf__add_func_param(btf, "i", type);
		btf__add_func_param(btf, "arg", btf__add_ptr(btf, 0));
	}
	ids[1] = (__u32)btf__add_func(btf, "level", callback ? BTF_FUNC_STATIC : BTF_FUNC_GLOBAL,
				      proto);
	data = btf__raw_data(btf, &size);
	fd = data ? bpf_btf_load(data, size, NULL) : -ENOMEM;
	btf__free(btf);
	return fd;
}

/* A program of two functions, the second beginning at instruction `second`. */
static int load_two(const struct bpf_insn *insns, size_t count, __u32 second, bool callback)
{
	__u32 ids[2] = {0};
	int btf = load_btf(callback, ids), fd;

	if (btf < 0)
		return btf;
	struct bpf_func_info functions[] = {{0, ids[0]}, {second, ids[1]}};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_btf_fd = (__u32)btf, .func_info = functions,
		    .func_info_cnt = COUNT(functions), .func_info_rec_size = sizeof(*functions));

	fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "perilune_try", "Dual BSD/GPL", insns, count,
			   &opts);
	close(btf);
	return fd;
}

int kernel_try__global_functions(char *detail)
{
	static const struct bpf_insn insns[] = {
		CALL_NEXT(2),  MOV_IMM(0, VERDICT_TC),
		EXIT,		     /* root, with its context still in r1 */
		MOV_IMM(0, 0), EXIT, /* level */
	};

	(void)detail;
	return closed(load_two(insns, COUNT(insns), 3, false));
}

int kernel_try__loop(char *detail)
{
	static const struct bpf_insn insns[] = {
		MOV_IMM(1, 1),
		LD_FUNC(2, 6),
		MOV_IMM(3, 0),
		MOV_IMM(4, 0),
		CALL(BPF_FUNC_loop),
		MOV_IMM(0, VERDICT_TC),
		EXIT, /* root */
		MOV_IMM(0, 0),
		EXIT, /* callback */
	};

	(void)detail;
	return closed(load_two(insns, COUNT(insns), 8, true));
}

int kernel_try__coarse_clock(char *detail)
{
	static const struct bpf_insn insns[] = {CALL(BPF_FUNC_ktime_get_coarse_ns),
						MOV_IMM(0, VERDICT_TC), EXIT};

	(void)detail;
	return closed(LOAD(BPF_PROG_TYPE_SCHED_CLS, insns));
}

int kernel_try__test_run(char *detail)
{
	unsigned char frame[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = 1);
	int fd = LOAD(BPF_PROG_TYPE_XDP, pass_xdp), err;

	(void)detail;
	if (fd < 0)
		return fd;
	err = bpf_prog_test_run_opts(fd, &opts);
	close(fd);
	return err ? err : opts.retval == XDP_PASS ? 0 : -EPROTO;
}

/* The one entry of a map, gathered and removed. */
static int gather_one(const struct extract_map *map, const struct layout *layout)
{
	uint64_t key = 1, value = 2, record[2] = {0, 0};
	const unsigned char *records;
	struct gather *gather;
	size_t count = 0;
	int err = bpf_map_update_elem(map->fd, &key, &value, BPF_ANY);

	if (!err)
		err = gather__open(map, layout, NULL, 0, &gather, NULL);
	if (err)
		return err;
	err = gather__run(gather, true, &records, &count);
	if (!err && count == 1)
		memcpy(record, records, sizeof(record));
	gather__free(gather);
	if (!err && (record[0] != key || record[1] != value))
		err = -EPROTO;
	return err;
}

int kernel_try__gather(char *detail)
{
	struct layout_spec spec = {.key_size = sizeof(uint64_t), .value_size = sizeof(uint64_t)};
	struct extract_map map = {.type = BPF_MAP_TYPE_HASH, .max_entries = 1};
	struct layout *layout;
	int err = layout__new(&spec, &layout, NULL);

	(void)detail;
	if (err)
		return err;
	map.fd = bpf_map_create(BPF_MAP_TYPE_HASH, "perilune_try", spec.key_size, spec.value_size,
				1, NULL);
	err = map.fd < 0 ? map.fd : gather_one(&map, layout);
	if (map.fd >= 0)
		close(map.fd);
	layout__free(layout);
	return err;
}
