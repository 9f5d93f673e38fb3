/* SPDX-License-Identifier: Apache-2.0 */
#include "map/map_text.h"

#include <string.h>

#include "extract/json.h"

/* Text is quoted, as in JSON, since it may hold spaces and worse. */
static int put_element(struct buf *out, const struct field *f, const unsigned char *bytes)
{
	if (f->kind == FIELD_TEXT)
		return json__string(out, (const char *)bytes,
				    strnlen((const char *)bytes, f->size));
	return layout__element_text(f, bytes, out);
}

static int put_field(struct buf *out, const struct field *f, uint32_t dim,
		     const unsigned char *bytes)
{
	const struct field_dim *d = &f->dims[dim];
	int err;

	if (dim == f->ndims)
		return put_element(out, f, bytes);
	err = buf__append(out, "[", 1);
	for (uint32_t i = 0; !err && i < d->count; i++) {
		if (i)
			err = buf__append(out, " ", 1);
		if (!err)
			err = put_field(out, f, dim + 1, bytes + (size_t)i * d->stride);
	}
	return err ? err : buf__append(out, "]", 1);
}

/* The key's fields, or the value's. */
static int put_part(struct buf *out, const struct layout *layout, bool key,
		    const unsigned char *record)
{
	bool first = true;
	int err = 0;

	for (size_t i = 0; !err && i < layout->nfields; i++) {
		const struct field *f = &layout->fields[i];

		if (f->key != key)
			continue;
		if (!first)
			err = buf__append(out, " ", 1);
		first = false;
		if (!err && f->path[0]) {
			err = buf__puts(out, f->path);
			err = err ? err : buf__append(out, "=", 1);
		}
		if (!err)
			err = put_field(out, f, 0, record + f->offset);
	}
	return err;
}

int map_text__record(struct buf *out, const struct layout *layout, const unsigned char *record)
{
	int err = 0;

	if (layout->key_size)
		err = put_part(out, layout, true, record);
	if (!err && layout->key_size && layout->value_size)
		err = buf__puts(out, " -> ");
	if (!err && layout->value_size)
		err = put_part(out, layout, false, record);
	return err;
}
