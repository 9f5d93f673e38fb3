/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define FRAME_MAX (1UL << 20)	 /* libpcap itself refuses frames of more than 256 kB */
#define ETHERTYPE_UNKNOWN 0xffff /* reserved, so never anything's own */

/*
 * How a link layer becomes Ethernet: `make` writes the 14 bytes for a frame of which at least
 * `header` bytes are there.
 */
struct link {
	int type;
	uint32_t header;
	void (*make)(const unsigned char *from, uint32_t len, struct ether_header *out);
};

struct capture {
	pcap_t *pcap;
	const struct link *link; /* NULL: Ethernet already */
	char *name;		 /* as messages call it */
	uint64_t frames;	 /* read so far */
	struct buf frame;	 /* the synthetic one */
};

static uint16_t be16(const unsigned char *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void set_type(struct ether_header *out, unsigned int type)
{
	out->ether_type = htons((uint16_t)type);
}

static void make_raw(const unsigned char *from, uint32_t len, struct ether_header *out)
{
	unsigned int version = len ? from[0] >> 4 : 0;

	set_type(out, version == 4   ? ETHERTYPE_IP
		      : version == 6 ? ETHERTYPE_IPV6
				     : ETHERTYPE_UNKNOWN);
}

/*
 * The address family, in the byte order of the machine that captured (DLT_LOOP: the network's);
 * AF_INET6 is each system's own.
 */
static void make_null(const unsigned char *from, uint32_t len, struct ether_header *out)
{
	uint32_t family = (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 |
			  (uint32_t)from[2] << 8 | from[3];

	(void)len;
	if (family > 0xffff)
		family = __builtin_bswap32(family);
	switch (family) {
	case 2:
		set_type(out, ETHERTYPE_IP);
		break;
	case 10: /* Linux */
	case 24: /* NetBSD, OpenBSD */
	case 28: /* FreeBSD */
	case 30: /* macOS */
		set_type(out, ETHERTYPE_IPV6);
		break;
	default:
		set_type(out, ETHERTYPE_UNKNOWN);
	}
}

static void make_cooked(unsigned int packet_type, const unsigned char *address,
			unsigned int address_len, unsigned int protocol, uint32_t payload,
			struct ether_header *out)
{
	if (packet_type == 1) /* a broadcast */
		memset(out->ether_dhost, 0xff, sizeof(out->ether_dhost));
	if (address_len == sizeof(out->ether_shost))
		memcpy(out->ether_shost, address, sizeof(out->ether_shost));
	if (protocol == 1 || protocol == 4) /* 802.3 without and with LLC: a length stands there */
		set_type(out, payload <= ETHERMTU ? payload : ETHERTYPE_UNKNOWN);
	else
		set_type(out, protocol >= 0x600 ? protocol : ETHERTYPE_UNKNOWN);
}

static void make_sll(const unsigned char *from, uint32_t len, struct ether_header *out)
{
	make_cooked(be16(from), from + 6, be16(from + 4), be16(from + 14), len - 16, out);
}

static void make_sll2(const unsigned char *from, uint32_t len, struct ether_header *out)
{
	make_cooked(from[10], from + 12, from[11], be16(from), len - 20, out);
}

static const struct link links[] = {
	{DLT_RAW, 0, make_raw},		 {DLT_IPV4, 0, make_raw},  {DLT_IPV6, 0, make_raw},
	{DLT_NULL, 4, make_null},	 {DLT_LOOP, 4, make_null}, {DLT_LINUX_SLL, 16, make_sll},
	{DLT_LINUX_SLL2, 20, make_sll2},
};

/* Opens the file and says what a capture's reader would only call an unknown format. */
static int open_file(const char *path, const char *name, FILE **out, struct error *error)
{
	unsigned char magic[2];
	struct stat st;
	int fd, err;

	if (!strcmp(path, "-")) {
		*out = stdin;
		return 0;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		return error__set(error, err,
				  err == -ENOENT ? "%s: no such file" : "%s: cannot be opened: %s",
				  name, strerror(-err));
	}
	if (fstat(fd, &st))
		err = error__set(error, -errno, "%s: cannot be read: %s", name, strerror(errno));
	else if (S_ISDIR(st.st_mode))
		err = error__set(error, -EISDIR, "%s: is a directory, not a packet capture", name);
	else if (S_ISREG(st.st_mode) && !st.st_size)
		err = error__set(error, -EINVAL, "%s: is empty, not a packet capture", name);
	else
		err = 0;
	if (!err && pread(fd, magic, 2, 0) == 2 && magic[0] == 0x1f && magic[1] == 0x8b) {
		error__set(error, -EINVAL, "%s: is compressed", name);
		err = error__hint(error, -EINVAL, "unpack it first; - reads standard input");
	}
	if (!err && !(*out = fdopen(fd, "r")))
		err = error__set(error, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
	if (err)
		close(fd);
	return err;
}

static int refuse(const char *name, const char *why, struct error *error)
{
	/* Fewer than the four bytes that tell a capture are no capture that was cut. */
	if (strstr(why, "truncated") && !strstr(why, "tried to read 4 "))
		return error__set(error, -EBADMSG, "%s: is cut short in its header", name);
	if (strstr(why, "unknown file format") || strstr(why, "truncated"))
		return error__set(error, -EINVAL, "%s: is not a packet capture (pcap or pcapng)",
				  name);
	return error__set(error, -EINVAL, "%s: is not a capture that can be read: %s", name, why);
}

static int choose_link(struct capture *capture, struct error *error)
{
	int type = pcap_datalink(capture->pcap);
	const char *name, *text;

	if (type == DLT_EN10MB)
		return 0;
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		if (links[i].type == type)
			capture->link = &links[i];
	if (capture->link)
		return 0;
	name = pcap_datalink_val_to_name(type);
	text = pcap_datalink_val_to_description(type);
	error__set(error, -EPROTONOSUPPORT,
		   "%s: holds frames of link type %d (%s, %s), not Ethernet", capture->name, type,
		   name ? name : "no name", text ? text : "unknown");
	return error__hint(error, -EPROTONOSUPPORT,
			   "Ethernet, Linux cooked, raw IP and loopback captures can be replayed");
}

int capture__open(const char *path, struct capture **out, struct error *error)
{
	const char *name = strcmp(path, "-") ? path : "standard input";
	char why[PCAP_ERRBUF_SIZE] = "";
	struct capture *capture;
	FILE *file = NULL;
	int err;

	capture = calloc(1, sizeof(*capture));
	if (!capture)
		return error__set(error, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
	buf__init(&capture->frame, FRAME_MAX);
	capture->name = strdup(name);
	err = capture->name ? open_file(path, name, &file, error)
			    : error__set(error, -ENOMEM, "%s: %s", name, strerror(ENOMEM));
	if (err)
		goto out;
	capture->pcap = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO,
								 why);
	if (!capture->pcap) {
		if (file && file != stdin)
			fclose(file);
		err = refuse(name, why, error);
		goto out;
	}
	/* NOLINTNEXTLINE(clang-analyzer-unix.Stream): pcap_close() closes the file too */
	err = choose_link(capture, error);
out:
	if (err)
		capture__close(capture);
	else
		*out = capture;
	return err;
}

void capture__close(struct capture *capture)
{
	if (!capture)
		return;
	if (capture->pcap)
		pcap_close(capture->pcap);
	buf__free(&capture->frame);
	free(capture->name);
	free(capture);
}

/*
 * Puts an Ethernet header in place of the link's own. A frame too short for that keeps nothing but
 * the new one.
 */
static int synthesise(struct capture *capture, struct capture_frame *frame)
{
	const struct link *link = capture->link;
	struct ether_header header = {.ether_type = htons(ETHERTYPE_UNKNOWN)};
	uint32_t skip = frame->captured < link->header ? frame->captured : link->header;
	int err;

	if (skip == link->header)
		link->make(frame->data, frame->captured, &header);
	buf__clear(&capture->frame);
	err = buf__append(&capture->frame, &header, sizeof(header));
	if (!err)
		err = buf__append(&capture->frame, frame->data + skip, frame->captured - skip);
	if (err)
		return err;
	frame->data = (const unsigned char *)capture->frame.data;
	frame->captured = (uint32_t)capture->frame.len;
	frame->wire = frame->wire - skip + (uint32_t)sizeof(header);
	return 0;
}

/* `tv_usec` holds ns in spite of its name. False for what no clock could have said. */
static bool frame_time(const struct timeval *ts, uint64_t *out)
{
	int64_t seconds = ts->tv_sec;

	if (seconds < 0 && seconds >= INT32_MIN)
		seconds =
			(uint32_t)seconds; /* the file's 32 bits are unsigned, libpcap's are not */
	if (seconds < 0 || seconds >= INT64_MAX / 1000000000 || ts->tv_usec < 0 ||
	    ts->tv_usec > INT32_MAX * 1000LL)
		return false;
	*out = (uint64_t)seconds * 1000000000ULL + (uint64_t)ts->tv_usec;
	return true;
}

int capture__next(struct capture *capture, struct capture_frame *frame, struct error *error)
{
	struct pcap_pkthdr *header;
	const unsigned char *data;
	unsigned long long frames = capture->frames;
	int got = pcap_next_ex(capture->pcap, &header, &data), err;

	if (got == PCAP_ERROR_BREAK)
		return 0;
	if (got != 1) {
		const char *why = pcap_geterr(capture->pcap);

		if (strstr(why, "truncated"))
			return error__set(error, -EBADMSG, "%s: is cut short after frame %llu",
					  capture->name, frames);
		return error__set(error, -EBADMSG, "%s: is damaged after frame %llu: %s",
				  capture->name, frames, why);
	}
	if (!frame_time(&header->ts, &frame->time))
		return error__set(error, -EBADMSG,
				  "%s: is damaged after frame %llu: an impossible time",
				  capture->name, frames);
	capture->frames++;
	frame->data = data;
	frame->captured = header->caplen;
	/* Nothing can be captured of a frame that was not there, whatever the file says. */
	frame->wire = header->len > header->caplen ? header->len : header->caplen;
	err = capture->link ? synthesise(capture, frame) : 0;
	if (err)
		return error__set(error, err, "%s: frame %llu: %s", capture->name, frames + 1,
				  strerror(-err));
	return 1;
}
