/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What the C made of a pcap-filter(7) expression needs: loads from the frame at any offset, as
 * classic BPF does them. One beyond the frame's end ends the filter without a match.
 *
 * At TC the kernel keeps a frame's outermost VLAN tag beside it. A filter sees the frame as it is on
 * the wire, with the tag in its place.
 */
#ifndef PERILUNE_FILTER_H
#define PERILUNE_FILTER_H

#define FILTER_DIRECT                                                                              \
	2048		  /* offsets up to here are read without a call where the frame is linear */
#define FILTER_TAG 12	  /* where a VLAN tag stands in a frame, */
#define FILTER_TAG_SIZE 4 /* and its octets: ethertype, then TCI */

struct filter_frame {
	void *ctx;
	void *data;
	void *end;
	bool xdp;
	bool tagged; /* the outermost tag is beside the frame */
};

/* A number in network order from `size` (1, 2, 4) bytes. */
static __always_inline __s64 filter__number(const __u8 *at, __u32 size)
{
	if (size == 1)
		return at[0];
	if (size == 2)
		return at[0] << 8 | at[1];
	return (__u32)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

/* Behind the linear part, or beyond the end: -1. */
static __noinline __s64 filter__load_xdp(struct xdp_md *xdp, __u32 offset, __u32 size)
{
	__u8 bytes[4] = {};
	long err = size == 4   ? bpf_xdp_load_bytes(xdp, offset, bytes, 4)
		   : size == 2 ? bpf_xdp_load_bytes(xdp, offset, bytes, 2)
			       : bpf_xdp_load_bytes(xdp, offset, bytes, 1);

	return err ? -1 : filter__number(bytes, size);
}

static __always_inline __s64 filter__octet(struct __sk_buff *skb, __u32 offset)
{
	__u32 tag = (__u32)bpf_ntohs((__u16)skb->vlan_proto) << 16 | (skb->vlan_tci & 0xffff);
	__u8 octet;

	if (offset >= FILTER_TAG && offset < FILTER_TAG + FILTER_TAG_SIZE)
		return tag >> (8 * (FILTER_TAG + FILTER_TAG_SIZE - 1 - offset)) & 0xff;
	if (offset >= FILTER_TAG)
		offset -= FILTER_TAG_SIZE;
	return bpf_skb_load_bytes(skb, offset, &octet, 1) ? -1 : octet;
}

static __noinline __s64 filter__load_skb(struct __sk_buff *skb, __u32 offset, __u32 size)
{
	__u8 bytes[4] = {};
	__s64 value = 0;
	long err;

	if (skb->vlan_present && offset + size > FILTER_TAG) {
		for (__u32 i = 0; i < 4; i++) {
			__s64 octet = i < size ? filter__octet(skb, offset + i) : 0;

			if (octet < 0)
				return -1;
			value = i < size ? value << 8 | octet : value;
		}
		return value;
	}
	err = size == 4	  ? bpf_skb_load_bytes(skb, offset, bytes, 4)
	      : size == 2 ? bpf_skb_load_bytes(skb, offset, bytes, 2)
			  : bpf_skb_load_bytes(skb, offset, bytes, 1);
	return err ? -1 : filter__number(bytes, size);
}

static __always_inline __s64 filter__load(const struct filter_frame *f, __u32 offset, __u32 size)
{
	const __u8 *at;

	if (offset <= FILTER_DIRECT && (!f->tagged || offset + size <= FILTER_TAG)) {
		at = f->data + offset;
		if ((void *)(at + size) <= f->end)
			return filter__number(at, size);
	}
	return f->xdp ? filter__load_xdp(f->ctx, offset, size)
		      : filter__load_skb(f->ctx, offset, size);
}

/* Bytes of the frame on the wire, for `less`, `greater` and `len`. */
static __always_inline __u32 filter__wire(const struct filter_frame *f)
{
	if (!f->xdp)
		return ((struct __sk_buff *)f->ctx)->len + (f->tagged ? FILTER_TAG_SIZE : 0);
	return ctl.wire ? ctl.wire : bpf_xdp_get_buff_len(f->ctx);
}

#define FILTER_LOAD(INTO, OFFSET, SIZE)                                                            \
	do {                                                                                       \
		__s64 loaded_ = filter__load(f, OFFSET, SIZE);                                     \
		if (loaded_ < 0)                                                                   \
			return false;                                                              \
		(INTO) = (__u32)loaded_;                                                           \
	} while (0)
#define FILTER_LABEL __attribute__((unused))

/* The filter MATCHES as a global function, which the verifier proves once: not 0 when it does. */
#define FILTER_XDP(NAME, MATCHES)                                                                  \
	__noinline int NAME(struct xdp_md *xdp)                                                    \
	{                                                                                          \
		struct filter_frame f = {.ctx = xdp,                                               \
					 .data = (void *)(long)xdp->data,                          \
					 .end = (void *)(long)xdp->data_end,                       \
					 .xdp = true};                                             \
                                                                                                   \
		return MATCHES(&f);                                                                \
	}

#define FILTER_TC(NAME, MATCHES)                                                                   \
	__noinline int NAME(struct __sk_buff *skb)                                                 \
	{                                                                                          \
		struct filter_frame f = {.ctx = skb,                                               \
					 .data = (void *)(long)skb->data,                          \
					 .end = (void *)(long)skb->data_end,                       \
					 .tagged = skb->vlan_present};                             \
                                                                                                   \
		return MATCHES(&f);                                                                \
	}

#endif
