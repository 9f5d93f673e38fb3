/* SPDX-License-Identifier: Apache-2.0 */
#include "extract/json_plan.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "extract/layout_type.h"

#define MAX_TEXT (16UL << 20) /* names of 4096 fields, each some levels deep */
#define MAX_RECORD (1UL << 30)

struct builder {
	struct json_plan *plan;
	struct buf text;
	size_t capacity;
	uint64_t most;	/* bytes so far */
	uint64_t times; /* how often what is added now comes in a record */
	bool closed;	/* a loop has just ended: what follows is no part of it */
	int err;
};

static struct json_step *add_step(struct builder *b, enum json_step_kind kind)
{
	struct json_plan *plan = b->plan;

	if (!b->err && plan->count == b->capacity) {
		size_t capacity = b->capacity ? b->capacity * 2 : 32;
		struct json_step *steps = reallocarray(plan->steps, capacity, sizeof(*steps));

		if (steps) {
			plan->steps = steps;
			b->capacity = capacity;
		} else {
			b->err = -ENOMEM;
		}
	}
	if (b->err || !plan->steps)
		return NULL;
	b->closed = false;
	plan->steps[plan->count] = (struct json_step){.kind = kind};
	return &plan->steps[plan->count++];
}

static void count_most(struct builder *b, uint64_t bytes)
{
	b->most += bytes * b->times;
	if (b->most > MAX_RECORD)
		b->err = -EMSGSIZE;
}

/* Constant text; what follows other text joins it. */
static void add_text(struct builder *b, const char *text, size_t len)
{
	struct json_step *last = b->plan->count ? &b->plan->steps[b->plan->count - 1] : NULL;

	if (!last || last->kind != JSON_STEP_TEXT || b->closed) {
		last = add_step(b, JSON_STEP_TEXT);
		if (!last)
			return;
		last->at = b->text.len;
	}
	if (!b->err)
		b->err = buf__append(&b->text, text, len);
	last->len += len;
	count_most(b, len);
}

static void add_name(struct builder *b, const char *name, size_t len)
{
	struct buf quoted;

	buf__init(&quoted, MAX_TEXT);
	if (!b->err)
		b->err = json__string(&quoted, name, len);
	if (!b->err)
		b->err = buf__append(&quoted, ":", 1);
	if (!b->err)
		add_text(b, quoted.data, quoted.len);
	buf__free(&quoted);
}

/* Most bytes of one element. */
static uint64_t element_most(const struct field *f)
{
	uint64_t most = 64; /* numbers, addresses, times, names of protocols */

	if (f->kind == FIELD_IFINDEX) /* whose name may be of control characters */
		most = 6 * (IF_NAMESIZE - 1) + 2;
	if (f->kind == FIELD_BYTES)
		most = 3 * (uint64_t)f->size + 2;
	if (f->kind == FIELD_TEXT)
		most = 6 * (uint64_t)f->size + 2;
	for (size_t i = 0; f->names && i < f->names->count; i++)
		if (6 * f->names->all[i].len + 2 > most)
			most = 6 * f->names->all[i].len + 2;
	return most;
}

static void add_leaf(struct builder *b, const struct field *f, uint32_t dim)
{
	uint64_t elements = 1, brackets = 0;
	struct json_step *step = add_step(b, JSON_STEP_FIELD);

	if (!step)
		return;
	if (f->kind == FIELD_UINT && f->size == 8 && !f->bits && dim == f->ndims)
		step->kind = JSON_STEP_COUNTER;
	step->field = f;
	step->dim = dim;
	for (uint32_t i = dim; i < f->ndims; i++) {
		brackets += 2 * elements;
		elements *= f->dims[i].count;
	}
	count_most(b, elements * (element_most(f) + 1) + brackets);
}

/* The part of the path at `level`: its length; *out where it begins. 0 when there is none. */
static size_t component(const struct field *f, uint32_t level, const char **out)
{
	const char *at = f->path;

	for (; level; level--) {
		at = strchr(at, '.');
		if (!at)
			return 0;
		at++;
	}
	*out = at;
	return strcspn(at, ".");
}

static bool same_member(const struct field *a, const struct field *b, uint32_t level)
{
	const char *x = "", *y = "";
	size_t n = component(a, level, &x), m = component(b, level, &y);

	return n == m && memcmp(x, y, n) == 0;
}

static void add_object(struct builder *b, const struct field *from, const struct field *to,
		       uint32_t level, uint32_t dim);

/* The structs that come at `level`, in the brackets of the arrays that begin there. */
static void add_structs(struct builder *b, const struct field *from, const struct field *to,
			uint32_t level, uint32_t dim)
{
	uint64_t times = b->times;
	struct json_step *loop;
	size_t step;

	if (dim == from->ndims || from->dims[dim].level != level) {
		add_object(b, from, to, level, dim);
		return;
	}
	add_text(b, "[", 1);
	loop = add_step(b, JSON_STEP_LOOP);
	if (!loop)
		return;
	loop->count = from->dims[dim].count;
	loop->stride = from->dims[dim].stride;
	step = b->plan->count - 1;
	b->times *= loop->count;
	count_most(b, 1);
	add_structs(b, from, to, level, dim + 1);
	b->times = times;
	b->plan->steps[step].end = b->plan->count;
	b->closed = true;
	add_text(b, "]", 1);
}

/* The member of `level` that begins at `from`, without its name. Returns where the next one begins. */
static const struct field *add_member(struct builder *b, const struct field *from,
				      const struct field *to, uint32_t level, uint32_t dim)
{
	const struct field *end = from + 1;
	const char *below;

	if (component(from, level + 1, &below) == 0) {
		add_leaf(b, from, dim);
		return end;
	}
	while (end < to && end->key == from->key && same_member(from, end, level))
		end++;
	add_structs(b, from, end, level + 1, dim);
	return end;
}

static void add_object(struct builder *b, const struct field *from, const struct field *to,
		       uint32_t level, uint32_t dim)
{
	const char *name = "";

	add_text(b, "{", 1);
	while (from < to && !b->err) {
		size_t len = component(from, level, &name);

		add_name(b, name, len);
		from = add_member(b, from, to, level, dim);
		if (from < to)
			add_text(b, ",", 1);
	}
	add_text(b, "}", 1);
}

/* A whole key or value. */
static void add_part(struct builder *b, const struct field *from, const struct field *to)
{
	if (from < to && !from->path[0])
		add_leaf(b, from, 0);
	else if (from < to)
		add_structs(b, from, to, 0, 0); /* of all CPUs, or a value that is an array */
	else
		add_object(b, from, to, 0, 0);
}

static void add_pair(struct builder *b, const struct layout *layout, size_t keys,
		     enum json_form form)
{
	const struct field *fields = layout->fields, *end = fields + layout->nfields;
	const char *value = form == JSON_PAIR && layout->cpus > 1 ? "values" : "value";

	if (form == JSON_VALUE) {
		add_part(b, fields + keys, end);
		return;
	}
	add_text(b, "{", 1);
	if (layout->key_size) {
		add_name(b, "key", 3);
		add_part(b, fields, fields + keys);
		add_text(b, layout->value_size ? "," : "", layout->value_size ? 1 : 0);
	}
	if (layout->value_size) {
		add_name(b, value, strlen(value));
		add_part(b, fields + keys, end);
	}
	add_text(b, "}", 1);
}

/* What the part of a row is called that begins at this field: a member, or a whole key or value that is no struct. */
static size_t row_name(const struct layout *layout, const struct field *f, const char **out)
{
	if (f->path[0] && layout->cpus > 1 && !f->key) {
		*out = "values";
		return 6;
	}
	if (f->path[0])
		return component(f, 0, out);
	*out = f->name;
	return strlen(f->name);
}

/* Adds the name; "value.NAME" for what the key has too. */
static void add_row_name(struct builder *b, const struct layout *layout, size_t keys,
			 const struct field *f)
{
	const char *name = "", *other = "";
	size_t len = row_name(layout, f, &name);
	bool taken = false;
	char *full = NULL;
	int full_len;

	for (size_t i = 0; i < keys && !f->key && !taken; i++)
		taken = row_name(layout, &layout->fields[i], &other) == len &&
			memcmp(name, other, len) == 0;
	if (!taken) {
		add_name(b, name, len);
		return;
	}
	full_len = asprintf(&full, "value.%.*s", (int)len, name);
	if (full_len < 0) {
		b->err = -ENOMEM;
		return;
	}
	add_name(b, full, (size_t)full_len);
	free(full);
}

/* Members by their own name, but all CPUs' values as a list. Returns where the next one begins. */
static const struct field *add_row_member(struct builder *b, const struct layout *layout,
					  size_t keys, const struct field *from)
{
	const struct field *end = layout->fields + layout->nfields;

	add_row_name(b, layout, keys, from);
	if (!from->path[0]) {
		add_leaf(b, from, 0);
		return from + 1;
	}
	if (layout->cpus > 1 && !from->key) {
		add_part(b, from, end);
		return end;
	}
	return add_member(b, from, end, 0, 0);
}

static void add_row(struct builder *b, const struct layout *layout, size_t keys)
{
	const struct field *from = layout->fields, *end = from + layout->nfields;

	add_text(b, "{", 1);
	while (from < end && !b->err) {
		from = add_row_member(b, layout, keys, from);
		if (from < end)
			add_text(b, ",", 1);
	}
	add_text(b, "}", 1);
}

static int make(const struct layout *layout, enum json_form form, struct json_plan **out)
{
	struct builder b = {.plan = calloc(1, sizeof(struct json_plan)), .times = 1};
	size_t keys = 0;

	if (!b.plan)
		return -ENOMEM;
	buf__init(&b.text, MAX_TEXT);
	while (keys < layout->nfields && layout->fields[keys].key)
		keys++;
	if (form == JSON_ROW)
		add_row(&b, layout, keys);
	else
		add_pair(&b, layout, keys, form);
	if (!b.err)
		b.err = buf__append(&b.text, (char[JSON_BLOCK]){0}, JSON_BLOCK);
	b.plan->text = b.text.data;
	b.plan->most = b.most + JSON_BLOCK;
	if (b.err) {
		json_plan__free(b.plan);
		return b.err;
	}
	*out = b.plan;
	return 0;
}

int json_plan__get(const struct layout *layout, enum json_form form, const struct json_plan **out)
{
	struct json_plan **slot = &layout->json[form];
	struct json_plan *plan = __atomic_load_n(slot, __ATOMIC_ACQUIRE), *other = NULL;
	int err;

	if (!plan) {
		err = make(layout, form, &plan);
		if (err)
			return err;
		if (!__atomic_compare_exchange_n(slot, &other, plan, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_ACQUIRE)) {
			json_plan__free(plan); /* another thread was first */
			plan = other;
		}
	}
	*out = plan;
	return 0;
}

void json_plan__free(struct json_plan *plan)
{
	if (!plan)
		return;
	free(plan->steps);
	free(plan->text);
	free(plan);
}
