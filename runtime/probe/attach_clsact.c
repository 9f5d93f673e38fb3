/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/attach.h"

#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/types.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "base/netlink.h"
#include "probe/attach_filter.h"
#include "probe/attach_record.h"

#define PRIORITY 1000 /* of our filter when nobody else has one: room before and behind */
#define PRIORITY_MAX 65535
#define ATTEMPTS 8 /* while others attach to the same interface at the same moment */

struct clsact {
	struct attachment base; /* first: the table's functions get a pointer to it */
	struct attach_record record;
};

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
	attach_filter__hook(&hook, record);
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
		attach_filter__withdraw(dir, record);
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
		err = attach_filter__identify(prog_fd, &record->prog[0]);
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
	int err = attach_filter__check(record);

	attach_filter__hook(&hook, record);
	if (err)
		return err;
	err = attach_filter__identify(prog_fd, &record->prog[1]);
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
		err = attach_filter__withdraw(dir, &clsact->record);
		attach_record__unlock(dir);
	}
	free(clsact);
	return err;
}

static bool alive(const struct attachment *attachment)
{
	return !attach_filter__check(&((const struct clsact *)attachment)->record);
}

const struct attach_ops attach_clsact = {
	.mode = ATTACH_CLSACT,
	.name = "clsact",
	.attach = attach,
	.replace = replace,
	.detach = detach,
	.alive = alive,
};
