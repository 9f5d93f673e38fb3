/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Wall-clock time of a packet: from the boot clock (it goes on while the machine sleeps) plus an offset that the runtime keeps
 * right; in a replay, the capture's time. Asked once a packet however many templates want it; costs 35 to 45 ns then.
 */
#ifndef PERILUNE_CLOCK_H
#define PERILUNE_CLOCK_H

static __always_inline wall_ns clock__wall(struct packet *p)
{
	if (!p->time) {
		wall_ns now = ctl.now;

		p->time = now ? now : bpf_ktime_get_boot_ns() + ctl.wall_offset;
	}
	return p->time;
}

/*
 * The first and the last time of what a row counts: its members `first` and `last`. A row that CPUs share is made with `first` set, so
 * that none of them sees it without one.
 */
#define clock__span(ROW, NOW)                                                                      \
	do {                                                                                       \
		wall_ns now_ = (NOW);                                                              \
                                                                                                   \
		if (!(ROW)->first || now_ < (ROW)->first)                                          \
			(ROW)->first = now_;                                                       \
		if (now_ > (ROW)->last)                                                            \
			(ROW)->last = now_;                                                        \
	} while (0)

#endif
