/* SPDX-License-Identifier: Apache-2.0 */
#include "layout_type.h"

#include <bpf/btf.h>
#include <errno.h>
#include <string.h>

#define MAX_DEPTH 16 /* of arrays of arrays; deeper ones are bytes */
#define MAX_CHAIN 64 /* of typedefs and qualifiers */

const char *layout_type__name(const struct btf *btf, uint32_t offset)
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
				typedef_kind(layout_type__name(btf, t->name_off), kind, size);
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
	    count <= LAYOUT_MAX_PART) {
		bool text = strcmp(layout_type__name(btf, inner->name_off), "char") == 0;

		if (text || out->kind == FIELD_UINT) {
			out->kind = text ? FIELD_TEXT : FIELD_BYTES;
			out->size = (uint32_t)count;
			out->count = 1;
			return true;
		}
	}
	out->count = (uint32_t)count;
	return count * out->size <= LAYOUT_MAX_PART && count <= LAYOUT_MAX_PART;
}

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
	if (size < 0 || size > LAYOUT_MAX_PART)
		return false;
	out->size = (uint32_t)size;
	if (btf_is_any_enum(t) && (size == 1 || size == 2 || size == 4 || size == 8))
		out->kind = FIELD_ENUM;
	else if (btf_is_struct(t))
		out->kind = size == 16 && strcmp(layout_type__name(btf, t->name_off), "ip_addr") ==
						    0
				    ? FIELD_ADDRESS
				    : KIND_STRUCT;
	return true;
}

bool layout_type__classify(const struct btf *btf, uint32_t id, struct element *out)
{
	return classify(btf, id, 0, out);
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
