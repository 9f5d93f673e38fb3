/* SPDX-License-Identifier: Apache-2.0 */
/* The ways by which the kernel lays a map's content into memory that we share: mapped arrays and gather. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "extract/extract_impl.h"

static size_t element_size(const struct extract *e)
{
	return (e->layout->value_size + 7UL) & ~7UL;
}

static int mapped_open(struct extract *e, struct error *error)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = element_size(e) * e->map.max_entries;
	void *memory;

	if (e->map.type != BPF_MAP_TYPE_ARRAY || !(e->map.flags & BPF_F_MMAPABLE) || !size)
		return error__set(error, -EOPNOTSUPP, "it is no array made to be mapped");
	size = (size + page - 1) / page * page;
	e->writable = true;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, e->map.fd, 0);
	if (memory == MAP_FAILED && (errno == EPERM || errno == EACCES)) {
		e->writable = false; /* frozen, or opened only to read */
		memory = mmap(NULL, size, PROT_READ, MAP_SHARED, e->map.fd, 0);
	}
	if (memory == MAP_FAILED)
		return error__set(error, -EOPNOTSUPP, "it cannot be mapped: %s", strerror(errno));
	e->mapped = memory;
	e->mapped_size = size;
	return 0;
}

static int mapped_start(struct extract *e)
{
	return e->clear && !e->writable ? -EPERM : 0;
}

static int mapped_next(struct extract *e, struct batch *batch)
{
	uint32_t left = e->map.entries - (uint32_t)e->done, n = left < e->step ? left : e->step;
	uint32_t first = e->map.first + (uint32_t)e->done;
	size_t size = element_size(e);
	unsigned char *at = e->mapped + (size_t)first * size;
	int err = batch__reserve(batch, n);

	if (err || !n)
		return err;
	for (uint32_t i = 0; i < n; i++)
		extract__append_element(e, batch, first + i, at + i * size);
	if (e->clear)
		memset(at, 0, n * size);
	e->done += n;
	return e->done < e->map.entries;
}

const struct extract_ops extract_mapped = {.way = EXTRACT_MAPPED,
					   .open = mapped_open,
					   .start = mapped_start,
					   .next = mapped_next};

static int gather_open(struct extract *e, struct error *error)
{
	return gather__open(&e->map, e->layout, e->filters, e->nfilters, &e->gather, error);
}

/* What is read may be removed by that, so there has to be room first. */
static int gather(struct extract *e, struct batch *batch)
{
	uint32_t most = e->array ? e->map.entries : e->map.max_entries;
	int err = batch__reserve(batch, most < EXTRACT_GATHER_MAX ? most : EXTRACT_GATHER_MAX);

	if (!err)
		err = gather__run(e->gather, e->clear, &e->gathered, &e->gathered_count);
	e->started = !err;
	return err;
}

static int gather_next(struct extract *e, struct batch *batch)
{
	const unsigned char *from;
	size_t left, n;
	int err = e->started ? 0 : gather(e, batch);

	if (err)
		return err;
	left = e->gathered_count - e->done;
	n = left < EXTRACT_CHUNK ? left : EXTRACT_CHUNK;
	from = e->gathered + e->done * e->layout->stride;
	err = batch__reserve(batch, n);
	if (err || !n)
		return err;
	e->done += n;
	if (e->array || e->quiet) {
		memcpy(batch->records + batch->count * e->layout->stride, from,
		       n * e->layout->stride);
		batch->count += n;
		return e->done < e->gathered_count;
	}
	for (size_t i = 0; i < n; i++, from += e->layout->stride) {
		int new = extract_seen__add(&e->seen, from, NULL);

		if (new < 0)
			return new;
		if (new)
			memcpy(batch->records + batch->count++ * e->layout->stride, from,
			       e->layout->stride);
	}
	return e->done < e->gathered_count;
}

const struct extract_ops extract_gather = {.way = EXTRACT_GATHER,
					   .open = gather_open,
					   .next = gather_next};
