/* SPDX-License-Identifier: Apache-2.0 */
/* Batches, and how an entry becomes a record in one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extract/extract_impl.h"

void batch__init(struct batch *batch, const struct layout *layout)
{
	*batch = (struct batch){.layout = layout};
}

void batch__free(struct batch *batch)
{
	if (!batch)
		return;
	free(batch->records);
	*batch = (struct batch){.layout = batch->layout};
}

static int by_key(const void *a, const void *b, void *key_size)
{
	return memcmp(a, b, *(const size_t *)key_size);
}

void batch__sort(struct batch *batch)
{
	size_t key_size = batch->layout->key_size;

	if (batch->count > 1)
		qsort_r(batch->records, batch->count, batch->layout->stride, by_key, &key_size);
}

int batch__reserve(struct batch *batch, size_t count)
{
	size_t need = batch->count + count, capacity = batch->capacity ? batch->capacity : 64;
	unsigned char *records;

	if (need <= batch->capacity)
		return 0;
	while (capacity < need)
		capacity *= 2;
	records = reallocarray(batch->records, capacity, batch->layout->stride);
	if (!records)
		return -ENOMEM;
	batch->records = records;
	batch->capacity = capacity;
	return 0;
}

static bool holds(const struct extract_filter *filter, const unsigned char *record)
{
	const struct field *field = filter->field;
	uint64_t a = layout__number(field, record + field->offset), b = filter->value;
	bool less = field->is_signed ? (int64_t)a < (int64_t)b : a < b;

	switch (filter->op) {
	case FILTER_EQ:
		return a == b;
	case FILTER_NE:
		return a != b;
	case FILTER_LT:
		return less;
	case FILTER_LE:
		return less || a == b;
	case FILTER_GT:
		return !less && a != b;
	default:
		return !less;
	}
}

/* Values of CPUs kept apart, each padded with zeros whatever the kernel has there. */
static void copy_values(const struct extract *e, unsigned char *into, const unsigned char *values)
{
	size_t size = e->layout->value_size, slot = (size + 7) & ~(size_t)7;

	for (size_t cpu = 0; cpu < e->layout->cpus; cpu++, into += slot, values += e->slot) {
		memset(into + slot - 8, 0, 8);
		memcpy(into, values, size);
	}
}

void extract__append(struct extract *e, struct batch *batch, const void *key, const void *values)
{
	const struct layout *layout = e->layout;
	unsigned char *record = batch->records + batch->count * layout->stride;
	unsigned char *into = record + layout->value_offset;

	if (layout->key_size) {
		memset(into - 8, 0, 8);
		memcpy(record, key, layout->key_size);
	}
	if (e->cpus > 1 && layout->cpus == 1) {
		memset(record + layout->stride - 8, 0, 8);
		layout__fold(layout, into, values, e->slot, e->cpus);
	} else {
		copy_values(e, into, values);
	}
	for (size_t i = 0; i < e->nfilters; i++)
		if (!holds(&e->filters[i], record))
			return;
	batch->count++;
}

void extract__append_element(struct extract *e, struct batch *batch, uint32_t index,
			     const void *values)
{
	index -= e->map.first;
	extract__append(e, batch, &index, values);
}
