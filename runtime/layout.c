/* SPDX-License-Identifier: Apache-2.0 */
#include "layout.h"

#include <bpf/btf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS 1024
#define MAX_DEPTH 16	       /* of nested structs; deeper ones are bytes */
#define MAX_CHAIN 64	       /* of typedefs and qualifiers */
#define MAX_RECORD (64U << 20) /* bytes of a key or a value */

#define KIND_STRUCT ((enum field_kind)(-1)) /* to be flattened; never in a finished table */

/* What one member is. */
struct element {
	enum field_kind kind;
	uint32_t size, count, type;
};

/* The part of the record, key or value, that is being described. */
struct builder {
	const struct btf *btf;
	struct field *fields;
	size_t n, capacity;
	uint32_t base, size; /* where the part starts and what it may reach */
	bool key;
	struct error *error;
};

/* A name, or "" for a type or member that has none. */
static const char *name_at(const struct btf *btf, uint32_t offset)
{
	const char *name = btf__name_by_offset(btf, offset);

	return name ? name : "";
}

static bool typedef_kind(const char *name, enum field_kind *kind, uint32_t *size)
{
	static const struct {
		const char *name;
		enum field_kind kind;
		uint32_t size;
	} known[] = {
		{"__be16", FIELD_BE_UINT, 2},
		{"__be32", FIELD_BE_UINT, 4},
		{"__be64", FIELD_BE_UINT, 8},
		{"wall_ns", FIELD_TIME, 8},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(known[i].name, name) == 0) {
			*kind = known[i].kind;
			*size = known[i].size;
			return true;
		}
	}
	return false;
}

/* Looks through typedefs and qualifiers. A typedef with a meaning sets *kind and the size it holds for. */
static const struct btf_type *strip(const struct btf *btf, uint32_t *id, enum field_kind *kind,
				    uint32_t *size)
{
	for (int i = 0; i < MAX_CHAIN; i++) {
		const struct btf_type *t = btf__type_by_id(btf, *id);

		if (!t)
			return NULL;
		if (btf_is_typedef(t)) {
			if (!*size)
				typedef_kind(name_at(btf, t->name_off), kind, size);
		} else if (!btf_is_mod(t)) {
			return t;
		}
		*id = t->type;
	}
	return NULL;
}

static void classify_int(const struct btf_type *t, enum field_kind named, uint32_t named_size,
			 struct element *out)
{
	bool whole = btf_int_offset(t) == 0 && btf_int_bits(t) == t->size * 8;

	out->size = t->size;
	if (!whole || (t->size != 1 && t->size != 2 && t->size != 4 && t->size != 8))
		out->kind = FIELD_BYTES;
	else if (btf_int_encoding(t) & BTF_INT_BOOL)
		out->kind = FIELD_BOOL;
	else if (named_size == t->size)
		out->kind = named;
	else
		out->kind = btf_int_encoding(t) & BTF_INT_SIGNED ? FIELD_INT : FIELD_UINT;
}

static bool classify(const struct btf *btf, uint32_t id, int depth, struct element *out);

static bool classify_array(const struct btf *btf, const struct btf_type *t, int depth,
			   struct element *out)
{
	const struct btf_array *array = btf_array(t);
	const struct btf_type *inner;
	enum field_kind named = FIELD_UINT;
	uint32_t id = array->type, named_size = 0;
	uint64_t count;

	if (!classify(btf, id, depth + 1, out))
		return false;
	inner = strip(btf, &id, &named, &named_size);
	count = (uint64_t)out->count * array->nelems;
	if (out->kind == KIND_STRUCT)
		out->kind = FIELD_BYTES;
	if (inner && btf_is_int(inner) && out->size == 1 && out->kind != FIELD_BOOL &&
	    count <= MAX_RECORD) {
		bool text = strcmp(name_at(btf, inner->name_off), "char") == 0;

		if (text || out->kind == FIELD_UINT) {
			out->kind = text ? FIELD_TEXT : FIELD_BYTES;
			out->size = (uint32_t)count;
			out->count = 1;
			return true;
		}
	}
	out->count = (uint32_t)count;
	return count * out->size <= MAX_RECORD && count <= MAX_RECORD;
}

/* False for a type that has no size, so that nothing can be said about what lies there. */
static bool classify(const struct btf *btf, uint32_t id, int depth, struct element *out)
{
	enum field_kind named = FIELD_UINT;
	uint32_t named_size = 0;
	const struct btf_type *t = strip(btf, &id, &named, &named_size);
	long long size;

	*out = (struct element){.kind = FIELD_BYTES, .count = 1, .type = id};
	if (!t)
		return false;
	if (btf_is_int(t)) {
		classify_int(t, named, named_size, out);
		return true;
	}
	if (btf_is_array(t) && depth < MAX_DEPTH)
		return classify_array(btf, t, depth, out);
	size = btf__resolve_size(btf, id);
	if (size < 0 || size > MAX_RECORD)
		return false;
	out->size = (uint32_t)size;
	if (btf_is_any_enum(t) && (size == 1 || size == 2 || size == 4 || size == 8))
		out->kind = FIELD_ENUM;
	else if (btf_is_struct(t))
		out->kind = size == 16 && strcmp(name_at(btf, t->name_off), "ip_addr") == 0
				    ? FIELD_ADDRESS
				    : KIND_STRUCT;
	return true;
}

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

static bool name_taken(const struct builder *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->fields[i].name, name) == 0)
			return true;
	return false;
}

static int add_field(struct builder *b, const char *name, uint32_t offset, const struct element *e)
{
	uint64_t end = (uint64_t)offset + (uint64_t)e->size * e->count;
	char *copy = NULL;
	int err;

	if (end > b->size)
		return error__set(b->error, -EINVAL,
				  "the BTF is inconsistent: `%s` ends at byte %" PRIu64
				  " of a %s of %u",
				  name, end, b->key ? "key" : "value", b->size);
	if (!e->size || !e->count)
		return 0;
	err = grow(b);
	if (err)
		return err;
	if (!b->key && name_taken(b, name)) {
		if (asprintf(&copy, "value.%s", name) < 0)
			return -ENOMEM;
	} else {
		copy = strdup(name);
		if (!copy)
			return -ENOMEM;
	}
	b->fields[b->n++] = (struct field){
		.name = copy,
		.kind = e->kind,
		.offset = b->base + offset,
		.size = e->size,
		.count = e->count,
		.key = b->key,
		.type = e->type,
	};
	return 0;
}

static int add_struct(struct builder *b, const struct btf_type *t, const char *prefix,
		      uint32_t offset, int depth);

static int add_member(struct builder *b, const struct btf_type *t, uint32_t i, const char *prefix,
		      uint32_t offset, int depth)
{
	const struct btf_member *m = btf_members(t) + i;
	const char *own = name_at(b->btf, m->name_off);
	uint32_t bit = btf_member_bit_offset(t, i), bits = btf_member_bitfield_size(t, i);
	struct element e;
	char *name = NULL;
	int err;

	if (strncmp(own, "pad", 3) == 0 || own[0] == '_')
		return 0;
	offset += bit / 8;
	if (bits || bit % 8)
		e = (struct element){FIELD_BYTES, (bit % 8 + bits + 7) / 8, 1, m->type};
	else if (!classify(b->btf, m->type, 0, &e))
		return 0; /* has no size: a forward declaration, a type that is not there */
	if (e.kind == KIND_STRUCT && depth < MAX_DEPTH) {
		if (own[0] && asprintf(&name, "%s%s.", prefix, own) < 0)
			return -ENOMEM;
		err = add_struct(b, btf__type_by_id(b->btf, e.type), name ? name : prefix, offset,
				 depth + 1);
		free(name);
		return err;
	}
	if (e.kind == KIND_STRUCT)
		e.kind = FIELD_BYTES;
	if ((own[0] ? asprintf(&name, "%s%s", prefix, own)
		    : asprintf(&name, "%sanonymous_%u", prefix, offset)) < 0)
		return -ENOMEM;
	err = add_field(b, name, offset, &e);
	free(name);
	return err;
}

static int add_struct(struct builder *b, const struct btf_type *t, const char *prefix,
		      uint32_t offset, int depth)
{
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		int err = add_member(b, t, i, prefix, offset, depth);

		if (err)
			return err;
	}
	return 0;
}

static int add_part(struct builder *b, uint32_t type, uint32_t base, uint32_t size, bool key)
{
	const char *what = key ? "key" : "value";
	struct element e = {key ? FIELD_UINT : FIELD_BYTES, size, 1, 0};
	long long real = size;

	b->base = base;
	b->size = size;
	b->key = key;
	if (type) {
		real = btf__resolve_size(b->btf, type);
		if (real < 0 || !classify(b->btf, type, 0, &e))
			return error__set(b->error, -EINVAL, "type %u of the %s has no size", type,
					  what);
	} else if (key) {
		real = 4;
		what = "index";
	}
	if (real != size)
		return error__set(b->error, -EINVAL,
				  "the %s's type has %lld bytes, the map's has %u", what, real,
				  size);
	if (e.kind == KIND_STRUCT)
		return add_struct(b, btf__type_by_id(b->btf, e.type), "", 0, 0);
	if (key &&
	    e.kind ==
		    FIELD_ENUM) { /* an index by an enum is called what the enum is: `direction` */
		const char *name = name_at(b->btf, btf__type_by_id(b->btf, e.type)->name_off);

		what = *name ? name : what;
	}
	return add_field(b, what, 0, &e);
}

static uint64_t fnv1a(uint64_t hash, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3ULL;
	return hash;
}

static uint64_t hash_of(const struct layout *layout)
{
	uint32_t sizes[] = {layout->key_size, layout->value_size, layout->stride,
			    (uint32_t)layout->nfields};
	uint64_t hash = fnv1a(0xcbf29ce484222325ULL, sizes, sizeof(sizes));

	for (size_t i = 0; i < layout->nfields; i++) {
		const struct field *f = &layout->fields[i];
		uint32_t facts[] = {f->kind,  f->offset, f->size,
				    f->count, f->key,	 layout__enum_signed(layout, f)};

		hash = fnv1a(hash, f->name, strlen(f->name) + 1);
		hash = fnv1a(hash, facts, sizeof(facts));
	}
	return hash;
}

int layout__new(const struct btf *btf, uint32_t key_type, uint32_t key_size, uint32_t value_type,
		uint32_t value_size, struct layout **out, struct error *error)
{
	struct builder b = {.btf = btf, .error = error};
	struct layout *layout;
	int err;

	*out = NULL;
	if (!key_size || key_size > MAX_RECORD || value_size > MAX_RECORD ||
	    (!btf && (key_type || value_type)))
		return error__set(error, -EINVAL,
				  "a key of %u and a value of %u bytes make no record", key_size,
				  value_size);
	layout = calloc(1, sizeof(*layout));
	if (!layout)
		return -ENOMEM;
	layout->btf = btf;
	layout->key_size = key_size;
	layout->value_size = value_size;
	layout->value_offset = (key_size + 7) & ~7U;
	layout->stride = layout->value_offset + ((value_size + 7) & ~7U);
	err = add_part(&b, key_type, 0, key_size, true);
	if (!err)
		err = add_part(&b, value_type, layout->value_offset, value_size, false);
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
	free(layout);
}

const struct field *layout__field(const struct layout *layout, const char *name)
{
	for (size_t i = 0; i < layout->nfields; i++)
		if (strcmp(layout->fields[i].name, name) == 0)
			return &layout->fields[i];
	return NULL;
}

static const struct btf_type *enum_type(const struct layout *layout, const struct field *field)
{
	const struct btf_type *t = field->kind == FIELD_ENUM
					   ? btf__type_by_id(layout->btf, field->type)
					   : NULL;

	return t && btf_is_any_enum(t) ? t : NULL;
}

bool layout__enum_signed(const struct layout *layout, const struct field *field)
{
	const struct btf_type *t = enum_type(layout, field);

	return t && btf_kflag(t);
}

/* The name and the value of an enumerator; values of 32 bits are extended as the enum's sign says. */
static const char *enumerator(const struct layout *layout, const struct btf_type *t, uint32_t i,
			      int64_t *value)
{
	if (btf_is_enum64(t)) {
		*value = (int64_t)btf_enum64_value(btf_enum64(t) + i);
		return btf__name_by_offset(layout->btf, btf_enum64(t)[i].name_off);
	}
	*value = btf_kflag(t) ? (int64_t)btf_enum(t)[i].val : (int64_t)(uint32_t)btf_enum(t)[i].val;
	return btf__name_by_offset(layout->btf, btf_enum(t)[i].name_off);
}

const char *layout__enum_name(const struct layout *layout, const struct field *field, int64_t value)
{
	const struct btf_type *t = enum_type(layout, field);
	int64_t known;

	for (uint32_t i = 0; t && i < btf_vlen(t); i++) {
		const char *name = enumerator(layout, t, i, &known);

		if (known == value)
			return name;
	}
	return NULL;
}

int layout__enum_value(const struct layout *layout, const struct field *field, const char *name,
		       int64_t *out)
{
	const struct btf_type *t = enum_type(layout, field);

	for (uint32_t i = 0; t && i < btf_vlen(t); i++) {
		const char *known = enumerator(layout, t, i, out);

		if (known && strcmp(known, name) == 0)
			return 0;
	}
	return -ENOENT;
}

static const char *ctype_of(const struct layout *layout, const struct field *f)
{
	switch (f->kind) {
	case FIELD_INT:
		return "int";
	case FIELD_ENUM:
		return layout__enum_signed(layout, f) ? "int" : "uint";
	default:
		return "uint";
	}
}

int layout__cdef(const struct layout *layout, struct buf *out)
{
	uint32_t at = 0;
	int err = buf__printf(out, "struct __attribute__((packed)) perilune_%016" PRIx64 " {",
			      layout->hash);

	for (size_t i = 0; !err && i < layout->nfields; i++) {
		const struct field *f = &layout->fields[i];
		bool bytes = f->kind == FIELD_ADDRESS || f->kind == FIELD_TEXT ||
			     f->kind == FIELD_BYTES;

		if (f->offset < at)
			continue;
		if (f->offset > at)
			err = buf__printf(out, " uint8_t p%u[%u];", at, f->offset - at);
		if (!err && bytes)
			err = buf__printf(out, " uint8_t f%zu[%u];", i, f->size * f->count);
		else if (!err && f->count > 1)
			err = buf__printf(out, " %s%u_t f%zu[%u];", ctype_of(layout, f),
					  f->size * 8, i, f->count);
		else if (!err)
			err = buf__printf(out, " %s%u_t f%zu;", ctype_of(layout, f), f->size * 8,
					  i);
		at = f->offset + f->size * f->count;
	}
	if (!err && at < layout->stride)
		err = buf__printf(out, " uint8_t p%u[%u];", at, layout->stride - at);
	return err ? err : buf__puts(out, " };");
}
