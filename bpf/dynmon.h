/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What code written for Dynmon, in BCC's dialect of C, finds there: types, maps and their methods, logs, the entry.
 *
 * lua/perilune/dynmon/translate.lua turns what is no C (`N.lookup(&k)`) into the macros below, token by token, and defines, before it
 * includes this: CTXTYPE, DYNMON_XDP or nothing, LOG_LEVEL, DYNMON_LOGS if there is anything to log, DYNMON_CLOCK if the time is
 * asked for. Unlike perilune's own programs, such code includes the system's headers: <linux/…>, as <uapi/linux/…> too.
 */
#ifndef PERILUNE_DYNMON_H
#define PERILUNE_DYNMON_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_endian.h>

typedef __u8 u8, uint8_t;
typedef __s8 s8, int8_t;
typedef __u16 u16, uint16_t;
typedef __s16 s16, int16_t;
typedef __u32 u32, uint32_t;
typedef __s32 s32, int32_t;
typedef __u64 u64, uint64_t;
typedef __s64 s64, int64_t;

/* Dynmon shows a number in network order as it lies in memory, and so its users read it. */
#define __be16 __u16
#define __be32 __u32
#define __be64 __u64

#define htons bpf_htons
#define ntohs bpf_ntohs
#define htonl bpf_htonl
#define ntohl bpf_ntohl

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* In BCC the size of the format is not said. */
#define bpf_trace_printk(fmt, ...) bpf_printk(fmt, ##__VA_ARGS__)
#define lock_xadd(ptr, val) ((void)__sync_fetch_and_add(ptr, val))

/* ---------------------------------------------------------------------------------------------- maps */

#define DYNMON_MAP(name, kind, key_type, value_type, size, flags)                                  \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
		__uint(max_entries, size);                                                         \
		__uint(map_flags, flags);                                                          \
	} name SEC(".maps")

/* Queues and stacks. */
#define DYNMON_LIST(name, kind, value_type, size, flags)                                           \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__type(value, value_type);                                                         \
		__uint(max_entries, size);                                                         \
		__uint(map_flags, flags);                                                          \
	} name SEC(".maps")

#define DYNMON_LOOKUP(map, key) ((typeof((map).value))bpf_map_lookup_elem(&(map), key))
#define DYNMON_UPDATE(map, key, value) bpf_map_update_elem(&(map), key, value, BPF_ANY)
#define DYNMON_INSERT(map, key, value) bpf_map_update_elem(&(map), key, value, BPF_NOEXIST)
#define DYNMON_DELETE(map, key) bpf_map_delete_elem(&(map), key)
#define DYNMON_PUSH(map, ...) DYNMON_PUSH_(map, __VA_ARGS__, 0, 0)
#define DYNMON_PUSH_(map, value, flags, ...) bpf_map_push_elem(&(map), value, flags)
#define DYNMON_POP(map, value) bpf_map_pop_elem(&(map), value)
#define DYNMON_PEEK(map, value) bpf_map_peek_elem(&(map), value)

/* The value of the key, which gets this one when it has none; NULL when there is no room. */
#define DYNMON_LOOKUP_OR_INIT(map, at, initial)                                                    \
	({                                                                                         \
		const typeof((map).key) dynmon_key_ = (at);                                        \
		typeof((map).value) dynmon_value_ = bpf_map_lookup_elem(&(map), dynmon_key_);      \
		if (!dynmon_value_) {                                                              \
			bpf_map_update_elem(&(map), dynmon_key_, initial, BPF_NOEXIST);            \
			dynmon_value_ = bpf_map_lookup_elem(&(map), dynmon_key_);                  \
		}                                                                                  \
		dynmon_value_;                                                                     \
	})

/* Also when another CPU puts the key in at the same time. */
#define DYNMON_INCREMENT(map, ...) DYNMON_INCREMENT_(map, __VA_ARGS__, 1, 0)
#define DYNMON_INCREMENT_(map, at, amount, ...)                                                    \
	({                                                                                         \
		typeof(*(map).key) dynmon_key_ = (at);                                             \
		typeof(*(map).value) dynmon_amount_ = (amount);                                    \
		typeof((map).value) dynmon_value_ = bpf_map_lookup_elem(&(map), &dynmon_key_);     \
		if (!dynmon_value_ &&                                                              \
		    bpf_map_update_elem(&(map), &dynmon_key_, &dynmon_amount_, BPF_NOEXIST))       \
			dynmon_value_ = bpf_map_lookup_elem(&(map), &dynmon_key_);                 \
		if (dynmon_value_)                                                                 \
			__sync_fetch_and_add(dynmon_value_, dynmon_amount_);                       \
	})

/* ---------------------------------------------------------------------------------------------- time, logs */

#ifdef DYNMON_CLOCK
/* What the boot clock lacks to the time since the epoch, in ns; the daemon keeps it right. */
DYNMON_MAP(dynmon_clock, BPF_MAP_TYPE_ARRAY, u32, u64, 1, 0);

/* ns since the epoch */
static __always_inline u64 pcn_get_time_epoch(void)
{
	u32 zero = 0;
	const u64 *offset = bpf_map_lookup_elem(&dynmon_clock, &zero);

	return bpf_ktime_get_boot_ns() + (offset ? *offset : 0);
}
#endif

#define LOG_TRACE 0
#define LOG_DEBUG 1
#define LOG_INFO 2
#define LOG_WARN 3
#define LOG_ERR 4
#define LOG_CRITICAL 5
#define LOG_OFF 6

#ifdef DYNMON_LOGS
#define DYNMON_LOG_ARGS 4

/* A line for the daemon's log: which pcn_log of the program, by its number, and what goes into its text. */
struct dynmon_line {
	u32 number;
	u32 level;
	u64 args[DYNMON_LOG_ARGS];
};
DYNMON_LIST(dynmon_log, BPF_MAP_TYPE_QUEUE, struct dynmon_line, 1024, 0);
DYNMON_MAP(dynmon_log_lost, BPF_MAP_TYPE_ARRAY, u32, u64, 1, 0);

static __always_inline void dynmon_log_line(const struct dynmon_line *line)
{
	u32 zero = 0;
	u64 *lost;

	if (!bpf_map_push_elem(&dynmon_log, line, BPF_ANY))
		return;
	lost = bpf_map_lookup_elem(&dynmon_log_lost, &zero);
	if (lost)
		__sync_fetch_and_add(lost, 1);
}

#define DYNMON_LOG(ctx, severity, id, ...)                                                         \
	do {                                                                                       \
		if ((severity) >= LOG_LEVEL) {                                                     \
			struct dynmon_line dynmon_line_ = {                                        \
				.number = (id),                                                    \
				.level = (severity),                                               \
				.args = {__VA_ARGS__},                                             \
			};                                                                         \
			dynmon_log_line(&dynmon_line_);                                            \
		}                                                                                  \
		(void)(ctx);                                                                       \
	} while (0)
#else
/* Its arguments are still looked at, so that a program is right or wrong at every level. */
#define DYNMON_LOG(ctx, severity, id, ...)                                                         \
	do {                                                                                       \
		if (0) {                                                                           \
			u64 dynmon_args_[] = {(severity), ##__VA_ARGS__};                          \
			(void)dynmon_args_;                                                        \
		}                                                                                  \
		(void)(ctx);                                                                       \
	} while (0)
#endif

/* ---------------------------------------------------------------------------------------------- the entry */

enum {
	RX_OK,
	RX_REDIRECT,
	RX_DROP,
	RX_RECIRCULATE,
	RX_ERROR,
};

struct pkt_metadata {
	u16 cube_id;
	u16 in_port;
	u32 packet_len;
	u32 traffic_class; /* skb->mark, also afterwards */
	u16 reason;
	u32 md[3];
} __attribute__((packed));

static __always_inline int handle_rx(struct CTXTYPE *ctx, struct pkt_metadata *md);

/*
 * The program itself, behind the code. A packet passes on to whoever else watches or filters, unless the code says RX_DROP: a
 * monitor that answers something else is no reason to lose traffic.
 */
#ifdef DYNMON_XDP
#define DYNMON_ENTRY(name)                                                                         \
	SEC("xdp")                                                                                 \
	int name(struct xdp_md *ctx)                                                               \
	{                                                                                          \
		struct pkt_metadata md = {.packet_len = bpf_xdp_get_buff_len(ctx)};                \
                                                                                                   \
		return handle_rx(ctx, &md) == RX_DROP ? XDP_DROP : XDP_PASS;                       \
	}
#else
#define DYNMON_ENTRY(name)                                                                         \
	SEC("tc")                                                                                  \
	int name(struct __sk_buff *ctx)                                                            \
	{                                                                                          \
		struct pkt_metadata md = {.packet_len = ctx->len, .traffic_class = ctx->mark};     \
		int verdict = handle_rx(ctx, &md);                                                 \
                                                                                                   \
		if (md.traffic_class != ctx->mark)                                                 \
			ctx->mark = md.traffic_class;                                              \
		return verdict == RX_DROP ? TC_ACT_SHOT : TC_ACT_UNSPEC;                           \
	}
#endif

/* Helpers that are for programs under the GPL only must stay within reach, as BCC has it. */
char LICENSE[] SEC("license") = "GPL";

#endif
