/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How soon this thread runs once it is woken, where other threads want its CPU.
 *
 * By default the scheduler lets each run for some ms at a stretch, and whoever wakes may have to wait for that. Who asks for short
 * stretches is let in before those who have long ones (EEVDF, since Linux 6.12), without getting more of the CPU in all, so it needs no
 * privilege. Threads and children begun later have the default again.
 */
#ifndef PERILUNE_URGENCY_H
#define PERILUNE_URGENCY_H

/* From now on. 0, or -errno where the kernel knows no such thing: then it is as it was. */
int urgency__begin(void);

#endif
