/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/pcapng.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/spool.h"

#define INTERFACES_MAX 256
#define WAITING_MAX 8388608 /* bytes that are yet to be written */
#define TEXT_MAX 1024	    /* bytes of an option's text */
#define BLOCK_OVERHEAD 512  /* bytes of a packet's block beside its own, and of a new interface's */

enum block {
	SECTION = 0x0a0d0d0a,
	INTERFACE = 1,
	STATISTICS = 5,
	PACKET = 6,
};

enum option {
	END = 0,
	COMMENT = 1,
	SHB_USERAPPL = 4,
	IF_NAME = 2,
	IF_TSRESOL = 9,
	EPB_FLAGS = 2,
	ISB_STARTTIME = 2,
	ISB_ENDTIME = 3,
	ISB_IFRECV = 4,
	ISB_IFDROP = 5,
};

struct seen {
	uint32_t ifindex;
	uint64_t packets, first, last; /* ns */
};

struct pcapng {
	struct spool *out;
	bool patient;
	bool ending; /* the end is short, and has to be there: it takes no heed of what waits */
	int err;     /* that ending it has met */
	uint32_t snap;
	uint64_t bytes;
	size_t count;
	struct seen interfaces[INTERFACES_MAX];
};

/* A block under construction: what is in front of its variable parts, then options. */
struct part {
	uint8_t data[4 * TEXT_MAX];
	size_t len;
};

static void put(struct part *part, const void *bytes, size_t len)
{
	static const uint8_t zeros[4];

	memcpy(part->data + part->len, bytes, len);
	part->len += len;
	memcpy(part->data + part->len, zeros, (4 - len % 4) % 4);
	part->len += (4 - len % 4) % 4;
}

static void put32(struct part *part, uint32_t value)
{
	put(part, &value, sizeof(value));
}

static void put_option(struct part *part, enum option code, const void *value, size_t len)
{
	uint16_t head[2] = {(uint16_t)code, (uint16_t)len};

	put(part, head, sizeof(head));
	put(part, value, len);
}

static void put_text(struct part *part, enum option code, const char *text)
{
	size_t len = strlen(text);

	if (len)
		put_option(part, code, text, len < TEXT_MAX ? len : TEXT_MAX);
}

/* A time as two halves, the upper one first. */
static void put_time(struct part *part, uint64_t ns)
{
	put32(part, (uint32_t)(ns >> 32));
	put32(part, (uint32_t)ns);
}

static void put_time_option(struct part *part, enum option code, uint64_t ns)
{
	uint32_t halves[2] = {(uint32_t)(ns >> 32), (uint32_t)ns};

	put_option(part, code, halves, sizeof(halves));
}

/* Head, `part`, `bytes` padded, `options`, end. -ENOBUFS, and nothing is written, when too much waits to be. */
static int write_block(struct pcapng *file, enum block type, const struct part *part,
		       const void *bytes, size_t len, const struct part *options)
{
	static const uint8_t zeros[4];
	size_t pad = (4 - len % 4) % 4;
	uint32_t total = (uint32_t)(12 + part->len + len + pad + options->len);
	uint32_t head[2] = {(uint32_t)type, total};

	int err;

	if (!file->ending && !spool__has_room(file->out, total, file->patient))
		return -ENOBUFS;
	err = spool__write(file->out, head, sizeof(head));
	if (!err)
		err = spool__write(file->out, part->data, part->len);
	if (!err)
		err = spool__write(file->out, bytes, len);
	if (!err)
		err = spool__write(file->out, zeros, pad);
	if (!err)
		err = spool__write(file->out, options->data, options->len);
	if (!err)
		err = spool__write(file->out, &total, sizeof(total));
	if (!err)
		file->bytes += total;
	return err;
}

static int write_section(struct pcapng *file, const char *comment)
{
	struct part part = {.len = 0}, options = {.len = 0};
	uint16_t version[2] = {1, 0};
	uint64_t unknown = UINT64_MAX;

	put32(&part, 0x1a2b3c4d);
	put(&part, version, sizeof(version));
	put(&part, &unknown, sizeof(unknown));
	put_text(&options, COMMENT, comment);
	put_text(&options, SHB_USERAPPL, "perilune " PERILUNE_VERSION);
	put_option(&options, END, "", 0);
	return write_block(file, SECTION, &part, "", 0, &options);
}

int pcapng__create(const char *path, const char *comment, uint32_t snap, bool patient,
		   struct pcapng **out, struct error *error)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), err;
	struct pcapng *file;

	if (fd < 0)
		return error__set(error, -errno, "%s: %s", path, strerror(errno));
	file = calloc(1, sizeof(*file));
	if (!file) {
		close(fd);
		return error__set(error, -ENOMEM, "out of memory");
	}
	file->snap = snap;
	file->patient = patient;
	err = spool__open(fd, WAITING_MAX, &file->out);
	if (!err)
		err = write_section(file, comment);
	if (err) {
		pcapng__close(file);
		return error__set(error, err, "%s: %s", path, strerror(-err));
	}
	*out = file;
	return 0;
}

/* The interface's number in the file, made known if it is new; of too many, that of the last. */
static int interface_of(struct pcapng *file, const struct pcapng_packet *packet, uint32_t *number)
{
	static const uint8_t ns = 9; /* 10^-9 s */
	struct part part = {.len = 0}, options = {.len = 0};
	uint16_t link[2] = {1, 0}; /* Ethernet */
	char name[32];
	int err;

	for (*number = 0; *number < file->count; (*number)++)
		if (file->interfaces[*number].ifindex == packet->ifindex)
			return 0;
	if (*number == INTERFACES_MAX) {
		(*number)--;
		return 0;
	}
	put(&part, link, sizeof(link));
	put32(&part, file->snap);
	snprintf(name, sizeof(name), "if%u", packet->ifindex);
	put_text(&options, IF_NAME, packet->interface ? packet->interface : name);
	put_option(&options, IF_TSRESOL, &ns, sizeof(ns));
	put_option(&options, END, "", 0);
	err = write_block(file, INTERFACE, &part, "", 0, &options);
	if (!err)
		file->interfaces[file->count++] = (struct seen){.ifindex = packet->ifindex,
								.first = packet->time};
	return err;
}

size_t pcapng__size(const struct pcapng_packet *packet)
{
	return packet->kept + BLOCK_OVERHEAD;
}

int pcapng__write(struct pcapng *file, const struct pcapng_packet *packet)
{
	struct part part = {.len = 0}, options = {.len = 0};
	uint32_t flags = packet->egress ? 2 : 1, number;
	char comment[96];
	int err = interface_of(file, packet, &number);

	if (err)
		return err;
	put32(&part, number);
	put_time(&part, packet->time);
	put32(&part, packet->kept);
	put32(&part, packet->wire);
	put_option(&options, EPB_FLAGS, &flags, sizeof(flags));
	if (packet->segments > 1) {
		snprintf(comment, sizeof(comment),
			 "%u packets on the wire: merged, or not yet cut apart, where it was seen",
			 packet->segments);
		put_text(&options, COMMENT, comment);
	}
	put_option(&options, END, "", 0);
	err = write_block(file, PACKET, &part, packet->bytes, packet->kept, &options);
	if (err)
		return err;
	file->interfaces[number].packets++;
	file->interfaces[number].last = packet->time;
	return 0;
}

uint64_t pcapng__bytes(const struct pcapng *file)
{
	return file->bytes;
}

/* What was lost is not known by interface: it stands at the first. */
static int write_statistics(struct pcapng *file, uint64_t lost)
{
	int err = 0;

	for (uint32_t i = 0; i < file->count && !err; i++) {
		const struct seen *seen = &file->interfaces[i];
		struct part part = {.len = 0}, options = {.len = 0};
		uint64_t dropped = i ? 0 : lost, received = seen->packets + dropped;

		put32(&part, i);
		put_time(&part, seen->last);
		put_time_option(&options, ISB_STARTTIME, seen->first);
		put_time_option(&options, ISB_ENDTIME, seen->last);
		put_option(&options, ISB_IFRECV, &received, sizeof(received));
		put_option(&options, ISB_IFDROP, &dropped, sizeof(dropped));
		put_option(&options, END, "", 0);
		err = write_block(file, STATISTICS, &part, "", 0, &options);
	}
	return err;
}

void pcapng__end(struct pcapng *file, uint64_t lost)
{
	file->ending = true;
	file->err = write_statistics(file, lost);
	spool__end(file->out);
}

bool pcapng__has_ended(struct pcapng *file)
{
	return spool__has_ended(file->out);
}

int pcapng__close(struct pcapng *file)
{
	int err, closed;

	if (!file)
		return 0;
	err = file->err;
	closed = spool__close(file->out);
	free(file);
	return err ? err : closed;
}
