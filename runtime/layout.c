/* SPDX-License-Identifier: Apache-2.0 */
#include "layout.h"

#include <bpf/btf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout_type.h"

#define MAX_FIELDS 1024
#define MAX_DEPTH 16 /* of nested structs; deeper ones are bytes */

/* The part of the record, key or value, that is being described. */
struct builder {
	const struct btf *btf;
	struct field *fields;
	size_t n, capacity;
	uint32_t base, size; /* where the part starts and what it may reach */
	bool key;
	struct error *error;
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
	const char *own = layout_type__name(b->btf, m->name_off);
	uint32_t bit = btf_member_bit_offset(t, i), bits = btf_member_bitfield_size(t, i);
	struct element e;
	char *name = NULL;
	int err;

	if (strncmp(own, "pad", 3) == 0 || own[0] == '_')
		return 0;
	offset += bit / 8;
	if (bits || bit % 8)
		e = (struct element){FIELD_BYTES, (bit % 8 + bits + 7) / 8, 1, m->type};
	else if (!layout_type__classify(b->btf, m->type, &e))
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
		if (real < 0 || !layout_type__classify(b->btf, type, &e))
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
		const char *name = layout_type__name(b->btf,
						     btf__type_by_id(b->btf, e.type)->name_off);

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

static uint64_t fnv1a_u32(uint64_t hash, uint32_t value)
{
	return fnv1a(hash, &value, sizeof(value));
}

static uint64_t hash_of(const struct layout *layout)
{
	uint64_t hash = fnv1a_u32(0xcbf29ce484222325ULL, layout->key_size);

	hash = fnv1a_u32(hash, layout->value_size);
	hash = fnv1a_u32(hash, layout->stride);
	for (size_t i = 0; i < layout->nfields; i++) {
		const struct field *f = &layout->fields[i];

		hash = fnv1a(hash, f->name, strlen(f->name) + 1);
		hash = fnv1a_u32(hash, (uint32_t)f->kind << 8 | layout__enum_signed(layout, f));
		hash = fnv1a_u32(hash, f->offset);
		hash = fnv1a_u32(hash, f->size);
		hash = fnv1a_u32(hash, f->count << 1 | f->key);
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
	if (!key_size || key_size > LAYOUT_MAX_PART || value_size > LAYOUT_MAX_PART ||
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
