/* SPDX-License-Identifier: Apache-2.0 */
/* Large hashes by several threads, each reading a part of the map and making its own text of it; they take turns in writing. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "extract.h"
#include "map_dump_impl.h"

#define THREADS 4		  /* more do not help: memory is the limit */
#define WRITE_BYTES (128UL << 10) /* gathered before a turn is taken */

struct part {
	struct map_dump *dump;
	struct extract *extract;
	pthread_mutex_t *turn;
	pthread_t thread;
	bool started;
	struct buf text;
	uint64_t rows; /* in `text` */
	int err;
	bool unwritten; /* `err` is of the writing */
};

static uint32_t cpus(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

	return n < 1 ? 1 : n > THREADS ? THREADS : (uint32_t)n;
}

static int write_out(struct part *part)
{
	struct map_dump *dump = part->dump;
	int err;

	pthread_mutex_lock(part->turn);
	err = map_out__rows(&dump->out, part->text.data, part->text.len, part->rows);
	dump->rows += part->rows;
	pthread_mutex_unlock(part->turn);
	part->unwritten = err != 0;
	part->rows = 0;
	buf__clear(&part->text);
	return err;
}

static int put_rows(struct part *part, const struct batch *batch)
{
	struct map_dump *dump = part->dump;
	bool json = dump->options.json;
	int err = 0;

	for (size_t i = 0; !err && i < batch->count; i++) {
		const unsigned char *record = batch->records + i * batch->layout->stride;

		err = json ? buf__append(&part->text, ",\n", 2) : 0;
		err = err ? err : map_dump__put(dump, &part->text, dump->layout, record);
		if (!err && !json)
			err = buf__append(&part->text, "\n", 1);
		part->rows++;
		if (!err && part->text.len >= WRITE_BYTES)
			err = write_out(part);
	}
	return err;
}

static void *run(void *arg)
{
	struct part *part = arg;
	struct batch batch;
	int more = 1;

	batch__init(&batch, part->dump->layout);
	while (!part->err && more > 0 && !map_dump__stopped(part->dump)) {
		more = extract__next(part->extract, &batch);
		part->err = put_rows(part, &batch);
	}
	if (!part->err && part->rows)
		part->err = write_out(part);
	if (!part->err && more < 0)
		part->err = more;
	if (part->err)
		map_dump__stop(part->dump);
	batch__free(&batch);
	return NULL;
}

static int open_extract(const struct map_dump *dump, struct extract **out)
{
	const struct extract_map what = {.fd = dump->map.fd,
					 .type = dump->map.type,
					 .flags = dump->map.flags,
					 .max_entries = dump->map.max_entries,
					 .entries = dump->map.max_entries};
	int err = extract__open(&what, dump->layout, NULL, out, NULL);

	return err ? err : extract__start(*out, false);
}

/* One thread for each part, this one for the first. */
static void run_all(struct part *parts, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++)
		parts[i].started = !pthread_create(&parts[i].thread, NULL, run, &parts[i]);
	run(&parts[0]);
	for (uint32_t i = 1; i < count; i++) {
		if (parts[i].started)
			pthread_join(parts[i].thread, NULL);
		else
			run(&parts[i]);
	}
}

static int outcome(const struct part *parts, uint32_t count, struct error *error)
{
	for (uint32_t i = 0; i < count; i++) {
		if (parts[i].err && parts[i].unwritten)
			return map_dump__unwritten(parts[i].err, error);
		if (parts[i].err)
			return map__explain(error, parts[i].err, "cannot read the map");
	}
	return 1;
}

int map_dump__parts(struct map_dump *dump, struct error *error)
{
	bool whole = dump->options.limit == UINT64_MAX && dump->map.kind &&
		     dump->map.kind->way == MAP_ENTRIES;
	pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
	struct part parts[THREADS] = {0};
	uint32_t count = whole ? cpus() : 1;
	int err = 1;

	if (count > 1)
		err = open_extract(dump, &parts[0].extract);
	if (!err)
		count = extract__parts(parts[0].extract, count);
	for (uint32_t i = 1; !err && i < count; i++)
		err = open_extract(dump, &parts[i].extract);
	for (uint32_t i = 0; !err && i < count; i++) {
		parts[i].dump = dump;
		parts[i].turn = &turn;
		buf__init(&parts[i].text, dump->out.buf.ceiling);
		extract__set_part(parts[i].extract, i, count);
	}
	if (!err && count > 1) {
		run_all(parts, count);
		err = outcome(parts, count, error);
	} else {
		err = 0; /* one thread goes about it in its own way, and says what is wrong */
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		extract__free(parts[i].extract);
		buf__free(&parts[i].text);
	}
	return err;
}
