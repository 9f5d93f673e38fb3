/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/attach_filter.h"

#include <errno.h>
#include <linux/pkt_sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/netlink.h"
#include "probe/attach.h"

void attach_filter__hook(struct bpf_tc_hook *hook, const struct attach_record *record)
{
	memset(hook, 0, sizeof(*hook));
	hook->sz = sizeof(*hook);
	hook->ifindex = record->ifindex;
	hook->attach_point = record->parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)
				     ? BPF_TC_EGRESS
				     : BPF_TC_INGRESS;
}

int attach_filter__identify(int prog_fd, struct attach_record_prog *prog)
{
	struct bpf_prog_info info = {0};
	__u32 len = sizeof(info);
	int err = bpf_prog_get_info_by_fd(prog_fd, &info, &len);

	if (err)
		return err;
	prog->id = info.id;
	memcpy(&prog->tag, info.tag, sizeof(prog->tag));
	return 0;
}

/* The program in the filter's place is one of those on record. */
static bool is_ours(const struct attach_record *record, uint32_t id)
{
	struct attach_record_prog found = {0};
	int fd = bpf_prog_get_fd_by_id(id), err = fd < 0 ? fd : attach_filter__identify(fd, &found);

	if (fd >= 0)
		close(fd);
	if (err)
		return false;
	for (int i = 0; i < 2; i++)
		if (found.id == record->prog[i].id && found.tag == record->prog[i].tag)
			return true;
	return false;
}

int attach_filter__check(const struct attach_record *record)
{
	struct bpf_tc_hook hook;
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = record->handle, .priority = record->priority);
	int err;

	attach_filter__hook(&hook, record);
	err = bpf_tc_query(&hook, &opts);
	if (err)
		return err;
	return is_ours(record, opts.prog_id) ? 0 : -EBUSY;
}

static void count_filter(const struct netlink_filter *filter, void *arg)
{
	(void)filter;
	++*(size_t *)arg;
}

/* Takes back the qdisc that we brought, unless somebody else has come to use it. */
static int remove_qdisc(const struct attach_record *record)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = record->ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	size_t filters = 0;
	char kind[16];
	int err = netlink__ingress_qdisc(record->ifindex, kind, sizeof(kind));

	if (err || strcmp(kind, "clsact"))
		return err;
	err = netlink__filters(record->ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
			       count_filter, &filters);
	if (!err)
		err = netlink__filters(record->ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS),
				       count_filter, &filters);
	return err || filters ? err : bpf_tc_hook_destroy(&hook);
}

int attach_filter__withdraw(int dir, const struct attach_record *record)
{
	struct bpf_tc_hook hook;
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = record->handle, .priority = record->priority);
	int err = 0;

	attach_filter__hook(&hook, record);
	if (!attach_filter__check(record))
		err = bpf_tc_detach(&hook, &opts);
	if (!err && record->qdisc)
		err = remove_qdisc(record);
	/* Interface, filter or qdisc went in between: what the kernel says then is one of these. */
	if (err == -ENODEV || err == -ENOENT || err == -EINVAL)
		err = 0;
	return err ? err : attach_record__remove(dir, record);
}

struct sweep {
	struct attach_record_owner self;
	int err;
};

static bool exists(const struct attach_record *record)
{
	bool found = false;

	for (int i = 0; i < 2 && !found; i++) {
		int fd = record->prog[i].id ? bpf_prog_get_fd_by_id(record->prog[i].id) : -ENOENT;

		found = fd != -ENOENT;
		if (fd >= 0)
			close(fd);
	}
	return found;
}

static void sweep(int dir, const struct attach_record *record, void *arg)
{
	struct sweep *state = arg;
	int err = 0;

	if (attach_record__alive(&record->owner, &state->self))
		return;
	if (strcmp(record->owner.boot, state->self.boot))
		err = attach_record__remove(dir, record);
	else if (record->owner.netns == state->self.netns)
		err = attach_filter__withdraw(dir, record);
	else if (
		!exists(record)) /* then its namespace is gone, most likely: programs are known everywhere by id */
		err = attach_record__remove(dir, record);
	if (err && !state->err)
		state->err = err;
}

int attach__sweep(void)
{
	struct sweep state = {.err = 0};
	int dir, err = attach_record__owner(&state.self);

	if (err)
		return err;
	err = attach_record__lock(false, &dir);
	if (err)
		return err == -ENOENT ? 0 : err;
	err = attach_record__each(dir, sweep, &state);
	attach_record__unlock(dir);
	return err ? err : state.err;
}
