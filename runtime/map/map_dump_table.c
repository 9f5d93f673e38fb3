/* SPDX-License-Identifier: Apache-2.0 */
/* Entries, and in their place those of inner maps. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "extract/json.h"
#include "map/map_dump_impl.h"
#include "map/map_source.h"
#include "map/map_text.h"

int map_dump__put(const struct map_dump *dump, struct buf *out, const struct layout *layout,
		  const unsigned char *record)
{
	if (dump->options.json)
		return json__record(out, layout, JSON_PAIR, record);
	return map_text__record(out, layout, record);
}

static int put(struct map_dump *dump, const struct layout *layout, const unsigned char *record)
{
	int err = map_dump__put(dump, &dump->out.buf, layout, record);

	return err || dump->options.json ? err : buf__append(&dump->out.buf, "\n", 1);
}

/* Writes records until there are none, enough, or a stop. `row` writes one, the `n`th. */
typedef int (*row_fn)(struct map_dump *dump, const struct layout *layout,
		      const unsigned char *record, uint64_t n, struct error *error);

static int read_rows(struct map_dump *dump, struct map_source *source, const struct layout *layout,
		     row_fn row, uint64_t *count, struct error *error)
{
	struct batch batch;
	int more, err = 0;

	batch__init(&batch, layout);
	*count = 0;
	do {
		more = map_source__next(source, &batch, error);
		for (size_t i = 0; !err && i < batch.count && *count < dump->options.limit; i++) {
			err = row(dump, layout, batch.records + i * layout->stride, *count, error);
			if (!err)
				err = map_dump__unwritten(map_out__spill(&dump->out), error);
			(*count)++;
		}
	} while (!err && more > 0 && *count < dump->options.limit && !map_dump__stopped(dump));
	batch__free(&batch);
	if (!err && more < 0)
		err = more;
	return err;
}

static int read_map(struct map_dump *dump, const struct map *map, const struct layout *layout,
		    row_fn row, uint64_t *count, struct error *error)
{
	struct map_read how = {.drain = dump->options.drain, .limit = dump->options.limit};
	struct map_source *source;
	int err = map_source__open(map, layout, &how, &source, error);

	if (err)
		return err;
	err = read_rows(dump, source, layout, row, count, error);
	if (map_source__note(source))
		snprintf(dump->note, sizeof(dump->note), "%s", map_source__note(source));
	map_source__free(source);
	return err;
}

static int plain_row(struct map_dump *dump, const struct layout *layout,
		     const unsigned char *record, uint64_t n, struct error *error)
{
	int err = map_out__row(&dump->out);

	(void)n;
	err = err ? err : put(dump, layout, record);
	dump->rows++;
	return map_dump__unwritten(err, error);
}

/* ------------------------------------------------------------------------------------- inner maps */

static int inner_row(struct map_dump *dump, const struct layout *layout,
		     const unsigned char *record, uint64_t n, struct error *error)
{
	int err = buf__puts(&dump->out.buf, !dump->options.json ? "  " : n ? "," : "");

	return map_dump__unwritten(err ? err : put(dump, layout, record), error);
}

static int put_head(struct map_dump *dump, const struct map *map)
{
	struct buf *out = &dump->out.buf;
	const char *type;
	char room[16];

	type = map_type__name(map->type, room);
	if (dump->options.json)
		return buf__printf(
			out, ",\"inner\":{\"id\":%u,\"type\":\"%s\",\"name\":\"%s\",\"entries\":[",
			map->id, type, map->name);
	return buf__printf(out, " (%s%s%s)\n", type, *map->name ? " " : "", map->name);
}

/* Why an inner map was not read, in its place: others of them may be. */
static int put_reason(struct map_dump *dump, const struct error *why, bool begun)
{
	struct buf *out = &dump->out.buf;
	int err;

	if (!dump->options.json)
		return buf__printf(out, "%s%s\n", begun ? "  " : ": ", why->message);
	err = buf__puts(out, begun ? "],\"error\":" : ",\"error\":");
	err = err ? err : json__string(out, why->message, strlen(why->message));
	return err ? err : buf__puts(out, begun ? "}}" : "}");
}

static int put_inner(struct map_dump *dump, const struct map *map, struct error *error)
{
	struct layout *layout = NULL;
	struct error why = {0};
	struct map_types types;
	uint64_t count;
	int err = put_head(dump, map), failed;

	if (err)
		return map_dump__unwritten(err, error);
	err = map_types__find(map, &dump->types, &types, error);
	if (err)
		return err;
	if (map->kind && (map->kind->way == MAP_DESCRIBED || map->kind->way == MAP_UNREADABLE ||
			  map->kind->way == MAP_RING || map->kind->way == MAP_EVENTS))
		failed = error__set(&why, -EOPNOTSUPP, "a %s is not read as an inner map",
				    map->kind->name);
	else
		failed = map_dump__layout(map, &types, &dump->options, &layout, &why);
	if (!failed)
		failed = read_map(dump, map, layout, inner_row, &count, &why);
	layout__free(layout);
	map_types__free(&types);
	if (failed == -EPIPE || failed == -ENOMEM) {
		*error = why;
		return failed;
	}
	if (failed)
		err = put_reason(dump, &why, true);
	else if (dump->options.json)
		err = buf__puts(&dump->out.buf, "]}}");
	return map_dump__unwritten(err, error);
}

/* A row whose value is the id of a map: the same row, and what is in that map. */
static int outer_row(struct map_dump *dump, const struct layout *layout,
		     const unsigned char *record, uint64_t n, struct error *error)
{
	struct buf *out = &dump->out.buf;
	struct map map = {0};
	struct error why = {0};
	uint32_t id;
	int err = plain_row(dump, layout, record, n, error), failed;

	if (err)
		return err;
	memcpy(&id, record + layout->value_offset, sizeof(id));
	out->len--; /* the brace or the line end: there is more to come */
	failed = map__open_id(id, &map, &why);
	if (failed)
		return map_dump__unwritten(put_reason(dump, &why, false), error);
	err = put_inner(dump, &map, error);
	map__close(&map);
	return err;
}

int map_dump__table(struct map_dump *dump, struct error *error)
{
	bool inner = dump->map.kind && dump->map.kind->way == MAP_INNER;
	uint64_t count;
	int err = map_dump__parts(dump, error);

	if (err)
		return err < 0 ? err : 0;
	err = read_map(dump, &dump->map, dump->layout, inner ? outer_row : plain_row, &count,
		       error);
	if (!err && dump->options.drain && count)
		snprintf(dump->note, sizeof(dump->note), "taken out of the map: %llu",
			 (unsigned long long)count);
	else if (!err && dump->map.kind && dump->map.kind->way == MAP_POP && count)
		snprintf(
			dump->note, sizeof(dump->note),
			"only the first one can be seen without --drain, which takes what is there");
	return err;
}
