/* SPDX-License-Identifier: Apache-2.0 */
#include "map/map_dump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "extract/json.h"
#include "map/map_dump_impl.h"
#include "map/map_source.h"
#include "map/map_text.h"

/* "map 12 (bloom_filter seen)": how messages call it. */
static void describe(const struct map *map, char *out, size_t size)
{
	char room[16];

	snprintf(out, size, "map %u (%s%s%s)", map->id, map_type__name(map->type, room),
		 *map->name ? " " : "", map->name);
}

static const char *article(const char *name)
{
	return strchr("aeio", *name) ? "an" : "a"; /* a user_ringbuf */
}

/* Whether this kind of map can be read at all. */
static int check_kind(const struct map *map, const char *what, const struct map_dump_options *o,
		      struct error *error)
{
	const struct map_type *kind = map->kind;

	if (kind && (kind->way == MAP_DESCRIBED || kind->way == MAP_UNREADABLE)) {
		error__set(error, -EOPNOTSUPP, "%s cannot be read: %s %s %s", what,
			   article(kind->name), kind->name, kind->why);
		return error__hint(error, -EOPNOTSUPP, "%s", kind->remedy);
	}
	if (kind && kind->way == MAP_EVENTS && !o->follow) {
		error__set(
			error, -EOPNOTSUPP,
			"%s cannot be read: a %s keeps nothing, it hands records to whoever listens",
			what, kind->name);
		return error__hint(
			error, -EOPNOTSUPP,
			"--follow listens from now on; whoever listens now gets nothing then");
	}
	return 0;
}

/* Whether the options make sense for it. */
static int check_options(const struct map *map, const char *what, const struct map_dump_options *o,
			 struct error *error)
{
	enum map_way way = map->kind ? map->kind->way : MAP_ENTRIES;

	if (o->drain && way != MAP_POP && way != MAP_RING) {
		error__set(error, -EINVAL, "%s cannot be drained", what);
		return error__hint(error, -EINVAL,
				   "--drain is for queues, stacks and ring buffers; leave it out");
	}
	if (o->follow && way != MAP_RING && way != MAP_EVENTS) {
		error__set(error, -EINVAL, "%s cannot be followed", what);
		return error__hint(
			error, -EINVAL,
			"--follow is for ring buffers and perf event arrays; leave it out");
	}
	if (o->folded && !(map->kind && map->kind->per_cpu) && way != MAP_INNER) {
		error__set(error, -EINVAL, "%s has one value an entry, so there is nothing to fold",
			   what);
		return error__hint(error, -EINVAL, "--fold is for per-CPU maps; leave it out");
	}
	return 0;
}

int map_dump__layout(const struct map *map, const struct map_types *types,
		     const struct map_dump_options *options, struct layout **out,
		     struct error *error)
{
	bool per_cpu = map->kind && map->kind->per_cpu;
	int cpus = per_cpu && !options->folded ? libbpf_num_possible_cpus() : 1, err;

	if (cpus < 0)
		return error__set(error, cpus, "cannot tell how many CPUs there are: %s",
				  strerror(-cpus));
	err = map_types__layout(map, types, (uint32_t)cpus, out, error);
	/* What cannot be folded so (names, addresses, text) stays as it is: the last one's. */
	for (size_t i = 0; !err && per_cpu && options->folded && i < (*out)->nfields; i++)
		if (!(*out)->fields[i].key)
			layout__set_fold(*out, (*out)->fields[i].name, options->fold);
	return err;
}

int map_dump__new(struct map *map, const struct map_dump_options *options, struct map_dump **out,
		  struct error *error)
{
	struct map_dump *dump = calloc(1, sizeof(*dump));
	enum map_way way = map->kind ? map->kind->way : MAP_ENTRIES;
	char what[64];
	int err;

	if (!dump) {
		map__close(map);
		return error__set(error, -ENOMEM, "out of memory");
	}
	dump->map = *map;
	dump->options = *options;
	*map = (struct map){.fd = -1};
	map_out__init(&dump->out, options->fd, options->json, options->follow);
	describe(&dump->map, what, sizeof(what));
	err = check_kind(&dump->map, what, options, error);
	if (!err)
		err = check_options(&dump->map, what, options, error);
	if (!err && way != MAP_RING && way != MAP_EVENTS) {
		err = map_types__find(&dump->map, NULL, &dump->types, error);
		if (!err)
			err = map_dump__layout(&dump->map, &dump->types, options, &dump->layout,
					       error);
	}
	if (err) {
		map_dump__free(dump);
		return err;
	}
	*out = dump;
	return 0;
}

void map_dump__free(struct map_dump *dump)
{
	if (!dump)
		return;
	layout__free(dump->layout);
	map_types__free(&dump->types);
	map_out__free(&dump->out);
	map__close(&dump->map);
	free(dump);
}

int map_dump__run(struct map_dump *dump, struct error *error)
{
	int err;

	switch (dump->map.kind ? dump->map.kind->way : MAP_ENTRIES) {
	case MAP_RING:
		err = map_dump__ring(dump, error);
		break;
	case MAP_EVENTS:
		err = map_dump__events(dump, error);
		break;
	default:
		err = map_dump__table(dump, error);
	}
	if (!err && map_dump__stopped(dump) && !dump->options.follow)
		err = error__set(error, -ECANCELED, "interrupted after %llu rows",
				 (unsigned long long)dump->rows);
	if (!err)
		return map_dump__unwritten(map_out__end(&dump->out), error);
	if (err != -EPIPE && dump->out.json && !dump->out.endless && dump->out.rows)
		buf__append(&dump->out.buf, "\n", 1);
	if (err != -EPIPE)
		map_out__flush(&dump->out);
	return err;
}

void map_dump__stop(struct map_dump *dump)
{
	__atomic_store_n(&dump->stopped, true, __ATOMIC_RELAXED);
}

uint64_t map_dump__rows(const struct map_dump *dump)
{
	return dump->rows;
}

const char *map_dump__note(const struct map_dump *dump)
{
	return dump->note;
}

int map_dump__unwritten(int err, struct error *error)
{
	if (!err)
		return 0;
	if (err == -EMSGSIZE)
		return error__set(error, err, "a record is larger than a gigabyte as text");
	return error__set(error, err, "cannot write: %s", strerror(-err));
}
