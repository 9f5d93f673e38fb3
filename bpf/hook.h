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
	__u64 not_ip; /* the last three in packets: no row of any template counts them */
	__u64 truncated;
	__u64 malformed;
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
}

/* The state for this packet. A deep level whose lease has run out is the base level: nobody renews
 * it any more. */
static __always_inline union ctl_state hook__state(void)
{
	union ctl_state state = {.both = *(volatile __u64 *)&ctl.state.both};
	__u64 lease;

	if (state.level) {
		lease = *(volatile __u64 *)&ctl.lease;
		if (lease && bpf_ktime_get_coarse_ns() > lease)
			state.level = 0;
	}
	return state;
}

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

#define HEADERS_PULLED 256 /* bytes made linear when headers are not */

/* How many packets on the wire this skb is (Linux: skb_shared_info.gso_segs, which a guest or tun
 * may leave 0). */
static __always_inline __u32 skb__segments(const struct __sk_buff *skb)
{
	__u32 segments = skb->gso_segs, size = skb->gso_size;

	if (segments)
		return segments;
	return size ? (skb->len + size - 1) / size : 1;
}

/*
 * Parsing is a global function of each kind of program: the verifier proves it once, however many levels and templates there
 * are, and goes on behind it with one state instead of one for every shape a packet can have. Returns 1 when headers were missed
 * that lie behind the linear part.
 */
__noinline int skb_parse(struct __sk_buff *skb, struct packet *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (!p)
		return 0;
	p->wire = skb->len;
	p->segments = skb__segments(skb);
	p->parsed = parse__link(p, data, end);
	if (skb->vlan_present) { /* the outermost tag, which the kernel keeps beside the frame */
		p->wire += sizeof(struct vlan_tag);
		p->link += sizeof(struct vlan_tag);
	}
	if (p->parsed == PARSED ? p->complete : p->parsed != PARSED_TRUNCATED)
		return 0;
	return end - data < skb->len;
}

static __always_inline void packet__from_skb(struct packet *p, struct __sk_buff *skb)
{
	__u32 pull = skb->len < HEADERS_PULLED ? skb->len : HEADERS_PULLED;

	/* Headers behind the linear part are rare (a packet ring's frames have them), and pulled only when missed. */
	if (skb_parse(skb, p) && !bpf_skb_pull_data(skb, pull))
		skb_parse(skb, p);
}

__noinline int xdp_parse(struct xdp_md *xdp, struct packet *p)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;

	if (!p)
		return 0;
	p->wire = ctl.wire ? ctl.wire : bpf_xdp_get_buff_len(xdp);
	p->segments = 1; /* merging happens behind XDP */
	p->parsed = parse__link(p, data, end);
	return 0;
}

static __always_inline void packet__from_xdp(struct packet *p, struct xdp_md *xdp)
{
	xdp_parse(xdp, p);
}

/*
 * LEVEL_TC(NAME, templates) and LEVEL_XDP(NAME, templates): the level's function for that kind of
 * program. `TEMPLATES` is a static function that takes the packet and the program's context.
 */
#define LEVEL_OF(CONTEXT, FROM, NAME, TEMPLATES)                                                   \
	__noinline int NAME(CONTEXT *ctx, __u32 half, enum direction direction)                    \
	{                                                                                          \
		struct packet p = {.half = half & 1, .direction = direction & 1};                  \
                                                                                                   \
		hook__delay();                                                                     \
		FROM(&p, ctx);                                                                     \
		hook__count(&p);                                                                   \
		TEMPLATES(&p, ctx);                                                                \
		return 0;                                                                          \
	}

#define LEVEL_TC(NAME, TEMPLATES) LEVEL_OF(struct __sk_buff, packet__from_skb, NAME, TEMPLATES)
#define LEVEL_XDP(NAME, TEMPLATES) LEVEL_OF(struct xdp_md, packet__from_xdp, NAME, TEMPLATES)

#endif
