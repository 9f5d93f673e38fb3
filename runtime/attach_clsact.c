/* SPDX-License-Identifier: Apache-2.0 */
#include "attach.h"

#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/types.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "attach_record.h"
#include "netlink.h"

#define PRIORITY 1000 /* of our filter when nobody else has one: room before and behind */
#define PRIORITY_MAX 65535
#define ATTEMPTS 8 /* while others attach to the same interface at the same moment */

struct clsact {
	struct attachment base; /* first: the table's functions get a pointer to it */
	struct attach_record record;
};

/* libbpf refuses a hook whose padding is not zero, so it is not copied about. */
static void set_hook(struct bpf_tc_hook *hook, const struct attach_record *record)
{
	memset(hook, 0, sizeof(*hook));
	hook->sz = sizeof(*hook);
	hook->ifindex = record->ifindex;
	hook->attach_point = record->parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)
				     ? BPF_TC_EGRESS
				     : BPF_TC_INGRESS;
}

static int identify(int prog_fd, struct attach_record_prog *prog)
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
	int fd = bpf_prog_get_fd_by_id(id), err = fd < 0 ? fd : identify(fd, &found);

	if (fd >= 0)
		close(fd);
	if (err)
		return false;
	for (int i = 0; i < 2; i++)
		if (found.id == record->prog[i].id && found.tag == record->prog[i].tag)
			return true;
	return false;
}

/* 0 with the id of the program in our place; anything else: there is no such filter. */
static int query(const struct attach_record *record, uint32_t *id)
{
	struct bpf_tc_hook hook;
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = record->handle, .priority = record->priority);
	int err;

	set_hook(&hook, record);
	err = bpf_tc_query(&hook, &opts);
	*id = opts.prog_id;
	return err;
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

/* Undoes what is on record, as far as it is still there, then the record itself. */
static int withdraw(int dir, const struct attach_record *record)
{
	struct bpf_tc_hook hook;
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = record->handle, .priority = record->priority);
	uint32_t id;
	int err = 0;

	set_hook(&hook, record);
	if (!query(record, &id) && is_ours(record, id))
		err = bpf_tc_detach(&hook, &opts);
	if (!err && record->qdisc)
		err = remove_qdisc(record);
	/* Interface, filter or qdisc went in between: what the kernel says then is one of these. */
	if (err == -ENODEV || err == -ENOENT || err == -EINVAL)
		err = 0;
	return err ? err : attach_record__remove(dir, record);
}

/* Ours brought the qdisc of that interface: whoever of us leaves last takes it away. */
static void inherit_qdisc(int dir, const struct attach_record *other, void *arg)
{
	struct attach_record *record = arg;

	(void)dir;
	if (other->qdisc && other->ifindex == record->ifindex &&
	    other->owner.netns == record->owner.netns &&
	    !strcmp(other->owner.boot, record->owner.boot))
		record->qdisc = true;
}

struct priorities {
	uint32_t lowest;
	unsigned char taken[PRIORITY_MAX / 8 + 1];
};

static void note_priority(const struct netlink_filter *filter, void *arg)
{
	struct priorities *p = arg;

	if (!filter->priority || filter->priority > PRIORITY_MAX)
		return;
	if (filter->priority < p->lowest)
		p->lowest = filter->priority;
	p->taken[filter->priority / 8] |= (unsigned char)(1U << filter->priority % 8);
}

/* Before everybody else if there is room, so that no verdict hides a packet from us; never a priority that is in use. */
static int choose_priority(struct attach_record *record)
{
	struct priorities p = {.lowest = PRIORITY + 1};
	uint32_t priority;
	int err = netlink__filters(record->ifindex, record->parent, note_priority, &p);

	if (err)
		return err;
	for (priority = p.lowest > 1 ? p.lowest - 1 : 1; priority <= PRIORITY_MAX; priority++)
		if (!(p.taken[priority / 8] & 1U << priority % 8))
			break;
	record->priority = priority;
	return priority > PRIORITY_MAX ? -ENOSPC : 0;
}

/* -EAGAIN: somebody else was quicker, look again. */
static int try_attach(int dir, struct attach_record *record, int prog_fd)
{
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog_fd, .handle = record->handle);
	struct bpf_tc_hook hook;
	bool create;
	char kind[16];
	int err = netlink__ingress_qdisc(record->ifindex, kind, sizeof(kind));

	if (err)
		return err;
	set_hook(&hook, record);
	if (!strcmp(kind, "ingress") && hook.attach_point == BPF_TC_EGRESS)
		return -EBUSY; /* it would take our filter, and show it what comes in */
	create = !kind[0];
	record->qdisc = create;
	record->priority = PRIORITY;
	if (!create) {
		err = attach_record__each(dir, inherit_qdisc, record);
		if (!err)
			err = choose_priority(record);
	}
	if (!err)
		err = attach_record__write(dir, record);
	if (err)
		return err;
	opts.priority = record->priority;
	if (create)
		err = bpf_tc_hook_create(&hook);
	if (create && err == -EEXIST) { /* not ours, then */
		attach_record__remove(dir, record);
		return -EAGAIN;
	}
	if (!err)
		err = bpf_tc_attach(&hook, &opts);
	if (err)
		withdraw(dir, record);
	return err == -EEXIST ? -EAGAIN : err;
}

static int explain(int err, const struct attach_record *record, struct error *error)
{
	switch (err) {
	case -ENODEV:
		return error__set(error, err, "there is no interface with index %d",
				  record->ifindex);
	case -EPERM:
		error__set(error, err, "not permitted to attach to %s", record->ifname);
		return error__hint(error, err,
				   "run as root or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON");
	case -EBUSY:
		error__set(error, err,
			   "%s has a qdisc of kind ingress, in whose place clsact would be",
			   record->ifname);
		return error__hint(error, err,
				   "use the hook tc.ingress, or replace that qdisc by clsact");
	case -ENOENT:
	case -EOPNOTSUPP:
		return error__set(error, -EOPNOTSUPP,
				  "this kernel lacks the clsact qdisc or BPF filters");
	default:
		return error__set(error, err, "cannot attach to %s by clsact: %s", record->ifname,
				  strerror(-err));
	}
}

static int attach(enum hook hook, int ifindex, int prog_fd, struct attachment **out,
		  struct error *error)
{
	struct clsact *clsact = calloc(1, sizeof(*clsact));
	struct attach_record *record;
	int dir, err;

	if (!clsact)
		return error__set(error, -ENOMEM, "out of memory");
	clsact->base = (struct attachment){.ops = &attach_clsact, .hook = hook, .ifindex = ifindex};
	record = &clsact->record;
	record->ifindex = ifindex;
	record->parent = TC_H_MAKE(TC_H_CLSACT,
				   hook == HOOK_TC_EGRESS ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
	record->handle = (uint32_t)getpid(); /* in case two of us choose one priority */
	err = if_indextoname((unsigned int)ifindex, record->ifname)
		      ? attach_record__owner(&record->owner)
		      : -ENODEV;
	if (!err)
		err = identify(prog_fd, &record->prog[0]);
	if (err) {
		explain(err, record, error);
		goto out;
	}
	err = attach_record__lock(true, &dir);
	if (err) {
		error__set(error, err, "cannot keep a record in " ATTACH_RECORD_DIR ": %s",
			   strerror(-err));
		goto out;
	}
	err = -EAGAIN;
	for (int i = 0; i < ATTEMPTS && err == -EAGAIN; i++)
		err = try_attach(dir, record, prog_fd);
	attach_record__unlock(dir);
	if (err)
		err = explain(err, record, error);
out:
	if (err)
		free(clsact);
	else
		*out = &clsact->base;
	return err;
}

static int exchange(int dir, struct attach_record *record, int prog_fd)
{
	struct bpf_tc_hook hook;
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog_fd, .flags = BPF_TC_F_REPLACE,
		    .handle = record->handle, .priority = record->priority);
	uint32_t id;
	int err = query(record, &id);

	set_hook(&hook, record);
	if (err)
		return err;
	if (!is_ours(record, id))
		return -EBUSY;
	err = identify(prog_fd, &record->prog[1]);
	if (!err)
		err = attach_record__write(dir, record);
	if (!err)
		err = bpf_tc_attach(&hook, &opts);
	if (!err)
		record->prog[0] = record->prog[1];
	record->prog[1] = (struct attach_record_prog){0};
	attach_record__write(
		dir, record); /* when it fails, the one on file names both, which is no harm */
	return err;
}

static int replace(struct attachment *attachment, int prog_fd, struct error *error)
{
	struct clsact *clsact = (struct clsact *)attachment;
	int dir, err = attach_record__lock(true, &dir);

	if (!err) {
		err = exchange(dir, &clsact->record, prog_fd);
		attach_record__unlock(dir);
	}
	if (err == -EBUSY)
		return error__set(error, err, "somebody else's filter is in our place on %s",
				  clsact->record.ifname);
	return err ? error__set(error, err, "the filter on %s cannot be replaced: %s",
				clsact->record.ifname, strerror(-err))
		   : 0;
}

static int detach(struct attachment *attachment)
{
	struct clsact *clsact = (struct clsact *)attachment;
	int dir, err = attach_record__lock(true, &dir);

	if (!err) {
		err = withdraw(dir, &clsact->record);
		attach_record__unlock(dir);
	}
	free(clsact);
	return err;
}

const struct attach_ops attach_clsact = {
	.mode = ATTACH_CLSACT,
	.name = "clsact",
	.attach = attach,
	.replace = replace,
	.detach = detach,
};

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
		err = withdraw(dir, record);
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
