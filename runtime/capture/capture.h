/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packet captures, read with libpcap (pcap and pcapng), frame by frame.
 */
#ifndef PERILUNE_CAPTURE_H
#define PERILUNE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct capture;

struct capture_frame {
	const unsigned char *data; /* valid until the next call */
	uint32_t captured;	   /* bytes in `data` */
	uint32_t wire;		   /* bytes the frame had on the wire */
	uint64_t time;		   /* ns since the epoch */
};

/*
 * `path` may be "-", standard input. -ENOENT, -EISDIR, -EACCES…; -EINVAL for a file that is not a
 * capture; -EBADMSG when it is cut short in its own header; -EPROTONOSUPPORT for a link type that
 * cannot be made into Ethernet. Linux cooked (v1, v2), raw IP and loopback captures get a synthetic
 * Ethernet header in place of theirs (14 bytes in wire and captured).
 */
int capture__open(const char *path, struct capture **out, struct error *error);
void capture__close(struct capture *capture);

/*
 * 1 with a frame, 0 at the end, -EBADMSG when the file is cut short or damaged (the error names the
 * byte offset or frame).
 */
int capture__next(struct capture *capture, struct capture_frame *frame, struct error *error);

/*
 * Source and destination of an IPv4 or IPv6 packet behind Ethernet and at most three VLAN tags, as
 * text; each of at least INET6_ADDRSTRLEN bytes. -ENOENT when the frame holds no (or not enough of
 * an) IP header.
 */
int capture_frame__addresses(const struct capture_frame *frame, char *src, char *dst, size_t size);

/*
 * Puts another source (or destination) in such a frame: `address`, of 4 or 16 bytes, with `add` added
 * to its last 32 bits. The frame's data is then in `copy`; checksums stay as right as they were.
 * -ENOENT when the frame holds no IP header, or one of the other version: it is left alone.
 */
int capture_frame__readdress(struct capture_frame *frame, struct buf *copy, bool destination,
			     const unsigned char *address, size_t size, uint32_t add);

#endif
