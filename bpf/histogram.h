/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Histograms of times, by powers of two of microseconds: class 0 below 1 µs, class i from 2^(i-1) up to below 2^i µs, the last one
 * also all above. A record has them as `__u64 name[TIME_CLASSES]`.
 */
#ifndef PERILUNE_HISTOGRAM_H
#define PERILUNE_HISTOGRAM_H

#define TIME_CLASSES 25 /* the last from 8.4 s on */

static __always_inline __u32 time__class(__u64 ns)
{
	__u64 us = ns / 1000;
	__u32 class = 0;

	for (; us && class < TIME_CLASSES - 1; us >>= 1)
		class ++;
	return class;
}

#endif
