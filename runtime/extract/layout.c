/* SPDX-License-Identifier: Apache-2.0 */
#include "extract/layout.h"

#include <bpf/btf.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extract/json.h"
#include "extract/layout_type.h"

#define MAX_FIELDS 4096
#define MAX_DEPTH 32 /* of nested structs; deeper ones are bytes */
#define JSON_FORMS (JSON_VALUE + 1)

/* The part of the record, key or value, that is being described. */
struct builder {
	const struct btf *btf;
	struct layout *layout;
	struct field *fields;
	size_t n, capacity, keys;
	uint32_t base, size; /* where the part starts and what it may reach */
	bool key;
	struct error *error;
};

/* Where in the part a member lies: its path, its place, and the dimensions of the arrays around it. */
struct place {
	char *path;
	uint64_t bit; /* from the start of the part */
	uint32_t level, ndims;
	bool alias;
	struct field_dim dims[LAYOUT_DIMS];
};

static int grow(struct builder *b)
{
	size_t capacity = b->capacity ? b->capacity * 2 : 16;
	struct field *fields;

	if (b->n < b->capacity)
		return 0;
	if (b->n >= MAX_FIELDS)
		return error__set(b->error, -E2BIG, "the record has more than %d fields",
				  MAX_FIELDS);
	fields = reallocarray(b->fields, capacity, sizeof(*fields));
	if (!fields)
		return -ENOMEM;
	b->fields = fields;
	b->capacity = capacity;
	return 0;
}

/*
 * C has no two members of one path, so only the key can have taken a name; or, once something is called "value.x" for that
 * reason, it and the x of a member `value` are in each other's way.
 */
static bool name_taken(const struct builder *b, const char *name)
{
	size_t n = strncmp(name, "value.", strlen("value.")) == 0 ? b->n : b->keys;

	for (size_t i = 0; i < n; i++)
		if (strcmp(b->fields[i].name, name) == 0)
			return true;
	return false;
}

/* name and path in one allocation, at `name`. */
static int set_names(const struct builder *b, const char *name, const char *path, struct field *f)
{
	char *text = NULL, *shorter;
	int len = asprintf(&text, "%s%c%s", name, '\0', path);

	while (len >= 0 && !b->key && name_taken(b, text)) {
		shorter = text;
		len = asprintf(&text, "value.%s%c%s", shorter, '\0', path);
		free(shorter);
	}
	if (len < 0)
		return -ENOMEM;
	f->name = text;
	f->path = text + strlen(text) + 1;
	return 0;
}

static enum field_fold default_fold(const struct field *f)
{
	const char *dot = strrchr(f->path, '.');

	switch (f->kind) {
	case FIELD_UINT:
	case FIELD_INT:
	case FIELD_FLOAT:
		return FOLD_SUM;
	case FIELD_TIME:
		return strcmp(dot ? dot + 1 : f->path, "first") == 0 ? FOLD_MIN : FOLD_MAX;
	default:
		return FOLD_LAST;
	}
}

/* A bitfield: of a type with a meaning it is a plain number, and beyond 64 bits just bytes. */
static void set_bits(const struct place *at, const struct element *e, struct field *f)
{
	uint32_t bit = at->bit % 8;

	f->size = (bit + e->bits + 7) / 8;
	if (e->bits > 64) {
		f->kind = FIELD_BYTES;
		f->is_signed = false;
		return;
	}
	f->bit = (uint8_t)bit;
	f->bits = (uint8_t)e->bits;
	if (f->kind != FIELD_INT && f->kind != FIELD_BOOL && f->kind != FIELD_ENUM)
		f->kind = FIELD_UINT;
}

/* `name` for a key or value that is no struct, which has no path. */
static int add_field(struct builder *b, const char *name, const struct place *at,
		     const struct element *e)
{
	uint64_t last = at->bit / 8;
	struct field *f;
	int err = grow(b);

	if (err)
		return err;
	f = &b->fields[b->n];
	*f = (struct field){.kind = e->kind,
			    .key = b->key,
			    .is_signed = e->is_signed,
			    .alias = at->alias,
			    .offset = b->base + (uint32_t)(at->bit / 8),
			    .size = e->size,
			    .count = 1,
			    .ndims = at->ndims};
	memcpy(f->dims, at->dims, sizeof(f->dims));
	if (e->bits)
		set_bits(at, e, f);
	for (uint32_t i = 0; i < f->ndims; i++) {
		if (!f->dims[i].count)
			return 0;
		last += (uint64_t)f->dims[i].stride * (f->dims[i].count - 1);
		f->count *= f->dims[i].count;
	}
	if (!f->size)
		return 0;
	if (last + f->size > b->size)
		return error__set(b->error, -EINVAL,
				  "the BTF is inconsistent: `%s` ends at byte %" PRIu64
				  " of a %s of %u",
				  name, last + f->size, b->key ? "key" : "value", b->size);
	if (f->kind == FIELD_ENUM) {
		f->names = layout_type__names(b->btf, e->type, &b->layout->names);
		if (!f->names)
			return -ENOMEM;
	}
	err = set_names(b, name, at->path, f);
	if (err)
		return err;
	f->fold = default_fold(f);
	b->n++;
	return 0;
}

static int add_type(struct builder *b, const struct place *at, const struct element *e, int depth);

/* Padding that a compiler or a cautious programmer has put there: pad, _pad2, __padding, … */
static bool is_padding(const char *name)
{
	name += strspn(name, "_");
	if (strncmp(name, "pad", 3) != 0)
		return false;
	name += strncmp(name, "padding", 7) == 0 ? 7 : 3;
	return strspn(name, "0123456789_") == strlen(name);
}

static int add_member(struct builder *b, uint32_t type, uint32_t i, const struct place *parent,
		      int depth)
{
	const struct btf_type *t = btf__type_by_id(b->btf, type);
	const struct btf_member *m = btf_members(t) + i;
	const char *own = layout_type__name(b->btf, m->name_off);
	uint32_t bits = btf_member_bitfield_size(t, i);
	struct place at = *parent;
	struct element e;
	int err;

	if (is_padding(own) || !layout_type__classify(b->btf, m->type, &e))
		return 0; /* nothing, or has no size: a forward declaration, a type that is not there */
	if (!own[0] && e.kind != KIND_STRUCT)
		return 0; /* an unnamed bitfield */
	at.bit += btf_member_bit_offset(t, i);
	at.alias |= btf_is_union(t) && i > 0;
	if (bits)
		e.bits = bits % 8 == 0 && bits == e.size * 8 && at.bit % 8 == 0 ? 0 : bits;
	layout_type__apply_tag(b->btf, type, i, &e);
	if (own[0]) {
		if (asprintf(&at.path, "%s%s%s", parent->path, parent->path[0] ? "." : "", own) < 0)
			return -ENOMEM;
		at.level++;
	}
	err = add_type(b, &at, &e, depth);
	if (own[0])
		free(at.path);
	return err;
}

/* A member whose place is known: a field, or the fields of a struct. */
static int add_type(struct builder *b, const struct place *at, const struct element *e, int depth)
{
	struct place inner = *at;
	struct element whole = *e;
	int err = 0;

	if (at->ndims + e->ndims > LAYOUT_DIMS || (e->kind == KIND_STRUCT && depth >= MAX_DEPTH)) {
		whole.kind = FIELD_BYTES;
		whole.size = e->ndims ? e->dims[0].stride * e->dims[0].count : e->size;
		return add_field(b, at->path, at, &whole);
	}
	for (uint32_t i = 0; i < e->ndims; i++) {
		inner.dims[inner.ndims] = e->dims[i];
		inner.dims[inner.ndims++].level = at->level;
	}
	if (e->kind != KIND_STRUCT)
		return add_field(b, at->path, &inner, e);
	for (uint32_t i = 0; !err && i < btf_vlen(btf__type_by_id(b->btf, e->type)); i++)
		err = add_member(b, e->type, i, &inner, depth + 1);
	return err;
}

/* What a key or value that is no struct is called. */
static const char *plain_name(const struct builder *b, const struct layout_spec *spec,
			      const struct element *e)
{
	const char *name = "";

	if (!b->key)
		return "value";
	if (e->kind == FIELD_ENUM) /* an index by an enum is called what the enum is: `direction` */
		name = layout_type__name(b->btf, btf__type_by_id(b->btf, e->type)->name_off);
	return *name ? name : spec->index ? "index" : "key";
}

static int add_part(struct builder *b, const struct layout_spec *spec, bool key)
{
	uint32_t type = key ? spec->key_type : spec->value_type;
	uint32_t size = key ? spec->key_size : spec->value_size;
	uint32_t slot = (spec->value_size + 7) & ~7U;
	struct place at = {.path = ""};
	struct element e = {.kind = FIELD_BYTES, .size = size};
	long long real = size;

	b->base = key ? 0 : b->layout->value_offset;
	b->key = key;
	b->size = key ? size : slot * (b->layout->cpus - 1) + size;
	if (type) {
		real = btf__resolve_size(b->btf, type);
		if (real < 0 || !layout_type__classify(b->btf, type, &e))
			return error__set(b->error, -EINVAL, "type %u of the %s has no size", type,
					  key ? "key" : "value");
	} else if (key && spec->index && size == 4) {
		e.kind = FIELD_UINT;
	}
	if (real != size)
		return error__set(b->error, -EINVAL,
				  "the %s's type has %lld bytes, the map's has %u",
				  key ? "key" : "value", real, size);
	if (!key && b->layout->cpus > 1)
		at.dims[at.ndims++] = (struct field_dim){.count = b->layout->cpus, .stride = slot};
	if (e.kind == KIND_STRUCT)
		return add_type(b, &at, &e, 0);
	for (uint32_t i = 0; i < e.ndims && at.ndims < LAYOUT_DIMS; i++)
		at.dims[at.ndims++] = e.dims[i];
	return size ? add_field(b, plain_name(b, spec, &e), &at, &e) : 0;
}

static uint64_t fnv1a(uint64_t hash, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3ULL;
	return hash;
}

static uint64_t fnv1a_u32(uint64_t hash, uint32_t value)
{
	return fnv1a(hash, &value, sizeof(value));
}

static uint64_t hash_field(uint64_t hash, const struct field *f)
{
	hash = fnv1a(hash, f->name, strlen(f->name) + 1);
	hash = fnv1a_u32(hash, (uint32_t)f->kind << 8 | (uint32_t)f->fold << 2 |
				       (uint32_t)f->key << 1 | f->is_signed);
	hash = fnv1a_u32(hash, (uint32_t)f->bits << 8 | f->bit);
	hash = fnv1a_u32(hash, f->offset);
	hash = fnv1a_u32(hash, f->size);
	for (uint32_t i = 0; i < f->ndims; i++)
		hash = fnv1a(hash, &f->dims[i], sizeof(f->dims[i]));
	for (size_t i = 0; f->names && i < f->names->count; i++) {
		const struct layout_name *name = &f->names->all[i];

		hash = fnv1a(hash, &name->value, sizeof(name->value));
		hash = fnv1a(hash, name->name, name->len + 1);
	}
	return hash;
}

static uint64_t hash_of(const struct layout *layout)
{
	uint64_t hash = fnv1a_u32(0xcbf29ce484222325ULL, layout->key_size);

	hash = fnv1a_u32(hash, layout->value_size);
	hash = fnv1a_u32(hash, layout->stride);
	for (size_t i = 0; i < layout->nfields; i++)
		hash = hash_field(hash, &layout->fields[i]);
	return hash;
}

int layout__new(const struct layout_spec *spec, struct layout **out, struct error *error)
{
	uint32_t cpus = spec->cpus ? spec->cpus : 1;
	uint64_t slot = ((uint64_t)spec->value_size + 7) & ~7ULL;
	struct builder b = {.btf = spec->btf, .error = error};
	struct layout *layout;
	int err;

	*out = NULL;
	if (spec->key_size > LAYOUT_MAX_PART || slot * cpus > LAYOUT_MAX_PART ||
	    (!spec->key_size && !spec->value_size) ||
	    (!spec->btf && (spec->key_type || spec->value_type)))
		return error__set(error, -EINVAL,
				  "a key of %u and a value of %u bytes make no record",
				  spec->key_size, spec->value_size);
	layout = b.layout = calloc(1, sizeof(*layout));
	if (!layout)
		return -ENOMEM;
	layout->key_size = spec->key_size;
	layout->value_size = spec->value_size;
	layout->value_offset = (spec->key_size + 7) & ~7U;
	layout->cpus = cpus;
	layout->stride = layout->value_offset + (uint32_t)slot * cpus;
	layout->json = calloc(JSON_FORMS, sizeof(*layout->json));
	err = layout->json ? add_part(&b, spec, true) : -ENOMEM;
	b.keys = b.n;
	if (!err)
		err = add_part(&b, spec, false);
	layout->fields = b.fields;
	layout->nfields = b.n;
	if (err) {
		layout__free(layout);
		return err;
	}
	layout->hash = hash_of(layout);
	*out = layout;
	return 0;
}

void layout__free(struct layout *layout)
{
	if (!layout)
		return;
	for (size_t i = 0; i < layout->nfields; i++)
		free((char *)layout->fields[i].name);
	free((struct field *)layout->fields);
	while (layout->names) {
		struct layout_names *next = layout->names->next;

		free(layout->names);
		layout->names = next;
	}
	for (size_t i = 0; layout->json && i < JSON_FORMS; i++)
		json_plan__free(layout->json[i]);
	free(layout->json);
	free(layout);
}

const struct field *layout__field(const struct layout *layout, const char *name)
{
	for (size_t i = 0; i < layout->nfields; i++)
		if (strcmp(layout->fields[i].name, name) == 0)
			return &layout->fields[i];
	return NULL;
}

size_t layout__element(const struct field *field, uint32_t index)
{
	size_t offset = field->offset;

	for (uint32_t i = field->ndims; i-- > 0;) {
		offset += (size_t)(index % field->dims[i].count) * field->dims[i].stride;
		index /= field->dims[i].count;
	}
	return offset;
}
