/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A clsact filter as it is on record: finding it, telling whether it is still ours, taking it back. The sweep of what
 * dead processes left is made of these (attach__sweep in attach.h).
 *
 * All are called with the lock on the records held.
 */
#ifndef PERILUNE_ATTACH_FILTER_H
#define PERILUNE_ATTACH_FILTER_H

#include <linux/types.h>

#include <bpf/libbpf.h>

#include "probe/attach_record.h"

/* Where the filter is. libbpf refuses a hook whose padding is not zero, so do not copy it about. */
void attach_filter__hook(struct bpf_tc_hook *hook, const struct attach_record *record);

int attach_filter__identify(int prog_fd, struct attach_record_prog *prog);

/* 0: one of the programs on record is in the filter's place; -EBUSY: somebody else's is; else there is no such filter. */
int attach_filter__check(const struct attach_record *record);

/* Undoes what is on record, as far as it is still there and ours, then removes the record itself. */
int attach_filter__withdraw(int dir, const struct attach_record *record);

#endif
