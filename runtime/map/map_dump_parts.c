/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large hashes by several threads. Each takes the next part of the map, reads it and makes text of it, until there is none; they take
 * turns in writing. There are more parts than threads, since a thread may have to share its CPU with others' work.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "extract/extract.h"
#include "map/map_dump_impl.h"

#define THREADS 4 /* more do not help: memory is the limit */
#define PARTS 16
#define WRITE_BYTES (128UL << 10) /* gathered before a turn is taken */

struct team {
	struct map_dump *dump;
	pthread_mutex_t turn;
	uint32_t parts, next; /* atomically: the part to be taken next */
};

struct worker {
	struct team *team;
	struct extract *extract;
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

static int write_out(struct worker *worker)
{
	struct map_dump *dump = worker->team->dump;
	int err;

	pthread_mutex_lock(&worker->team->turn);
	err = map_out__rows(&dump->out, worker->text.data, worker->text.len, worker->rows);
	dump->rows += worker->rows;
	pthread_mutex_unlock(&worker->team->turn);
	worker->unwritten = err != 0;
	worker->rows = 0;
	buf__clear(&worker->text);
	return err;
}

static int put_rows(struct worker *worker, const struct batch *batch)
{
	struct map_dump *dump = worker->team->dump;
	bool json = dump->options.json;
	int err = 0;

	for (size_t i = 0; !err && i < batch->count; i++) {
		const unsigned char *record = batch->records + i * batch->layout->stride;

		err = json ? buf__append(&worker->text, ",\n", 2) : 0;
		err = err ? err : map_dump__put(dump, &worker->text, dump->layout, record);
		if (!err && !json)
			err = buf__append(&worker->text, "\n", 1);
		worker->rows++;
		if (!err && worker->text.len >= WRITE_BYTES)
			err = write_out(worker);
	}
	return err;
}

static int read_part(struct worker *worker, uint32_t part, struct batch *batch)
{
	struct team *team = worker->team;
	int more = extract__start(worker->extract, false), err = more;

	extract__set_part(worker->extract, part, team->parts);
	for (more = 1; !err && more > 0 && !map_dump__stopped(team->dump);) {
		more = extract__next(worker->extract, batch);
		err = put_rows(worker, batch);
		if (!err && more < 0)
			err = more;
	}
	return err;
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	struct team *team = worker->team;
	struct batch batch;

	batch__init(&batch, team->dump->layout);
	while (!worker->err && !map_dump__stopped(team->dump)) {
		uint32_t part = __atomic_fetch_add(&team->next, 1, __ATOMIC_RELAXED);

		if (part >= team->parts)
			break;
		worker->err = read_part(worker, part, &batch);
	}
	if (!worker->err && worker->rows)
		worker->err = write_out(worker);
	if (worker->err)
		map_dump__stop(team->dump);
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

	return extract__open(&what, dump->layout, NULL, out, NULL);
}

/* This thread is one of them; one that cannot be started leaves its work to the others. */
static void run_all(struct worker *workers, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++)
		workers[i].started = !pthread_create(&workers[i].thread, NULL, run, &workers[i]);
	run(&workers[0]);
	for (uint32_t i = 1; i < count; i++)
		if (workers[i].started)
			pthread_join(workers[i].thread, NULL);
}

static int outcome(const struct worker *workers, uint32_t count, struct error *error)
{
	for (uint32_t i = 0; i < count; i++) {
		if (workers[i].err && workers[i].unwritten)
			return map_dump__unwritten(workers[i].err, error);
		if (workers[i].err)
			return map__explain(error, workers[i].err, "cannot read the map");
	}
	return 1;
}

int map_dump__parts(struct map_dump *dump, struct error *error)
{
	bool whole = dump->options.limit == UINT64_MAX && dump->map.kind &&
		     dump->map.kind->way == MAP_ENTRIES;
	struct team team = {.dump = dump, .turn = PTHREAD_MUTEX_INITIALIZER, .parts = 1};
	struct worker workers[THREADS] = {0};
	uint32_t count = whole ? cpus() : 1;
	int err = count > 1 ? open_extract(dump, &workers[0].extract) : 1;

	if (!err)
		team.parts = extract__parts(workers[0].extract, PARTS);
	count = count < team.parts ? count : team.parts;
	for (uint32_t i = 0; !err && i < count; i++) {
		workers[i].team = &team;
		buf__init(&workers[i].text, dump->out.buf.ceiling);
		if (i)
			err = open_extract(dump, &workers[i].extract);
	}
	if (!err && count > 1) {
		run_all(workers, count);
		err = outcome(workers, count, error);
	} else {
		err = 0; /* one thread goes about it in its own way, and says what is wrong */
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		extract__free(workers[i].extract);
		buf__free(&workers[i].text);
	}
	return err;
}
