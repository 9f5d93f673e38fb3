/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Triggers: a rule's condition tested by the packets themselves, so that the very next one goes deeper.
 *
 * A level's generated function looks at the counters that a condition reads before and after its templates, and gives what this packet has
 * changed to NAME_count. There it is added to the sums of a slice of time, which all CPUs share: the condition is about the traffic of the
 * hook, not of a CPU. A packet that changes none of the counters pays 2 to 5 ns for looking at them (`perilune bench packet`); one that
 * does, some 30 for an atomic addition each, the coarse clock and the test. CPUs do not fight for the sums for long, however many they are:
 * what adds to them is what the condition waits for, so when it comes fast, the trigger has tripped. Sums of each CPU's own would have to be
 * added up at every test, or be late by what no CPU has told yet.
 *
 * A slice begins with the first packet that counts after the last one is over, and its end is seen by the kernel's coarse clock, so it may be a
 * tick longer than it should (1 to 10 ms). A condition that becomes true when enough is counted ("early") is tested at every packet that
 * counts, and then the exact clock is asked: it never trips by what came after the slice's end. Any other is tested once, when the slice is over,
 * by the next packet; a slice after which nothing came for as long again is forgotten.
 *
 * A trip is told once a slice. If the runtime allows it (ctl.raising) and the packet's level is still in force, it raises the level, by one
 * compare-and-swap of the control word: with a new epoch when the other half is clean (ctl.ready), so that the window ends at this packet and
 * each has one level; otherwise without, and the runtime ends that window as soon as it can (runtime/probe/window.h).
 */
#ifndef PERILUNE_TRIGGER_H
#define PERILUNE_TRIGGER_H

#define TRIGGER_FIELDS 6 /* counters of a condition */
#define TRIGGER_SLICES                                                                             \
	4 /* places for sums: of the slice that goes on, the one before, one that is clean, one for late packets */
#define TRIGGER_TRIES                                                                              \
	4 /* compare-and-swaps, of which one fails only when somebody else's did not */

struct trigger_sums {
	__u64 by[TRIGGER_FIELDS];
	__u64 told;
	__u64 pad;
};

struct trigger_slices {
	__u64 end; /* ns; its lowest two bits are the slice's place in `sums` */
	__u64 pad_line[7];
	struct trigger_sums sums[TRIGGER_SLICES];
} __attribute__((aligned(64)));

/* What a trigger is, all constants: its bit in the control block, its slices in ns, how many counters, and where it leads. */
struct trigger {
	__u32 index;
	__u32 fields;
	__u64 slice;
	bool early;
	__u8 to; /* level; that of the packet when it leads nowhere */
};

/* What the runtime is told of a trip. */
struct trigger_event {
	__u64 time;		  /* CLOCK_MONOTONIC, in whole µs; in a replay the capture's */
	__u64 by[TRIGGER_FIELDS]; /* what the slice had counted */
	__u32 epoch;		  /* in force afterwards */
	__u8 trigger;
	__u8 from, to; /* levels; the same when it was not raised */
	__u8 flipped;  /* a window began with this */
};

#ifdef HOOK_TRIGGERS

struct trigger_event *const trigger__event_in_btf = 0;

RING(trigger_events, 65536);

static __always_inline __u64 trigger__coarse(void)
{
	__u64 now = ctl.now;

	return now ? now : bpf_ktime_get_coarse_ns();
}

static __always_inline __u64 trigger__exact(void)
{
	__u64 now = ctl.now;

	return now ? now : bpf_ktime_get_ns();
}

/* A new slice begins at `now`, after the one that ended at `end`. Returns its end; that of another CPU's when that was faster. */
static __always_inline __u64 trigger__begin(struct trigger_slices *s, __u64 end, __u64 now,
					    __u64 length, bool *first)
{
	__u64 next = ((now + length) & ~3ULL) | ((end + 1) & 3);
	__u64 seen = __sync_val_compare_and_swap(&s->end, end, next);

	*first = seen == end;
	if (!*first)
		return seen;
	/* The place of the slice after this one: whoever still adds there is three slices late. */
	__builtin_memset(&s->sums[(next + 1) & 3], 0, sizeof(s->sums[0]));
	return next;
}

static __always_inline void trigger__add(struct trigger_sums *sums, const struct trigger_sums *more,
					 struct trigger_sums *now, const __u32 fields)
{
	for (__u32 i = 0; i < fields; i++) {
		if (more->by[i])
			now->by[i] = __sync_fetch_and_add(&sums->by[i], more->by[i]) + more->by[i];
		else
			now->by[i] = *(volatile __u64 *)&sums->by[i];
	}
}

/* Raises the level for a packet of level `from`. The event says what has come of it. */
static __always_inline void trigger__raise(const struct trigger t, __u8 from, __u64 now,
					   struct trigger_event *event)
{
	union ctl_state was, next;

	for (int i = 0; i < TRIGGER_TRIES; i++) {
		was.both = *(volatile __u64 *)&ctl.state.both;
		event->epoch = was.epoch;
		if (was.level != from || !(ctl.raising >> t.index & 1))
			return; /* somebody has raised it already, or nobody is to */
		next = was;
		next.level = t.to;
		if (*(volatile __u32 *)&ctl.ready == was.epoch + 1)
			next.epoch++;
		if (!ctl.now) /* alive as of now: the deeper level's lease runs from here */
			ctl.renewed = bpf_ktime_get_coarse_ns();
		if (__sync_val_compare_and_swap(&ctl.state.both, was.both, next.both) != was.both)
			continue;
		event->to = t.to;
		event->epoch = next.epoch;
		event->flipped = next.epoch != was.epoch;
		if (event->flipped) {
			ctl.flipped_at = now;
			ctl.flipped_to = t.to;
			__sync_lock_test_and_set(&ctl.flipped, next.epoch);
		}
		return;
	}
}

/* Whether the level was raised. */
static __always_inline bool trigger__trip(const struct trigger t, struct trigger_sums *slice,
					  const struct trigger_sums *sums, __u64 now, __u32 half,
					  __u8 from)
{
	struct trigger_event event = {.time = now / 1000,
				      .trigger = t.index,
				      .from = from,
				      .to = from};

	if (__sync_fetch_and_or(&slice->told, 1))
		return false;
	for (__u32 i = 0; i < t.fields; i++)
		event.by[i] = sums->by[i];
	trigger__raise(t, from, now, &event);
	ring__send(&trigger_events, &trigger_events_lost, half, &event, sizeof(event));
	return event.to != from;
}

static __always_inline int trigger__count_early(const struct trigger t, struct trigger_slices *s,
						const struct trigger_sums *more, __u32 half,
						__u8 from,
						bool (*holds)(const struct trigger_sums *))
{
	struct trigger_sums sums;
	__u64 end = *(volatile __u64 *)&s->end, now;
	bool first;

	if (trigger__coarse() >= end)
		end = trigger__begin(s, end, trigger__exact(), t.slice, &first);
	trigger__add(&s->sums[end & 3], more, &sums, t.fields);
	if (!holds(&sums))
		return 0;
	now = trigger__exact();
	if (now < end)
		return trigger__trip(t, &s->sums[end & 3], &sums, now, half, from);
	/* The slice is over, though the coarse clock has not ticked since: this packet is the next one's. */
	end = trigger__begin(s, end, now, t.slice, &first);
	trigger__add(&s->sums[end & 3], more, &sums, t.fields);
	return 0;
}

static __always_inline int trigger__count_whole(const struct trigger t, struct trigger_slices *s,
						const struct trigger_sums *more, __u32 half,
						__u8 from,
						bool (*holds)(const struct trigger_sums *))
{
	struct trigger_sums sums, *over;
	__u64 end = *(volatile __u64 *)&s->end, now, next = end;
	bool first = false, raised = false;

	if (trigger__coarse() >= end) {
		now = trigger__exact();
		next = trigger__begin(s, end, now, t.slice, &first);
		if (first && now < end + t.slice) {
			over = &s->sums[end & 3];
			sums = *over;
			if (holds(&sums))
				raised = trigger__trip(t, over, &sums, now, half, from);
		}
	}
	trigger__add(&s->sums[next & 3], more, &sums, t.fields);
	return raised;
}

/*
 * NAME_count(more, half, from): what a packet of level `from` has added to the counters; 1 when it has raised the level. NAME_holds is the
 * condition. A function of its own, so that looking is all that a level has in its way.
 */
#define TRIGGER(NAME, HOW, ...)                                                                    \
	struct trigger_slices NAME##_slices;                                                       \
	__noinline int NAME##_count(const struct trigger_sums *more, __u32 half, __u32 from)       \
	{                                                                                          \
		const struct trigger t = {__VA_ARGS__};                                            \
                                                                                                   \
		if (!more || !(ctl.armed >> t.index & 1))                                          \
			return 0;                                                                  \
		return trigger__count_##HOW(t, &NAME##_slices, more, half, (__u8)from,             \
					    NAME##_holds);                                         \
	}

/* The counters of this packet: a value of MAP, an array of which each CPU has its own. */
#define TRIGGER_LOOK(MAP, HALF, ENTRIES, INDEX)                                                    \
	({                                                                                         \
		_Static_assert(sizeof(*MAP.type) / sizeof(int) == BPF_MAP_TYPE_PERCPU_ARRAY,       \
			       "a trigger's counters are each CPU's own");                         \
		(typeof(*MAP.value) *)half__value(&MAP, HALF, ENTRIES, INDEX);                     \
	})

#endif
#endif
