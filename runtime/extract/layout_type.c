/* SPDX-License-Identifier: Apache-2.0 */
#include "extract/layout_type.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CHAIN 64 /* of typedefs and qualifiers */
#define TAG "show_as:"

const char *layout_type__name(const struct btf *btf, uint32_t offset)
{
	const char *name = btf__name_by_offset(btf, offset);

	return name ? name : "";
}

struct meaning {
	const char *name;
	enum field_kind kind;
	uint32_t size; /* of what it can be said; 0: of any integer */
};

static const struct meaning typedefs[] = {
	{"__be16", FIELD_BE_UINT, 2},	 {"__be32", FIELD_BE_UINT, 4},
	{"__be64", FIELD_BE_UINT, 8},	 {"ipv4_addr", FIELD_IPV4, 4},
	{"wall_ns", FIELD_TIME, 8},	 {"if_index", FIELD_IFINDEX, 4},
	{"ip_proto", FIELD_PROTOCOL, 0}, {"flags8", FIELD_FLAGS, 1},
	{"flags16", FIELD_FLAGS, 2},	 {"flags32", FIELD_FLAGS, 4},
};

static const struct meaning structs[] = {
	{"ip_addr", FIELD_ADDRESS, 16},
	{"in6_addr", FIELD_ADDRESS, 16},
	{"in_addr", FIELD_IPV4, 4},
};

/* A port and a MAC address look as their types say: a number, and six bytes. */
static const struct meaning tags[] = {
	{"ipv4", FIELD_IPV4, 4},	 {"ipv6", FIELD_ADDRESS, 16},
	{"timestamp", FIELD_TIME, 8},	 {"ifindex", FIELD_IFINDEX, 4},
	{"protocol", FIELD_PROTOCOL, 0}, {"flags", FIELD_FLAGS, 0},
};

#define FIND(table, name) find(table, sizeof(table) / sizeof((table)[0]), name)

static const struct meaning *find(const struct meaning *table, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

/* Looks through typedefs and qualifiers. The outermost typedef that has a meaning sets *meaning. */
static const struct btf_type *strip(const struct btf *btf, uint32_t *id,
				    const struct meaning **meaning)
{
	for (int i = 0; i < MAX_CHAIN; i++) {
		const struct btf_type *t = btf__type_by_id(btf, *id);

		if (!t)
			return NULL;
		if (btf_is_typedef(t)) {
			if (!*meaning)
				*meaning = FIND(typedefs, layout_type__name(btf, t->name_off));
		} else if (!btf_is_mod(t) && !btf_is_type_tag(t)) {
			return t;
		}
		*id = t->type;
	}
	return NULL;
}

static void classify_int(const struct btf_type *t, const struct meaning *meaning,
			 struct element *out)
{
	bool whole = btf_int_offset(t) == 0 && btf_int_bits(t) == t->size * 8;

	out->bits = whole ? 0 : btf_int_bits(t);
	out->is_signed = btf_int_encoding(t) & BTF_INT_SIGNED;
	if (t->size == 0 || t->size > 16 || t->size & (t->size - 1) || btf_int_offset(t) ||
	    out->bits > t->size * 8)
		out->kind = FIELD_BYTES;
	else if (btf_int_encoding(t) & BTF_INT_BOOL)
		out->kind = FIELD_BOOL;
	else if (whole && meaning && t->size <= 8 && (!meaning->size || meaning->size == t->size))
		out->kind = meaning->kind;
	else
		out->kind = out->is_signed ? FIELD_INT : FIELD_UINT;
	if (out->kind != FIELD_INT)
		out->is_signed = false;
}

static void classify_scalar(const struct btf *btf, const struct btf_type *t,
			    const struct meaning *meaning, struct element *out)
{
	bool power = out->size == 1 || out->size == 2 || out->size == 4 || out->size == 8;

	if (btf_is_int(t)) {
		classify_int(t, meaning, out);
	} else if (btf_is_any_enum(t) && power) {
		out->kind = FIELD_ENUM;
		out->is_signed = btf_kflag(t);
	} else if (btf_is_float(t) && (out->size == 4 || out->size == 8)) {
		out->kind = FIELD_FLOAT;
	} else if (btf_is_ptr(t) && out->size == 8) {
		out->kind = FIELD_POINTER;
	} else if (btf_is_composite(t)) {
		const struct meaning *known = FIND(structs, layout_type__name(btf, t->name_off));

		out->kind = known && known->size == out->size ? known->kind : KIND_STRUCT;
	}
}

/* The innermost dimension of characters or bytes is a text or a string of bytes. */
static void collapse(const struct btf *btf, const struct btf_type *t, bool meant,
		     struct element *out)
{
	bool text;

	if (!out->ndims || !btf_is_int(t) || out->size != 1 || meant ||
	    (out->kind != FIELD_UINT && out->kind != FIELD_INT))
		return;
	text = strcmp(layout_type__name(btf, t->name_off), "char") == 0;
	if (!text && out->kind != FIELD_UINT)
		return;
	out->kind = text ? FIELD_TEXT : FIELD_BYTES;
	out->is_signed = false;
	out->size = out->dims[--out->ndims].count;
}

static void set_strides(struct element *out)
{
	uint64_t stride = out->size;

	for (uint32_t i = out->ndims; i-- > 0;) {
		out->dims[i].stride = (uint32_t)stride;
		stride *= out->dims[i].count;
	}
}

bool layout_type__classify(const struct btf *btf, uint32_t id, struct element *out)
{
	const struct meaning *meaning = NULL;
	long long whole = btf__resolve_size(btf, id), size;
	const struct btf_type *t;

	*out = (struct element){.kind = FIELD_BYTES};
	if (whole < 0 || whole > LAYOUT_MAX_PART)
		return false;
	while ((t = strip(btf, &id, &meaning)) && btf_is_array(t)) {
		if (out->ndims == LAYOUT_DIMS) { /* deeper than that is bytes */
			*out = (struct element){.kind = FIELD_BYTES,
						.size = (uint32_t)whole,
						.type = id};
			return true;
		}
		out->dims[out->ndims++].count = btf_array(t)->nelems;
		id = btf_array(t)->type;
	}
	size = t ? btf__resolve_size(btf, id) : -EINVAL;
	if (size < 0 || size > LAYOUT_MAX_PART)
		return false;
	out->type = id;
	out->size = (uint32_t)size;
	classify_scalar(btf, t, meaning, out);
	collapse(btf, t, meaning && out->kind == meaning->kind, out);
	set_strides(out);
	return true;
}

static const struct meaning *tag_of(const struct btf *btf, uint32_t type, uint32_t member)
{
	for (uint32_t id = 1; id < btf__type_cnt(btf); id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);
		const char *text;

		if (!btf_is_decl_tag(t) || t->type != type ||
		    btf_decl_tag(t)->component_idx != (int)member)
			continue;
		text = layout_type__name(btf, t->name_off);
		if (strncmp(text, TAG, sizeof(TAG) - 1) == 0)
			return FIND(tags, text + sizeof(TAG) - 1);
	}
	return NULL;
}

void layout_type__apply_tag(const struct btf *btf, uint32_t type, uint32_t member,
			    struct element *element)
{
	const struct meaning *meaning = tag_of(btf, type, member);
	bool number = element->kind == FIELD_UINT || element->kind == FIELD_INT ||
		      element->kind == FIELD_BE_UINT;
	uint32_t last = element->ndims ? element->dims[element->ndims - 1].count : 1;
	const struct btf_type *t = btf__type_by_id(btf, element->type);

	if (!meaning)
		return;
	/* In network order only an address is what its bytes say; for the others the number is worth more than the name. */
	if (element->kind == FIELD_BE_UINT && meaning->kind != FIELD_IPV4 &&
	    meaning->kind != FIELD_ADDRESS)
		return;
	if (!meaning->size && element->kind == FIELD_BYTES && element->ndims < LAYOUT_DIMS &&
	    btf_is_int(t) && t->size == 1) {
		element->dims[element->ndims++] = (struct field_dim){.count = element->size,
								     .stride = 1};
		element->kind = FIELD_UINT; /* bytes that are numbers, each of its own */
		element->size = 1;
		number = true;
	}
	if (meaning->kind == FIELD_ADDRESS && number && (uint64_t)element->size * last == 16) {
		element->ndims -= element->ndims > 0; /* __u32 words[4] */
		element->size = 16;
	} else if (meaning->size ? element->size != meaning->size : element->size > 8) {
		return;
	} else if (!(number || (element->kind == FIELD_BYTES && meaning->size))) {
		return;
	}
	element->kind = meaning->kind;
	element->is_signed = false;
}

static int by_value(const void *a, const void *b)
{
	const struct layout_name *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name; /* the first declared comes first */
}

/* The value and the name of an enumerator; values of 32 bits are extended as the enum's sign says. */
static const char *enumerator(const struct btf *btf, const struct btf_type *t, uint32_t i,
			      int64_t *value)
{
	if (btf_is_enum64(t)) {
		*value = (int64_t)btf_enum64_value(btf_enum64(t) + i);
		return layout_type__name(btf, btf_enum64(t)[i].name_off);
	}
	*value = btf_kflag(t) ? (int64_t)btf_enum(t)[i].val : (int64_t)(uint32_t)btf_enum(t)[i].val;
	return layout_type__name(btf, btf_enum(t)[i].name_off);
}

const struct layout_names *layout_type__names(const struct btf *btf, uint32_t type,
					      struct layout_names **head)
{
	const struct btf_type *t = btf__type_by_id(btf, type);
	size_t count = btf_vlen(t), bytes = 0;
	struct layout_names *names;
	int64_t value;
	char *at;

	for (names = *head; names; names = names->next)
		if (names->type == type)
			return names;
	for (uint32_t i = 0; i < count; i++)
		bytes += strlen(enumerator(btf, t, i, &value)) + 1;
	names = calloc(1, sizeof(*names) + count * sizeof(names->all[0]) + bytes);
	if (!names)
		return NULL;
	names->type = type;
	names->count = count;
	at = (char *)(names->all + count);
	for (uint32_t i = 0; i < count; i++) {
		const char *name = enumerator(btf, t, i, &names->all[i].value);

		names->all[i].len = strlen(name);
		names->all[i].name = memcpy(at, name, names->all[i].len + 1);
		at += names->all[i].len + 1;
	}
	qsort(names->all, count, sizeof(names->all[0]), by_value);
	names->next = *head;
	*head = names;
	return names;
}

/* Binary search for the first of this value. */
const char *layout__enum_name(const struct field *field, int64_t value, size_t *len)
{
	const struct layout_names *names = field->names;
	size_t low = 0, high = names ? names->count : 0;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (names->all[middle].value < value)
			low = middle + 1;
		else
			high = middle;
	}
	if (!names || low == names->count || names->all[low].value != value)
		return NULL;
	if (len)
		*len = names->all[low].len;
	return names->all[low].name;
}

int layout__enum_value(const struct field *field, const char *name, int64_t *out)
{
	for (size_t i = 0; field->names && i < field->names->count; i++) {
		if (strcmp(field->names->all[i].name, name) == 0) {
			*out = field->names->all[i].value;
			return 0;
		}
	}
	return -ENOENT;
}
