/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Histograms of times, by powers of two of microseconds: class 0 below 1 µs, class i from 2^(i-1) up to below 2^i µs, the last one
 * also all above. A record has them as `__u64 name[TIME_CLASSES]`.
 */
#ifndef PERILUNE_HISTOGRAM_H
#define PERILUNE_HISTOGRAM_H

#define TIME_CLASSES 25 /* the last from 8.4 s on */

/* How many bits a number below 2^32 has. Without a branch: the verifier would follow each length by itself. */
static __always_inline __u32 bits__of(__u64 value)
{
	__u32 bits = 0, more;

	more = ((0xffff - value) >> 63) << 4;
	value >>= more;
	bits += more;
	more = ((0xff - value) >> 63) << 3;
	value >>= more;
	bits += more;
	more = ((0xf - value) >> 63) << 2;
	value >>= more;
	bits += more;
	more = ((3 - value) >> 63) << 1;
	value >>= more;
	bits += more;
	more = (1 - value) >> 63;
	value >>= more;
	return bits + more + value;
}

static __always_inline __u32 time__class(__u64 ns)
{
	__u64 us = ns / 1000, most = (1ULL << (TIME_CLASSES - 1)) - 1;
	__u32 class = bits__of(us < most ? us : most);

	asm volatile(
		""
		: "+r"(class)); /* the compiler knows that it is small enough, the verifier not */
	return class < TIME_CLASSES ? class : TIME_CLASSES - 1;
}

#endif
