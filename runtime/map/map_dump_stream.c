/* SPDX-License-Identifier: Apache-2.0 */
/* Ring buffers and perf event arrays: records of any size, as bytes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "map/map_dump_impl.h"
#include "map/map_events.h"
#include "map/map_ring.h"

#define LOOK_MS 20 /* how often a ring is looked at: whoever only looks is not woken */

static int put_hex(struct buf *out, const unsigned char *bytes, size_t len)
{
	int err = buf__reserve(out, 3 * len + 1);

	if (!err && len) {
		out->len += (size_t)number__hex(out->data + out->len, bytes, len);
		out->data[out->len] = '\0';
	}
	return err;
}

/* A record; `cpu` below 0: not said. */
static int put_record(struct map_dump *dump, int cpu, const unsigned char *bytes, size_t len)
{
	bool json = dump->options.json;
	struct buf *out = &dump->out.buf;
	int err = map_out__row(&dump->out);

	if (!err && cpu >= 0)
		err = buf__printf(out, json ? "{\"cpu\":%d,\"value\":\"" : "cpu=%d ", cpu);
	else if (!err && json)
		err = buf__puts(out, "{\"value\":\"");
	err = err ? err : put_hex(out, bytes, len);
	err = err ? err : buf__puts(out, json ? "\"}" : "\n");
	dump->rows++;
	return err ? err : map_out__spill(&dump->out);
}

/* Those that are there now, or as many as are wanted. 1 when no more are wanted. */
static int read_ring(struct map_dump *dump, struct map_ring *ring, struct error *error)
{
	const unsigned char *bytes;
	size_t len;
	int got, err = 0;

	while (dump->rows < dump->options.limit && !map_dump__stopped(dump)) {
		got = map_ring__next(ring, &bytes, &len);
		if (got < 0)
			return map__explain(error, got, "cannot read the ring buffer");
		if (!got)
			break;
		err = put_record(dump, -1, bytes, len);
		if (err)
			break;
	}
	map_ring__release(ring);
	if (err)
		return map_dump__unwritten(err, error);
	return dump->rows >= dump->options.limit || map_dump__stopped(dump);
}

static void say(struct map_dump *dump, const struct map_ring *ring)
{
	uint64_t missed = map_ring__missed(ring), unfinished = map_ring__unfinished(ring);
	size_t size = sizeof(dump->note), len = 0;

	if (dump->options.drain && dump->rows)
		len += (size_t)snprintf(dump->note, size, "taken out of the map: %llu",
					(unsigned long long)dump->rows);
	if (missed)
		len += (size_t)
			snprintf(dump->note + len, size - len,
				 "%soverwritten before they were read: %llu bytes of records",
				 len ? "; " : "", (unsigned long long)missed);
	if (unfinished)
		snprintf(dump->note + len, size - len, "%sstill being written, left out: %llu",
			 len ? "; " : "", (unsigned long long)unfinished);
}

int map_dump__ring(struct map_dump *dump, struct error *error)
{
	struct map_ring *ring;
	int err = map_ring__open(&dump->map, dump->options.drain, &ring, error);

	if (err)
		return err;
	if (!dump->options.follow)
		map_ring__bound(ring);
	do {
		err = read_ring(dump, ring, error);
		if (err || !dump->options.follow)
			break;
		err = map_out__flush(&dump->out);
		err = map_dump__unwritten(err ? err : map_out__wait(&dump->out, LOOK_MS), error);
	} while (!err);
	say(dump, ring);
	map_ring__free(ring);
	return err < 0 ? err : 0;
}

/* ------------------------------------------------------------------------------------ perf events */

struct listener {
	struct map_dump *dump;
	int err;
};

static bool on_record(void *arg, int cpu, const void *bytes, uint32_t len)
{
	struct listener *listener = arg;
	struct map_dump *dump = listener->dump;

	listener->err = put_record(dump, cpu, bytes, len);
	return !listener->err && dump->rows < dump->options.limit && !map_dump__stopped(dump);
}

int map_dump__events(struct map_dump *dump, struct error *error)
{
	struct listener listener = {.dump = dump};
	struct map_events *events;
	int err = map_events__open(&dump->map, on_record, &listener, &events, error);

	if (err)
		return err;
	while (!err && dump->rows < dump->options.limit && !map_dump__stopped(dump)) {
		err = map_events__poll(events, 5 * LOOK_MS);
		if (err) {
			map__explain(error, err, "cannot read the perf events");
			break;
		}
		err = listener.err ? listener.err : map_out__flush(&dump->out);
		err = map_dump__unwritten(err ? err : map_out__wait(&dump->out, 0), error);
	}
	if (map_events__lost(events))
		snprintf(dump->note, sizeof(dump->note), "lost for want of room: %llu records",
			 (unsigned long long)map_events__lost(events));
	map_events__free(events);
	return err;
}
