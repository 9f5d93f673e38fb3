/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What happens to every packet of a hook before and after its level's templates see it.
 *
 * A generated root program reads the control block once and calls the level in force, a global
 * function, so that the verifier proves each level by itself and names it when it does not hold. A
 * level makes a `struct packet` of its context, counts it in the hook's totals, and hands it to its
 * templates.
 */
#ifndef PERILUNE_HOOK_H
#define PERILUNE_HOOK_H

/* Chained after another program's verdict: TCX's "next", clsact's "unspecified"; both let the
 * packet pass on. */
#define TC_PASS (-1)

struct ctl ctl SEC(".data.ctl");

/* What a hook saw in a window, counted for every packet whatever the level. */
struct hook_totals {
	__u64 packets; /* segments on the wire */
	__u64 skbs;    /* what the hook saw */
	__u64 bytes;   /* IP octets of all segments */
	__u64 frame_bytes;
	__u64 not_ip; /* these three in packets: no row of any template counts them */
	__u64 truncated;
	__u64 malformed;
	/* Packets that were parsed all the same, by enum flaw. */
	__u64 bad_length;
	__u64 bad_headers;
	__u64 bad_transport;
};

WINDOWED_ARRAY(hook_totals, struct hook_totals, 2);

static __always_inline void hook__count(const struct packet *p)
{
	struct hook_totals *totals = half__value(&hook_totals, p->half, 2, p->direction);

	if (!totals)
		return;
	count__own(totals->packets, p->segments);
	count__own(totals->skbs, 1);
	count__own(totals->bytes, packet__bytes(p));
	count__own(totals->frame_bytes, packet__frame_bytes(p));
	if (p->parsed == PARSED_NOT_IP)
		count__own(totals->not_ip, p->segments);
	else if (p->parsed == PARSED_TRUNCATED)
		count__own(totals->truncated, p->segments);
	else if (p->parsed == PARSED_MALFORMED)
		count__own(totals->malformed, p->segments);
	else if (p->flaw == FLAW_LENGTH)
		count__own(totals->bad_length, p->segments);
	else if (p->flaw == FLAW_HEADERS)
		count__own(totals->bad_headers, p->segments);
	else if (p->flaw == FLAW_TRANSPORT)
		count__own(totals->bad_transport, p->segments);
}

/* The state for this packet. */
static __always_inline union ctl_state hook__state(void)
{
	return (union ctl_state){.both = *(volatile __u64 *)&ctl.state.both};
}

/* Whether nothing has been heard of the runtime for longer than a level's lease (ns): then the base level runs in its place. */
static __always_inline bool hook__overdue(__u64 lease)
{
	__u64 renewed = *(volatile __u64 *)&ctl.renewed;

	return renewed && bpf_ktime_get_coarse_ns() > renewed + lease;
}

/*
 * What a level is told of the state, in a register: the epoch; where a budget may thin or shed probes (HOOK_BUDGET), all of it.
 */
#ifdef HOOK_BUDGET
typedef __u64 hook_state;
#define hook__told(STATE) ((STATE).both)

static __always_inline union ctl_state hook__of(hook_state told)
{
	return (union ctl_state){.both = told};
}

static __always_inline void packet__spare(struct packet *p, union ctl_state state)
{
	p->thin = state.thin;
	p->shed = state.shed;
}
#else
typedef __u32 hook_state;
#define hook__told(STATE) ((STATE).epoch)

static __always_inline union ctl_state hook__of(hook_state told)
{
	return (union ctl_state){.epoch = told};
}

static __always_inline void packet__spare(struct packet *p, union ctl_state state)
{
	(void)p, (void)state;
}
#endif

#ifdef PERILUNE_TEST_DELAY
/* Test builds stretch the time between reading the epoch and counting, to show what the grace
 * period is for. */
static int hook__nothing(__u32 i, void *arg)
{
	(void)i;
	(void)arg;
	return 0;
}

static __always_inline void hook__delay(void)
{
	bpf_loop(PERILUNE_TEST_DELAY, hook__nothing, NULL, 0);
}
#else
static __always_inline void hook__delay(void)
{
}
#endif

#define HEADERS_PULLED 256 /* bytes made linear when headers are not, */
#define TUNNELS_PULLED 768 /* and when those inside a tunnel are not */
#define TUNNELS_MAX 3	   /* tunnels in tunnels that are followed */

/* How many packets on the wire this skb is (Linux: skb_shared_info.gso_segs, which a guest or tun
 * may leave 0). */
static __always_inline __u32 skb__segments(const struct __sk_buff *skb)
{
	__u32 segments = skb->gso_segs, size = skb->gso_size;

	if (segments)
		return segments;
	return size ? (skb->len + size - 1) / size : 1;
}

static __always_inline __u32 skb__beside(const struct __sk_buff *skb)
{
	return skb->vlan_present ? sizeof(struct vlan_tag) : 0;
}

static __always_inline void packet__fresh(struct packet *p, __u32 wire, __u32 segments)
{
	__builtin_memset(p, 0, sizeof(*p));
	p->wire = wire;
	p->segments = segments;
}

/* As it was before it was parsed. */
static __always_inline void packet__again(struct packet *p)
{
	__u8 half = p->half, direction = p->direction;

	packet__fresh(p, 0, 0);
	p->half = half;
	p->direction = direction;
}

static __always_inline void skb__begin(struct packet *p, const struct __sk_buff *skb,
				       const __u32 needs)
{
	packet__again(p);
	p->wire = skb->len;
	p->segments = skb__segments(skb);
	if ((needs & NEED_VLAN) && skb->vlan_present)
		parse__note_tag(p, skb->vlan_tci);
}

static __always_inline bool skb__is_linear(const struct __sk_buff *skb)
{
	return (void *)(long)skb->data_end - (void *)(long)skb->data >= skb->len;
}

static __always_inline long skb__pull(struct __sk_buff *skb, __u32 bytes)
{
	return bpf_skb_pull_data(skb, skb->len < bytes ? skb->len : bytes);
}

#if defined(HOOK_REPLAY) || defined(HOOK_WITHOUT_BTF)
/*
 * A replay's frames lie in one piece, as far as headers can reach. And libbpf looks for a kernel's function in the kernel's BTF only: where
 * there is none, a program that names one is not loaded.
 */
static __always_inline bool xdp__pull(struct xdp_md *xdp, __u32 bytes)
{
	(void)xdp, (void)bytes;
	return false;
}
#else
/* Linux 6.18. Without it, of a frame in several buffers only what lies in the first is parsed. */
extern int bpf_xdp_pull_data(struct xdp_md *xdp, __u32 bytes) __attribute__((weak)) SEC(".ksyms");

static __always_inline bool xdp__pull(struct xdp_md *xdp, __u32 bytes)
{
	__u32 whole = bpf_xdp_get_buff_len(xdp);
	bool linear = (void *)(long)xdp->data_end - (void *)(long)xdp->data >= whole;

	return bpf_xdp_pull_data && !linear &&
	       !bpf_xdp_pull_data(xdp, whole < bytes ? whole : bytes);
}
#endif

/*
 * Parsing is global functions of each level: the verifier proves them once and goes on behind them with one state instead of one
 * for every shape a packet can have. They return 1 when headers were missed that lie behind the linear part; those are rare (a packet
 * ring's frames have them), and pulled only when missed.
 */
#define PARSE_IP(NAME, CONTEXT, NEEDS)                                                             \
	__noinline int NAME##_ip(CONTEXT *ctx, struct packet *p)                                   \
	{                                                                                          \
		void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;          \
                                                                                                   \
		return p && parse__ip(p, data, end, NEEDS);                                        \
	}

#define PARSE_TC(NAME, NEEDS)                                                                      \
	__noinline int NAME##_link(struct __sk_buff *skb, struct packet *p)                        \
	{                                                                                          \
		void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;          \
                                                                                                   \
		if (!p)                                                                            \
			return 0;                                                                  \
		skb__begin(p, skb, NEEDS);                                                         \
		return parse__link(p, data, end, NEEDS) && !skb__is_linear(skb);                   \
	}                                                                                          \
	PARSE_IP(NAME, struct __sk_buff, NEEDS)                                                    \
	static __always_inline void NAME##_packet(struct packet *p, struct __sk_buff *skb)         \
	{                                                                                          \
		if ((NAME##_link(skb, p) || (NAME##_ip(skb, p) && !skb__is_linear(skb))) &&        \
		    !skb__pull(skb, HEADERS_PULLED)) {                                             \
			NAME##_link(skb, p);                                                       \
			NAME##_ip(skb, p);                                                         \
		}                                                                                  \
		p->wire += skb__beside(skb); /* the tag that the kernel keeps beside the frame */  \
		p->link += skb__beside(skb);                                                       \
	}

#define PARSE_XDP(NAME, NEEDS)                                                                     \
	__noinline int NAME##_link(struct xdp_md *xdp, struct packet *p)                           \
	{                                                                                          \
		void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;          \
                                                                                                   \
		if (!p)                                                                            \
			return 0;                                                                  \
		p->wire = ctl.wire ? ctl.wire : bpf_xdp_get_buff_len(xdp);                         \
		p->segments = 1; /* merging happens behind XDP */                                  \
		return parse__link(p, data, end, NEEDS);                                           \
	}                                                                                          \
	PARSE_IP(NAME, struct xdp_md, NEEDS)                                                       \
	static __always_inline void NAME##_packet(struct packet *p, struct xdp_md *xdp)            \
	{                                                                                          \
		if ((NAME##_link(xdp, p) || NAME##_ip(xdp, p)) &&                                  \
		    xdp__pull(xdp, HEADERS_PULLED)) {                                              \
			packet__again(p);                                                          \
			NAME##_link(xdp, p);                                                       \
			NAME##_ip(xdp, p);                                                         \
		}                                                                                  \
	}

/*
 * The headers inside a tunnel, as a function of their own. NAME_tunnel fills `inner` with the innermost that are IP, and says whether
 * there are any.
 */
#define PARSE_INSIDE(NAME, CONTEXT, MORE, NEEDS)                                                   \
	__noinline int NAME##_inside(CONTEXT *ctx, struct packet *inner, __u32 at, __u32 type)     \
	{                                                                                          \
		void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;          \
                                                                                                   \
		if (!inner || at > PARSE_AT_MAX || at > inner->wire)                               \
			return 0;                                                                  \
		return parse__inside(inner, data, end, at, type, NEEDS);                           \
	}                                                                                          \
	/* A level of tunnels; `wire`: where the packet ends that carries it. */                   \
	static __always_inline bool NAME##_look(struct packet *inner, CONTEXT *ctx, __u32 wire,    \
						__u32 segments, __u32 at, __be16 type)             \
	{                                                                                          \
		packet__fresh(inner, wire, segments);                                              \
		if ((NAME##_inside(ctx, inner, at, type) || NAME##_ip(ctx, inner)) && MORE(ctx)) { \
			packet__fresh(inner, wire, segments);                                      \
			NAME##_inside(ctx, inner, at, type);                                       \
			NAME##_ip(ctx, inner);                                                     \
		}                                                                                  \
		return inner->parsed == PARSED;                                                    \
	}                                                                                          \
	static __always_inline bool NAME##_tunnel(struct packet *inner, CONTEXT *ctx,              \
						  const struct packet *p, __u32 beside)            \
	{                                                                                          \
		__u32 at = p->tunnel_at, wire = p->link - beside + p->ip;                          \
		__u32 found_at = 0, found_wire = 0;                                                \
		__be16 type = p->tunnel_type, found_type = 0;                                      \
                                                                                                   \
		for (int i = 0; i < TUNNELS_MAX; i++) {                                            \
			if (!NAME##_look(inner, ctx, wire, p->segments, at, type))                 \
				break;                                                             \
			if (!inner->tunnel)                                                        \
				return true;                                                       \
			found_at = at;                                                             \
			found_type = type;                                                         \
			found_wire = wire;                                                         \
			wire = inner->link + inner->ip;                                            \
			at = inner->tunnel_at;                                                     \
			type = inner->tunnel_type;                                                 \
		}                                                                                  \
		/* What is further in is not IP, or too deep. */                                   \
		return found_at &&                                                                 \
		       NAME##_look(inner, ctx, found_wire, p->segments, found_at, found_type);     \
	}

#ifdef HOOK_TUNNELS
/* The packet inside a tunnel: it does not fit on the stack beside its outer one. A CPU has one, as it parses one frame at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct packet);
	__uint(max_entries, 1);
} hook_inner SEC(".maps");

static __always_inline struct packet *hook__inner(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&hook_inner, &only);
}
#endif

static __always_inline bool skb__more(struct __sk_buff *skb)
{
	return !skb__is_linear(skb) && !skb__pull(skb, TUNNELS_PULLED);
}

static __always_inline bool xdp__more(struct xdp_md *xdp)
{
	return xdp__pull(xdp, TUNNELS_PULLED);
}

/*
 * A level's functions for a kind of program: LEVEL_TC(NAME, NEEDS, templates) and LEVEL_XDP(NAME, NEEDS, templates), and the same
 * with _TUNNELS where NEEDS has NEED_TUNNEL. `TEMPLATES` is a static function that takes the packet and the program's context.
 *
 * NAME takes any packet; NAME_plain takes those that are plain (parse_plain.h), and returns 0 for others. LEVEL(NAME, …) calls what fits.
 * NAME_plain stands in the root program, which saves a call; where stack or the verifier's patience do not suffice for that, programs
 * are made with HOOK_CALLS, and it is a function of its own.
 */
#ifdef HOOK_CALLS
#define HOOK_PLAIN __noinline
#else
#define HOOK_PLAIN static __always_inline
#endif

#define LEVEL(NAME, CTX, STATE, DIRECTION)                                                         \
	(NAME##_plain(CTX, hook__told(STATE), DIRECTION) || NAME(CTX, hook__told(STATE), DIRECTION))

static __always_inline bool skb__plain(struct packet *p, struct __sk_buff *skb, const __u32 needs)
{
	p->wire = skb->len;
	p->segments = skb__segments(skb);
	return !skb->vlan_present &&
	       parse__plain(p, (void *)(long)skb->data, (void *)(long)skb->data_end, needs);
}

static __always_inline bool xdp__plain(struct packet *p, struct xdp_md *xdp, const __u32 needs)
{
	p->wire = ctl.wire ? ctl.wire : bpf_xdp_get_buff_len(xdp);
	p->segments = 1;
	return parse__plain(p, (void *)(long)xdp->data, (void *)(long)xdp->data_end, needs);
}

#define LEVEL_PLAIN(CONTEXT, NAME, TEMPLATES, PLAIN, NEEDS)                                        \
	HOOK_PLAIN int NAME##_plain(CONTEXT *ctx, hook_state told, enum direction direction)       \
	{                                                                                          \
		union ctl_state state = hook__of(told);                                            \
		struct packet p = {.half = state.epoch & 1,                                        \
				   .direction = direction & 1,                                     \
				   .ctx = ctx};                                                    \
                                                                                                   \
		hook__delay();                                                                     \
		if (!PLAIN(&p, ctx, NEEDS))                                                        \
			return 0;                                                                  \
		packet__spare(&p, state);                                                          \
		TEMPLATES(&p, ctx);                                                                \
		hook__count(&p); /* last: a call less that keys have to be kept over */            \
		return 1;                                                                          \
	}

#define LEVEL_OF(CONTEXT, NAME, TEMPLATES, INNER)                                                        \
	__noinline int NAME(CONTEXT *ctx, hook_state told, enum direction direction)                     \
	{                                                                                                \
		union ctl_state state = hook__of(told);                                                  \
		struct packet p = {.half = state.epoch & 1, .direction = direction & 1};                 \
                                                                                                         \
		hook__delay();                                                                           \
		NAME##_packet(&p, ctx);                                                                  \
		packet__spare(&p, state);                                                                \
		hook__count(&p);                                                                         \
		/* Pointers last: what a function was given a pointer to, the verifier knows no more. */ \
		p.ctx = ctx;                                                                             \
		p.inner = NULL;                                                                          \
		INNER                                                                                    \
		TEMPLATES(&p, ctx);                                                                      \
		return 0;                                                                                \
	}

#define LEVEL_INNER(NAME, BESIDE)                                                                  \
	struct packet *inner = hook__inner();                                                      \
	if (inner && p.parsed == PARSED && p.tunnel && NAME##_tunnel(inner, ctx, &p, BESIDE)) {    \
		p.inner = inner;                                                                   \
	}

#define LEVEL_TC(NAME, NEEDS, TEMPLATES)                                                           \
	PARSE_TC(NAME, NEEDS)                                                                      \
	LEVEL_OF(struct __sk_buff, NAME, TEMPLATES, )                                              \
	LEVEL_PLAIN(struct __sk_buff, NAME, TEMPLATES, skb__plain, NEEDS)
#define LEVEL_XDP(NAME, NEEDS, TEMPLATES)                                                          \
	PARSE_XDP(NAME, NEEDS)                                                                     \
	LEVEL_OF(struct xdp_md, NAME, TEMPLATES, )                                                 \
	LEVEL_PLAIN(struct xdp_md, NAME, TEMPLATES, xdp__plain, NEEDS)
#define LEVEL_TC_TUNNELS(NAME, NEEDS, TEMPLATES)                                                   \
	PARSE_TC(NAME, NEEDS)                                                                      \
	PARSE_INSIDE(NAME, struct __sk_buff, skb__more, NEEDS)                                     \
	LEVEL_OF(struct __sk_buff, NAME, TEMPLATES, LEVEL_INNER(NAME, skb__beside(ctx)))           \
	LEVEL_PLAIN(struct __sk_buff, NAME, TEMPLATES, skb__plain, NEEDS)
#define LEVEL_XDP_TUNNELS(NAME, NEEDS, TEMPLATES)                                                  \
	PARSE_XDP(NAME, NEEDS)                                                                     \
	PARSE_INSIDE(NAME, struct xdp_md, xdp__more, NEEDS)                                        \
	LEVEL_OF(struct xdp_md, NAME, TEMPLATES, LEVEL_INNER(NAME, 0))                             \
	LEVEL_PLAIN(struct xdp_md, NAME, TEMPLATES, xdp__plain, NEEDS)

#endif
