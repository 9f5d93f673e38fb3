/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * A probe that looks at one packet in so many, and counts each as that many: its rows are estimates of all packets, and no reader has to
 * scale anything. TCP's SYN, FIN and RST are always looked at, and count once: how often connections begin and end is exact.
 *
 * Gaps between the others are random, from none to twice the mean, so that nothing periodic hides. Each CPU draws its own; a replay has
 * one for all, so that it always takes the same packets.
 *
 * A template counts weighted(p, n) where a packet is n of something. Generated programs that sample define HOOK_SAMPLES, and
 * PROBE_SAMPLED as 0 or 1 around each template.
 */
#ifndef PERILUNE_SAMPLE_H
#define PERILUNE_SAMPLE_H

struct sampler {
	__u32 skip; /* packets to pass over before the next one */
	__u32 seed;
	__u32 one_in; /* the rate that `skip` was drawn for; 0: none yet */
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

#ifdef HOOK_SAMPLES
#define weighted(P, N) (PROBE_SAMPLED ? (__u64)(P)->weight * (N) : (N))
#else
#define weighted(P, N) (N)
#endif

static __always_inline bool sample__is_kept(const struct packet *p)
{
	__u8 flags = p->tcp_flags;

#ifdef HOOK_TUNNELS
	if (p->inner)
		flags |= p->inner->tcp_flags;
#endif
	return flags & (TCP_SYN | TCP_FIN | TCP_RST);
}

/* One of the numbers below `count`, all alike. */
static __always_inline __u32 sampler__draw(struct sampler *sampler, __u32 count)
{
	sampler->seed = sampler->seed * 1664525 + 1013904223; /* Numerical Recipes' generator */
	return (__u64)sampler->seed * count >> 32;
}

/* From one packet that is taken to the next. */
static __always_inline __u32 sampler__gap(struct sampler *sampler, __u32 one_in)
{
	return sampler__draw(sampler, 2 * one_in - 1);
}

/*
 * At a new rate the first gap is what is left of one that has begun at some time before, or the first packets would count too much: the
 * chance of r is as that of gaps longer than r, so that of the lesser of two different numbers.
 */
static __always_inline void sampler__begin(struct sampler *sampler, __u32 one_in)
{
	__u32 one = sampler__draw(sampler, 2 * one_in);
	__u32 other = sampler__draw(sampler, 2 * one_in - 1);

	sampler->skip = one < other ? one : other;
	sampler->one_in = one_in;
}

/* A probe's rate, thinned as often as the state says, but at most so often. */
static __always_inline __u32 sample__rate(__u32 one_in, __u8 thin, const __u8 most)
{
	return one_in << (thin < most ? thin : most);
}

/*
 * How many packets this one stands for; 0: it is passed over. `one_in` is at most 2^30; `fixed`, known when the program is compiled:
 * that it is always the same.
 */
static __always_inline __u32 sample__weight(void *map, const struct packet *p, __u32 one_in,
					    const bool fixed)
{
	struct sampler *sampler;

	if (sample__is_kept(p) || one_in == 1)
		return 1;
	sampler = scratch__value(map);
	if (!sampler)
		return 0;
	if (!fixed && sampler->one_in != one_in)
		sampler__begin(sampler, one_in);
	if (sampler->skip) {
		sampler->skip--;
		return 0;
	}
	if (fixed && !sampler->one_in) {
		sampler__begin(sampler, one_in);
		if (sampler->skip) {
			sampler->skip--;
			return 0;
		}
	}
	sampler->skip = sampler__gap(sampler, one_in);
	return one_in;
}

#endif
