/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "netns.h"
#include "probe/attach.h"

#define RECORDS "/run/perilune"
#define FRAMES 7
#define PATIENCE_S 10 /* for what the kernel does later */

static int va, vb; /* the two ends of a veth pair, made anew for every test */

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* Programs: count into slot 0 of an array, then pass, or whatever the verdict is. */

struct counter {
	int map, prog;
};

static struct counter counter_with(enum bpf_prog_type type, const char *name, int verdict)
{
	struct counter c = {.map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "count", 4, 8, 1, NULL)};
	const struct bpf_insn insns[] = {
		{.code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = 10, .off = -4, .imm = 0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .imm = -4},
		{.code = BPF_LD | BPF_DW | BPF_IMM,
		 .dst_reg = 1,
		 .src_reg = BPF_PSEUDO_MAP_FD,
		 .imm = c.map},
		{.code = 0},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem},
		{.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .off = 2, .imm = 0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = 1},
		{.code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = 0, .src_reg = 1, .imm = BPF_ADD},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = verdict},
		{.code = BPF_JMP | BPF_EXIT},
	};

	c.prog = bpf_prog_load(type, name, "GPL", insns, sizeof(insns) / sizeof(*insns), NULL);
	assert_true(c.map >= 0 && c.prog >= 0);
	return c;
}

static struct counter counter(enum bpf_prog_type type, const char *name)
{
	return counter_with(type, name, type == BPF_PROG_TYPE_XDP ? XDP_PASS : TC_ACT_UNSPEC);
}

static void drop(struct counter *c)
{
	close(c->prog);
	close(c->map);
}

static uint32_t id_of(int prog)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);

	assert_int_equal(bpf_prog_get_info_by_fd(prog, &info, &len), 0);
	return info.id;
}

static uint64_t count(const struct counter *c)
{
	__u32 zero = 0;
	__u64 value = 0;

	assert_int_equal(bpf_map_lookup_elem(c->map, &zero, &value), 0);
	return value;
}

static time_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* Sends frames out of an interface: egress there, ingress at the other end. */
static void send_frames(int ifindex)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = ifindex,
				 .sll_halen = ETH_ALEN};
	unsigned char frame[64] = {[0 ... 5] = 0xff, [6] = 2, [12] = 0x88, [13] = 0xb5};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	for (int i = 0; i < FRAMES; i++)
		assert_int_equal(sendto(fd, frame, sizeof(frame), 0, (struct sockaddr *)&to,
					sizeof(to)),
				 sizeof(frame));
	close(fd);
}

static void expect_count(const struct counter *c, uint64_t expected)
{
	time_t end = seconds() + PATIENCE_S;

	while (count(c) < expected && seconds() < end)
		sched_yield();
	assert_int_equal(count(c), expected);
}

static int shell(const char *format, const char *argument)
{
	char command[256];

	snprintf(command, sizeof(command), format, argument);
	return system(command);
}

static bool has_clsact(const char *name)
{
	return !shell("tc qdisc show dev %s | grep -q clsact", name);
}

static int files_in_records(void)
{
	FILE *list = popen("ls -A " RECORDS " 2>/dev/null | wc -l", "r");
	int n = -1;

	assert_int_equal(fscanf(list, "%d", &n), 1);
	pclose(list);
	return n;
}

static bool no_records(void)
{
	return access(RECORDS, F_OK) && errno == ENOENT;
}

static struct attachment *attach(enum hook hook, enum attach_mode mode, int prog)
{
	struct attachment *attachment = NULL;
	struct error error = {0};

	if (attach__attach(hook, vb, mode, prog, &attachment, &error))
		fail_msg("%s (%s)", error.message, error.hint);
	return attachment;
}

/* Counts, is replaced by another program that counts, and does not count when it is gone. */
static void lifecycle(enum hook hook, enum attach_mode mode, const char *name)
{
	enum bpf_prog_type type = hook == HOOK_XDP ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS;
	struct counter first = counter(type, "first"), second = counter(type, "second");
	struct attachment *attachment = attach(hook, mode, first.prog);
	int from = hook == HOOK_TC_EGRESS ? vb : va;

	assert_string_equal(attachment->ops->name, name);
	assert_int_equal(attachment->hook, hook);
	assert_int_equal(attachment->ifindex, vb);
	send_frames(from);
	expect_count(&first, FRAMES);
	assert_int_equal(attach__replace(attachment, second.prog, NULL), 0);
	send_frames(from);
	expect_count(&second, FRAMES);
	assert_int_equal(attach__detach(attachment), 0);
	attachment =
		attach(hook, mode,
		       first.prog); /* the place is free again, and what was sent has arrived */
	send_frames(from);
	expect_count(&first, 2 * FRAMES);
	assert_int_equal(count(&second), FRAMES);
	assert_int_equal(attach__detach(attachment), 0);
	assert_true(no_records());
	assert_false(has_clsact("vb"));
	drop(&first);
	drop(&second);
}

static void test_xdp_native(void **state)
{
	(void)state;
	lifecycle(HOOK_XDP, ATTACH_NATIVE, "native");
}

static void test_xdp_generic(void **state)
{
	(void)state;
	lifecycle(HOOK_XDP, ATTACH_GENERIC, "generic");
}

static void test_tcx(void **state)
{
	(void)state;
	lifecycle(HOOK_TC_INGRESS, ATTACH_TCX, "tcx");
	lifecycle(HOOK_TC_EGRESS, ATTACH_TCX, "tcx");
}

static void test_clsact(void **state)
{
	(void)state;
	lifecycle(HOOK_TC_INGRESS, ATTACH_CLSACT, "clsact");
	lifecycle(HOOK_TC_EGRESS, ATTACH_CLSACT, "clsact");
}

static void test_auto_takes_the_best(void **state)
{
	struct counter xdp = counter(BPF_PROG_TYPE_XDP, "c"),
		       tc = counter(BPF_PROG_TYPE_SCHED_CLS, "c");
	struct attachment *attachment = attach(HOOK_XDP, ATTACH_AUTO, xdp.prog);

	(void)state;
	assert_string_equal(attachment->ops->name, "native");
	attach__detach(attachment);
	/* The loopback has no XDP of its own. */
	assert_int_equal(attach__attach(HOOK_XDP, (int)if_nametoindex("lo"), ATTACH_AUTO, xdp.prog,
					&attachment, NULL),
			 0);
	assert_string_equal(attachment->ops->name, "generic");
	attach__detach(attachment);
	attachment = attach(HOOK_TC_INGRESS, ATTACH_AUTO, tc.prog);
	assert_string_equal(attachment->ops->name, "tcx");
	attach__detach(attachment);
	assert_int_equal(attach__detach(NULL), 0);
	drop(&xdp);
	drop(&tc);
}

static void expect_failure(enum hook hook, int ifindex, enum attach_mode mode, int prog, int code,
			   const char *message)
{
	struct attachment *attachment = NULL;
	struct error error = {0};

	assert_int_equal(attach__attach(hook, ifindex, mode, prog, &attachment, &error), code);
	assert_null(attachment);
	if (!strstr(error.message, message))
		fail_msg("\"%s\" is not in \"%s\"", message, error.message);
	/* Nobody needs to ask for the words. */
	assert_int_equal(attach__attach(hook, ifindex, mode, prog, &attachment, NULL), code);
}

static void test_says_what_is_wrong(void **state)
{
	struct counter xdp = counter(BPF_PROG_TYPE_XDP, "c"),
		       tc = counter(BPF_PROG_TYPE_SCHED_CLS, "c");

	(void)state;
	expect_failure(HOOK_XDP, 99999, ATTACH_AUTO, xdp.prog, -ENODEV,
		       "no interface with index 99999");
	expect_failure(HOOK_XDP, 99999, ATTACH_GENERIC, xdp.prog, -ENODEV,
		       "no interface with index 99999");
	expect_failure(HOOK_TC_EGRESS, 99999, ATTACH_AUTO, tc.prog, -ENODEV,
		       "no interface with index 99999");
	expect_failure(HOOK_TC_INGRESS, 99999, ATTACH_CLSACT, tc.prog, -ENODEV,
		       "no interface with index 99999");
	expect_failure(HOOK_XDP, vb, ATTACH_TCX, xdp.prog, -EINVAL, "does not go with hook xdp");
	expect_failure(HOOK_TC_EGRESS, vb, ATTACH_NATIVE, tc.prog, -EINVAL,
		       "does not go with hook tc.egress");
	expect_failure(HOOK_XDP, (int)if_nametoindex("lo"), ATTACH_NATIVE, xdp.prog, -EOPNOTSUPP,
		       "lo has no way to attach to xdp: native: lo refuses native XDP");
	assert_true(no_records());
	drop(&xdp);
	drop(&tc);
}

static void test_a_taken_interface_names_its_owner(void **state)
{
	static const __u32 modes[] = {XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};
	struct counter ours = counter(BPF_PROG_TYPE_XDP, "ours"),
		       theirs = counter(BPF_PROG_TYPE_XDP, "dispatcher");
	struct attachment *attachment;
	char owner[128];
	__u32 id;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bpf_xdp_attach(vb, theirs.prog, modes[i], NULL), 0);
		snprintf(owner, sizeof(owner),
			 "vb already has the XDP program dispatcher (id %u, %s)",
			 id_of(theirs.prog), i ? "generic" : "native");
		expect_failure(HOOK_XDP, vb, ATTACH_AUTO, ours.prog, -EBUSY, owner);
		expect_failure(HOOK_XDP, vb, ATTACH_NATIVE, ours.prog, -EBUSY, owner);
		expect_failure(HOOK_XDP, vb, ATTACH_GENERIC, ours.prog, -EBUSY, owner);
		assert_int_equal(bpf_xdp_query_id(vb, 0, &id), 0);
		assert_int_equal(id, id_of(theirs.prog));
		send_frames(va);
		expect_count(&theirs, (uint64_t)FRAMES * (unsigned)(i + 1));
		assert_int_equal(bpf_xdp_detach(vb, modes[i], NULL), 0);
	}
	attachment = attach(HOOK_XDP, ATTACH_AUTO, theirs.prog); /* a link of somebody's */
	expect_failure(HOOK_XDP, vb, ATTACH_AUTO, ours.prog, -EBUSY, "dispatcher");
	attach__detach(attachment);
	assert_int_equal(count(&ours), 0);
	drop(&ours);
	drop(&theirs);
}

static void test_tcx_goes_first_and_leaves_others(void **state)
{
	struct counter ours = counter(BPF_PROG_TYPE_SCHED_CLS, "ours"),
		       theirs = counter(BPF_PROG_TYPE_SCHED_CLS, "theirs");
	int link = bpf_link_create(theirs.prog, vb, BPF_TCX_INGRESS, NULL);
	struct attachment *attachment = attach(HOOK_TC_INGRESS, ATTACH_AUTO, ours.prog);
	__u32 ids[4] = {0};
	LIBBPF_OPTS(bpf_prog_query_opts, query, .prog_ids = ids, .count = 4);

	(void)state;
	assert_true(link >= 0);
	assert_int_equal(bpf_prog_query_opts(vb, BPF_TCX_INGRESS, &query), 0);
	assert_int_equal(query.count, 2);
	assert_int_equal(ids[0], id_of(ours.prog));
	assert_int_equal(ids[1], id_of(theirs.prog));
	send_frames(va);
	expect_count(&ours, FRAMES);
	expect_count(&theirs, FRAMES); /* our verdict passes it on */
	attach__detach(attachment);
	send_frames(va);
	expect_count(&theirs, 2 * FRAMES);
	close(link);
	drop(&ours);
	drop(&theirs);
}

/* Somebody's filter on the ingress of vb. */
static void foreign_filter(const struct counter *c, uint32_t priority, uint32_t handle,
			   uint32_t flags)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = vb, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = c->prog, .priority = priority, .handle = handle,
		    .flags = flags);
	int err = bpf_tc_hook_create(&hook);

	assert_true(!err || err == -EEXIST);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
}

static void test_clsact_leaves_others(void **state)
{
	static const uint32_t priorities[] = {1, 10, 49152};
	uint64_t frames = 0;
	struct counter ours = counter(BPF_PROG_TYPE_SCHED_CLS, "ours");
	struct counter theirs = counter(BPF_PROG_TYPE_SCHED_CLS, "theirs");

	(void)state;
	for (size_t i = 0; i < sizeof(priorities) / sizeof(*priorities); i++) {
		struct attachment *attachment;

		foreign_filter(&theirs, priorities[i], 1, 0);
		attachment = attach(HOOK_TC_INGRESS, ATTACH_CLSACT, ours.prog);
		send_frames(va);
		expect_count(&ours, frames + FRAMES);
		expect_count(&theirs, 2 * frames + FRAMES);
		attach__detach(attachment);
		send_frames(va);
		frames += FRAMES;
		expect_count(&theirs, 2 * frames);
		assert_int_equal(count(&ours), frames);
		assert_true(no_records());
		assert_int_equal(netns__run("tc qdisc del dev vb clsact"),
				 0); /* theirs was left, so this works */
	}
	drop(&ours);
	drop(&theirs);
}

/* Before all others where there is room: seen in what a verdict of theirs would hide. */
static void test_clsact_goes_first(void **state)
{
	struct counter ours = counter(BPF_PROG_TYPE_SCHED_CLS, "ours");
	struct counter theirs = counter_with(BPF_PROG_TYPE_SCHED_CLS, "theirs", TC_ACT_SHOT);
	struct attachment *first, *second;

	(void)state;
	foreign_filter(&theirs, 5, 1, 0);
	first = attach(HOOK_TC_INGRESS, ATTACH_CLSACT, ours.prog);
	second = attach(HOOK_TC_INGRESS, ATTACH_CLSACT, ours.prog);
	send_frames(va);
	expect_count(&theirs, FRAMES);
	expect_count(&ours, 2 * FRAMES);
	attach__detach(first);
	attach__detach(second);
	send_frames(va);
	expect_count(&theirs, 2 * FRAMES);
	drop(&ours);
	drop(&theirs);
}

static void test_clsact_qdisc_goes_with_the_last_of_us(void **state)
{
	struct counter c = counter(BPF_PROG_TYPE_SCHED_CLS, "ours"),
		       theirs = counter(BPF_PROG_TYPE_SCHED_CLS, "theirs");
	struct attachment *in = attach(HOOK_TC_INGRESS, ATTACH_CLSACT, c.prog);
	struct attachment *out = attach(HOOK_TC_EGRESS, ATTACH_CLSACT, c.prog);
	struct attachment *again = attach(HOOK_TC_INGRESS, ATTACH_CLSACT, c.prog);

	(void)state;
	assert_int_equal(files_in_records(), 3);
	attach__detach(in);
	assert_true(has_clsact("vb"));
	attach__detach(again);
	assert_true(has_clsact("vb"));
	assert_int_equal(files_in_records(), 1);
	attach__detach(out);
	assert_false(has_clsact("vb"));
	assert_true(no_records());

	in = attach(HOOK_TC_INGRESS, ATTACH_CLSACT, c.prog);
	foreign_filter(&theirs, 7, 7, 0); /* somebody comes to use our qdisc */
	attach__detach(in);
	assert_true(has_clsact("vb"));
	send_frames(va);
	expect_count(&theirs, FRAMES);
	drop(&c);
	drop(&theirs);
}

static void test_clsact_needs_a_side_for_egress(void **state)
{
	struct counter c = counter(BPF_PROG_TYPE_SCHED_CLS, "ours");
	struct attachment *attachment;

	(void)state;
	assert_int_equal(system("tc qdisc add dev vb ingress"), 0);
	expect_failure(HOOK_TC_EGRESS, vb, ATTACH_CLSACT, c.prog, -EBUSY,
		       "vb has a qdisc of kind ingress");
	attachment = attach(HOOK_TC_INGRESS, ATTACH_CLSACT, c.prog);
	send_frames(va);
	expect_count(&c, FRAMES);
	attach__detach(attachment);
	assert_int_equal(system("tc qdisc show dev vb | grep -q ingress"), 0);
	assert_true(no_records());
	drop(&c);
}

/* A process that attaches, says so, waits to be told, and dies without detaching. */
struct victim {
	pid_t pid;
	int tell;
};

static struct victim start_victim(enum attach_mode mode)
{
	struct victim victim;
	int said[2], told[2];
	char byte = 0;

	assert_int_equal(pipe2(said, O_CLOEXEC) | pipe2(told, O_CLOEXEC), 0);
	victim.pid = fork();
	assert_true(victim.pid >= 0);
	if (!victim.pid) {
		enum bpf_prog_type type = mode == ATTACH_NATIVE ? BPF_PROG_TYPE_XDP
								: BPF_PROG_TYPE_SCHED_CLS;
		struct counter c = counter(type, "victim");
		struct attachment *in, *out;

		close(told[1]);
		if (attach__attach(mode == ATTACH_NATIVE ? HOOK_XDP : HOOK_TC_INGRESS, vb, mode,
				   c.prog, &in, NULL) ||
		    (mode != ATTACH_NATIVE &&
		     attach__attach(HOOK_TC_EGRESS, vb, mode, c.prog, &out, NULL)))
			byte = 1;
		if (write(said[1], &byte, 1) != 1 || read(told[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(said[1]);
	close(told[0]);
	assert_int_equal(read(said[0], &byte, 1), 1);
	assert_int_equal(byte, 0);
	close(said[0]);
	victim.tell = told[1];
	return victim;
}

static void kill_victim(struct victim *victim)
{
	int status;

	assert_int_equal(write(victim->tell, "", 1), 1);
	close(victim->tell);
	assert_int_equal(waitpid(victim->pid, &status, 0), victim->pid);
	assert_int_equal(status, 0);
}

static void test_sweep_after_a_crash(void **state)
{
	struct victim victim;

	(void)state;
	assert_int_equal(attach__sweep(), 0); /* nothing there yet */
	assert_true(no_records());
	victim = start_victim(ATTACH_CLSACT);
	assert_int_equal(files_in_records(), 2);
	assert_int_equal(attach__sweep(), 0);
	assert_int_equal(files_in_records(), 2); /* it lives */
	kill_victim(&victim);
	assert_true(has_clsact("vb"));
	assert_int_equal(system("tc filter show dev vb ingress | grep -q victim"), 0);
	assert_int_equal(system("touch " RECORDS "/.tmp-torn"), 0);
	assert_int_equal(attach__sweep(), 0);
	assert_false(has_clsact("vb"));
	assert_true(no_records());
}

static void test_sweep_leaves_what_is_not_ours(void **state)
{
	struct counter theirs = counter(BPF_PROG_TYPE_SCHED_CLS, "theirs");
	struct victim victim = start_victim(ATTACH_CLSACT);
	unsigned int handle = (unsigned int)victim.pid, priority = 0;
	FILE *filters;

	(void)state;
	kill_victim(&victim);
	filters = popen(
		"tc filter show dev vb ingress | sed -n 's/.* pref \\([0-9]*\\) .* handle .*/\\1/p'",
		"r");
	assert_int_equal(fscanf(filters, "%u", &priority), 1);
	pclose(filters);
	foreign_filter(&theirs, priority, handle, BPF_TC_F_REPLACE); /* in the very place of ours */
	assert_int_equal(attach__sweep(), 0);
	assert_true(has_clsact("vb"));
	assert_true(no_records());
	send_frames(va);
	expect_count(&theirs, FRAMES);
	assert_int_equal(system("tc filter show dev vb egress | grep -q victim"), 256);
	drop(&theirs);
}

static void test_sweep_keeps_to_its_namespace(void **state)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct victim victim = start_victim(ATTACH_CLSACT);
	time_t end = seconds() + PATIENCE_S;

	(void)state;
	kill_victim(&victim);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(attach__sweep(), 0);
	assert_int_equal(files_in_records(), 2);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	assert_true(has_clsact("vb"));
	assert_int_equal(attach__sweep(), 0);
	assert_false(has_clsact("vb"));
	assert_true(no_records());

	/* Of a namespace that is gone, the program is gone as well: its record is not kept for ever. */
	victim = start_victim(ATTACH_CLSACT);
	kill_victim(&victim);
	assert_int_equal(system("tc qdisc del dev vb clsact"), 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	while (!no_records() && seconds() < end) /* the kernel frees the program a little later */
		assert_int_equal(attach__sweep(), 0);
	assert_true(no_records());
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(home);
}

static void test_links_die_with_the_process(void **state)
{
	time_t end = seconds() + PATIENCE_S;
	struct victim victim = start_victim(ATTACH_NATIVE), other = start_victim(ATTACH_TCX);
	LIBBPF_OPTS(bpf_prog_query_opts, query);
	__u32 id = 0;

	(void)state;
	assert_int_equal(bpf_xdp_query_id(vb, 0, &id), 0);
	assert_int_not_equal(id, 0);
	kill_victim(&victim);
	kill_victim(&other);
	do {
		assert_int_equal(bpf_xdp_query_id(vb, 0, &id), 0);
		query.count = 0;
		assert_int_equal(bpf_prog_query_opts(vb, BPF_TCX_EGRESS, &query), 0);
	} while ((id || query.count) && seconds() < end);
	assert_int_equal(id, 0);
	assert_int_equal(query.count, 0);
}

static void test_an_interface_that_is_gone_is_detached(void **state)
{
	struct counter xdp = counter(BPF_PROG_TYPE_XDP, "c"),
		       tc = counter(BPF_PROG_TYPE_SCHED_CLS, "c");
	struct attachment *a = attach(HOOK_XDP, ATTACH_AUTO, xdp.prog);
	struct attachment *b = attach(HOOK_TC_INGRESS, ATTACH_TCX, tc.prog);
	struct attachment *c = attach(HOOK_TC_EGRESS, ATTACH_CLSACT, tc.prog);
	struct error error;

	(void)state;
	assert_int_equal(system("ip link del vb"), 0);
	assert_int_equal(attach__replace(b, tc.prog, &error), -ENODEV);
	assert_int_not_equal(attach__replace(c, tc.prog, &error), 0);
	assert_int_equal(attach__detach(a), 0);
	assert_int_equal(attach__detach(b), 0);
	assert_int_equal(attach__detach(c), 0);
	assert_true(no_records());
	drop(&xdp);
	drop(&tc);
}

static void test_a_filter_taken_away_is_detached(void **state)
{
	struct counter c = counter(BPF_PROG_TYPE_SCHED_CLS, "c");
	struct attachment *in = attach(HOOK_TC_INGRESS, ATTACH_CLSACT, c.prog);

	(void)state;
	assert_int_equal(system("tc filter del dev vb ingress"), 0);
	assert_int_not_equal(attach__replace(in, c.prog, NULL), 0);
	assert_int_equal(attach__detach(in), 0);
	assert_false(has_clsact("vb"));
	in = attach(HOOK_TC_INGRESS, ATTACH_CLSACT, c.prog);
	assert_int_equal(system("tc qdisc del dev vb clsact"), 0);
	assert_int_equal(attach__detach(in), 0);
	assert_true(no_records());
	drop(&c);
}

/* Only clsact asks again: for a link, having the program is permission enough. */
static int unprivileged(int prog)
{
	struct attachment *attachment;
	struct error error = {0};

	if (setresuid(65534, 65534, 65534))
		return 1;
	if (attach__attach(HOOK_TC_INGRESS, vb, ATTACH_CLSACT, prog, &attachment, &error) != -EPERM)
		return 2;
	if (strcmp(error.message, "not permitted to attach to vb") ||
	    !strstr(error.hint, "CAP_NET_ADMIN"))
		return 3;
	return no_records() ? 0 : 4;
}

static void test_says_when_it_is_not_permitted(void **state)
{
	struct counter c = counter(BPF_PROG_TYPE_SCHED_CLS, "c");
	pid_t pid = fork();
	int status;

	(void)state;
	if (!pid)
		_exit(unprivileged(c.prog));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	drop(&c);
}

static void test_names_of_hooks(void **state)
{
	(void)state;
	assert_string_equal(hook__name(HOOK_XDP), "xdp");
	assert_string_equal(hook__name(HOOK_TC_INGRESS), "tc.ingress");
	assert_string_equal(hook__name(HOOK_TC_EGRESS), "tc.egress");
}

static int enter(void **state)
{
	(void)state;
	libbpf_set_print(silent);
	return netns__enter();
}

static int setup(void **state)
{
	(void)state;
	if (netns__run("rm -rf " RECORDS) ||
	    netns__run("! ip link show va >/dev/null 2>&1 || ip link del va"))
		return -1;
	/* Nothing is sent but by the tests: no IPv6, no ARP. */
	if (netns__run("ip link add va arp off type veth peer name vb arp off && "
		       "for i in va vb; do echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; "
		       "ip link set $i up; done"))
		return -1;
	/* The kernel activates a link some time after it was set up; what is sent before is lost. */
	if (netns__run("timeout 20 sh -c 'for i in va vb; do "
		       "until ip -o link show $i | grep -q \"state UP\"; do :; done; "
		       "ip link set $i up; done'"))
		return -1;
	va = (int)if_nametoindex("va");
	vb = (int)if_nametoindex("vb");
	return 0;
}

#define test(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_names_of_hooks),
		test(test_xdp_native),
		test(test_xdp_generic),
		test(test_tcx),
		test(test_clsact),
		test(test_auto_takes_the_best),
		test(test_says_what_is_wrong),
		test(test_a_taken_interface_names_its_owner),
		test(test_tcx_goes_first_and_leaves_others),
		test(test_clsact_leaves_others),
		test(test_clsact_goes_first),
		test(test_clsact_qdisc_goes_with_the_last_of_us),
		test(test_clsact_needs_a_side_for_egress),
		test(test_sweep_after_a_crash),
		test(test_sweep_leaves_what_is_not_ours),
		test(test_sweep_keeps_to_its_namespace),
		test(test_links_die_with_the_process),
		test(test_an_interface_that_is_gone_is_detached),
		test(test_a_filter_taken_away_is_detached),
		test(test_says_when_it_is_not_permitted),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
