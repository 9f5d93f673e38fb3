/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * A probe that looks at one packet in so many. Gaps between them are random, from none to twice the mean, so that nothing periodic
 * hides; each CPU draws its own, from the same start, so a replay always takes the same packets.
 */
#ifndef PERILUNE_SAMPLE_H
#define PERILUNE_SAMPLE_H

struct sampler {
	__u32 skip; /* packets to pass over before the next one */
	__u32 seed;
};

#define SAMPLER(MAP) SCRATCH(MAP, struct sampler)

/* Whether this packet is one of those in `one_in` that are looked at. */
static __always_inline bool sample__takes(void *map, __u32 one_in)
{
	struct sampler *sampler = scratch__value(map);

	if (!sampler)
		return false;
	if (sampler->skip) {
		sampler->skip--;
		return false;
	}
	sampler->seed = sampler->seed * 1664525 + 1013904223; /* Numerical Recipes' generator */
	sampler->skip = (__u64)sampler->seed * (2 * one_in - 1) >> 32;
	return true;
}

#endif
