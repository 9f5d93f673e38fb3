/* SPDX-License-Identifier: Apache-2.0 */
/* How the values of several CPUs become one. */
#include <errno.h>
#include <string.h>

#include "extract/layout.h"

static const char *const names[] = {
	[FOLD_SUM] = "sum", [FOLD_MIN] = "min", [FOLD_MAX] = "max", [FOLD_LAST] = "last"};

int layout__fold_by_name(const char *name, enum field_fold *out)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name) == 0) {
			*out = (enum field_fold)i;
			return 0;
		}
	}
	return -EINVAL;
}

static bool fits(const struct field *field, enum field_fold fold)
{
	switch (field->kind) {
	case FIELD_UINT:
	case FIELD_INT:
	case FIELD_FLOAT:
		return true;
	case FIELD_TIME:
		return fold != FOLD_SUM;
	default:
		return fold == FOLD_LAST;
	}
}

int layout__set_fold(struct layout *layout, const char *name, enum field_fold fold)
{
	struct field *field = (struct field *)layout__field(layout, name);

	if (!field)
		return -ENOENT;
	if (field->key || !fits(field, fold))
		return -EINVAL;
	field->fold = fold;
	return 0;
}

static bool is_zero(const unsigned char *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static void store_bits(const struct field *field, unsigned char *into, uint64_t value)
{
	unsigned __int128 all = 0, mask = ((unsigned __int128)1 << field->bits) - 1;

	memcpy(&all, into, field->size);
	all = (all & ~(mask << field->bit)) | ((value & mask) << field->bit);
	memcpy(into, &all, field->size);
}

static void fold_integer(const struct field *field, unsigned char *into, const unsigned char *value)
{
	unsigned __int128 have = layout__wide_number(field, into);
	unsigned __int128 more = layout__wide_number(field, value);
	bool less = field->is_signed ? (__int128)more < (__int128)have : more < have;

	switch (field->fold) {
	case FOLD_SUM:
		have += more;
		break;
	case FOLD_MIN:
		have = less ? more : have;
		break;
	case FOLD_MAX:
		have = less ? have : more;
		break;
	case FOLD_LAST:
		have = more ? more : have;
		break;
	}
	if (field->bits)
		store_bits(field, into, (uint64_t)have);
	else
		memcpy(into, &have, field->size); /* the lowest bytes come first */
}

static void fold_float(const struct field *field, unsigned char *into, const unsigned char *value)
{
	double have = layout__float(field, into), more = layout__float(field, value);
	float narrow;

	switch (field->fold) {
	case FOLD_SUM:
		have += more;
		break;
	case FOLD_MIN:
		have = more < have ? more : have;
		break;
	case FOLD_MAX:
		have = more > have ? more : have;
		break;
	case FOLD_LAST:
		have = more != 0 ? more : have;
		break;
	}
	narrow = (float)have;
	memcpy(into, field->size == sizeof(narrow) ? (void *)&narrow : (void *)&have, field->size);
}

static void fold_element(const struct field *field, unsigned char *into, const unsigned char *value)
{
	switch (field->kind) {
	case FIELD_TIME:
		if (!is_zero(value, field->size) &&
		    (is_zero(into, field->size) || field->fold == FOLD_LAST))
			memcpy(into, value, field->size);
		else if (!is_zero(value, field->size))
			fold_integer(field, into, value);
		return;
	case FIELD_UINT:
	case FIELD_INT:
		fold_integer(field, into, value);
		return;
	case FIELD_FLOAT:
		fold_float(field, into, value);
		return;
	case FIELD_BOOL:
	case FIELD_ENUM:
		if (field->bits) {
			if (layout__number(field, value))
				store_bits(field, into, layout__number(field, value));
			return;
		}
		/* fall through */
	default:
		if (!is_zero(value, field->size))
			memcpy(into, value, field->size);
	}
}

void layout__fold_record(const struct layout *layout, unsigned char *record,
			 const unsigned char *more)
{
	for (size_t i = 0; i < layout->nfields; i++) {
		const struct field *f = &layout->fields[i];

		for (uint32_t n = 0; !f->key && !f->alias && n < f->count; n++) {
			size_t at = layout__element(f, n);

			fold_element(f, record + at, more + at);
		}
	}
}

void layout__fold(const struct layout *layout, void *into, const void *values, size_t slot,
		  size_t cpus)
{
	const unsigned char *from = values;
	bool begun = false;

	for (size_t cpu = 0; cpu < cpus; cpu++, from += slot) {
		if (is_zero(from, layout->value_size))
			continue;
		if (!begun)
			memcpy(into, from, layout->value_size);
		else
			layout__fold_record(layout, (unsigned char *)into - layout->value_offset,
					    from - layout->value_offset);
		begun = true;
	}
	if (!begun)
		memset(into, 0, layout->value_size);
}
