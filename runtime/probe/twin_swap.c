/* SPDX-License-Identifier: Apache-2.0 */
/* The two instances change places, and what the one that went has counted is read. */
#include "probe/twin_impl.h"

#include <errno.h>
#include <linux/types.h>
#include <string.h>
#include <time.h>

#include <bpf/libbpf.h>

/* When the first and the last link were replaced: each at some point of its call. */
struct moments {
	uint64_t first[2], last[2];
};

static int give(const struct twin *twin, struct twin_link *link, int side, struct error *error)
{
	const struct bpf_program *program = bpf_object__find_program_by_name(twin->objects[side],
									     link->program);

	return attach__replace(link->attachment, bpf_program__fd(program), error);
}

/* A link that cannot be put back is given up: left alone, it would count in the wrong window for ever. */
static void put_back(struct twin *twin, struct twin_link **done, size_t count)
{
	while (count--) {
		struct twin_link *link = done[count];

		if (!give(twin, link, twin->force, NULL))
			continue;
		attach__detach(link->attachment);
		link->attachment = NULL;
		link->gone = true;
	}
}

/*
 * XDP comes last: its call takes effect at once, then waits for a grace period of its own, by which all links behind it would
 * be late.
 */
static int replace_all(struct twin *twin, struct moments *at, struct error *error)
{
	struct twin_link *done[TWIN_LINKS_MAX];
	size_t count = 0;

	for (int last = 0; last < 2; last++) {
		for (size_t i = 0; i < twin->nlinks; i++) {
			struct twin_link *link = &twin->links[i];
			uint64_t start = grace__now();
			int err;

			if (link->gone || (link->attachment->hook == HOOK_XDP) != last)
				continue;
			err = give(twin, link, !twin->force, error);
			if (err == -ENODEV) {
				link->gone = true;
				continue;
			}
			if (err) {
				put_back(twin, done, count);
				return err;
			}
			at->last[0] = start;
			at->last[1] = grace__now();
			if (!count)
				memcpy(at->first, at->last, sizeof(at->first));
			done[count++] = link;
		}
	}
	return 0;
}

static void tell(const struct twin *twin, const struct moments *at, struct twin_cost *cost)
{
	bool several = at->first[0] != at->last[0];
	bool apart = at->last[0] > at->first[1];

	for (size_t i = 0; i < twin->nlinks; i++)
		cost->gone += twin->links[i].gone;
	if (!at->first[0])
		return;
	cost->swap = (double)(at->last[1] - at->first[0]) / 1e9;
	cost->skew = several ? cost->swap : 0;
	cost->skew_least = several && apart ? (double)(at->last[0] - at->first[1]) / 1e9 : 0;
}

int twin__swap(struct twin *twin, struct twin_cost *cost, struct error *error)
{
	struct twin_cost ignored;
	struct moments at = {0};
	struct timespec wall;
	uint64_t start;
	int err = 0;

	if (!twin->objects[1])
		return error__set(error, -EINVAL, "%s has no windows", twin->name);
	if (twin->quiet && twin->graced)
		return error__set(error, -EBUSY, "the last window is not drained yet");
	if (!cost)
		cost = &ignored;
	clock_gettime(CLOCK_REALTIME, &wall);
	*cost = (struct twin_cost){.now = grace__now(),
				   .wall = (uint64_t)wall.tv_sec * 1000000000ULL +
					   (uint64_t)wall.tv_nsec};
	if (!twin->quiet) /* else it was only the grace period that failed */
		err = replace_all(twin, &at, error);
	if (err)
		return err;
	tell(twin, &at, cost);
	if (!twin->quiet)
		twin->force = !twin->force;
	twin->quiet = true;
	start = grace__now();
	err = grace__wait(&twin->grace, error);
	cost->grace = grace__seconds(start);
	twin->graced = !err;
	return err;
}

/* Of all records, or of the one with that index. */
static uint64_t add_up(const struct batch *batch, const struct field *field, int64_t index)
{
	const struct field *key = batch->layout->nfields ? &batch->layout->fields[0] : NULL;
	uint64_t sum = 0;

	for (size_t i = 0; i < batch->count; i++) {
		const unsigned char *record = batch->records + i * batch->layout->stride;

		if (index < 0 || (key && key->key &&
				  layout__number(key, record + key->offset) == (uint64_t)index))
			sum += layout__number(field, record + field->offset);
	}
	return sum;
}

static int64_t evicted_of(const struct twin *twin, size_t i, uint64_t read,
			  const struct batch *batches)
{
	const struct twin_map *map = &twin->maps[i];

	if (!map->field || !(read & (1ULL << i)) || !(read & (1ULL << map->total)))
		return TWIN_NOT_KNOWN;
	return (int64_t)(add_up(&batches[map->total], map->total_field, map->total_index) -
			 add_up(&batches[i], map->field, -1));
}

int twin__drain(struct twin *twin, uint64_t maps, bool sorted, struct batch *batches,
		int64_t *evicted, struct twin_cost *cost, struct error *error)
{
	uint64_t start = grace__now(), read = 0;
	int err = 0;

	if (!twin->quiet || !twin->graced)
		return error__set(error, -EINVAL, "%s: no window has ended", twin->name);
	for (size_t i = 0; i < twin->nmaps; i++) {
		const struct twin_map *map = &twin->maps[i];
		int one;

		if (!(maps & (1ULL << i)))
			continue;
		one = extract__read(map->quiet[!twin->force], true, &batches[i]);
		if (!one)
			read |= 1ULL << i;
		else if (!err)
			err = error__set(error, one, "reading a window's records of %s failed: %s",
					 map->name, strerror(-one));
		if (!one && sorted && map->layout->key_size) /* a queue has its own order */
			batch__sort(&batches[i]);
	}
	for (size_t i = 0; evicted && i < twin->nmaps; i++)
		evicted[i] = evicted_of(twin, i, read, batches);
	twin->quiet = twin->graced = false;
	if (cost)
		cost->read = grace__seconds(start);
	return err;
}
