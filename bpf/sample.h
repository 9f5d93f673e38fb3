/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * A probe that looks at one packet in so many. Gaps between them are random, from none to twice the mean, so that nothing periodic
 * hides. Each CPU draws its own; a replay has one for all, so that it always takes the same packets.
 */
#ifndef PERILUNE_SAMPLE_H
#define PERILUNE_SAMPLE_H

struct sampler {
	__u32 skip; /* packets to pass over before the next one */
	__u32 seed;
};

#ifdef HOOK_REPLAY
#define SAMPLER_MAP BPF_MAP_TYPE_ARRAY /* whichever CPU a frame is replayed on */
#else
#define SAMPLER_MAP BPF_MAP_TYPE_PERCPU_ARRAY
#endif

#define SAMPLER(MAP)                                                                               \
	struct {                                                                                   \
		__uint(type, SAMPLER_MAP);                                                         \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, struct sampler);                                                     \
	} MAP SEC(".maps")

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
