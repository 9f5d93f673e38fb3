/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks from key to key. The kernel starts such a walk over when the key it is given has gone; so all keys seen are
 * remembered, none is reported twice, and there is an end to the steps.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "extract/extract_impl.h"

/* -EAGAIN when others have led the walk astray for too long. */
static int spend(struct extract *e, uint64_t steps)
{
	e->spent += steps;
	return e->spent > 4 * e->most + 65536 ? -EAGAIN : 0;
}

/*
 * Makes the next key that was not seen the last of those seen: 1; 0 when there is none. When the walk has started over it goes back
 * to the last key that is still there, and only when none is, through all of them again.
 */
static int walk(struct extract *e)
{
	size_t at = e->seen.count, number; /* the place is after key number at - 1 */
	bool again = false;

	for (;;) {
		int err = spend(e, 1);

		if (!err)
			err = bpf_map_get_next_key(e->map.fd,
						   at ? extract_seen__key(&e->seen, at - 1) : NULL,
						   e->keys);
		if (err)
			return err == -ENOENT ? 0 : err;
		err = extract_seen__add(&e->seen, e->keys, &number);
		if (err)
			return err;
		again = again || !at;
		at = again ? number + 1 : at - 1;
	}
}

/* Removes the first `count` keys of the scratch buffer; those that are gone already do not matter. */
static int delete_keys(struct extract *e, uint32_t count)
{
	uint32_t done = 0;
	int err = 0;

	while (done < count) {
		uint32_t n = count - done;

		err = bpf_map_delete_batch(e->map.fd, e->keys + done * e->key_size, &n, NULL);
		if (!err)
			return 0;
		if (err != -ENOENT)
			break;
		done += n + 1; /* somebody else removed that one */
	}
	if (done >= count || !extract__no_batches(err))
		return done >= count ? 0 : err;
	for (; done < count; done++) {
		err = bpf_map_delete_elem(e->map.fd, e->keys + done * e->key_size);
		if (err && err != -ENOENT)
			return err;
	}
	return 0;
}

static int trie_open(struct extract *e, struct error *error)
{
	if (e->map.type == BPF_MAP_TYPE_LPM_TRIE)
		return extract__open_batches(e, error);
	return error__set(error, -EOPNOTSUPP, "the kernel has no batches for it");
}

/* The entries of a batch that are new become records; their keys are gathered in front. */
static int take_new(struct extract *e, struct batch *batch, uint32_t count, uint32_t *taken)
{
	*taken = 0;
	for (uint32_t i = 0; i < count; i++) {
		unsigned char *key = e->keys + i * e->key_size;
		int new = extract_seen__add(&e->seen, key, NULL);

		if (new < 0)
			return new;
		if (!new)
			continue;
		extract__append(e, batch, key, e->values + i * e->stored);
		memmove(e->keys + (*taken)++ * e->key_size, key, e->key_size);
	}
	return 0;
}

/*
 * Reads what follows `in` in one call. 0: that was all. Kernels before 6.14 are interrupted by keys that others remove: what they have
 * given until then counts.
 */
static int trie_batch(struct extract *e, const void *in, struct batch *batch)
{
	uint32_t count = e->chunk, taken = 0;
	int said = bpf_map_lookup_batch(e->map.fd, (void *)in, e->token, e->keys, e->values, &count,
					NULL);
	int err;

	if (said && said != -ENOENT && said != -EINTR)
		return said;
	count = count > e->chunk ? e->chunk : count;
	err = spend(e, count + 1ULL);
	if (!err)
		err = batch__reserve(batch, count);
	if (!err)
		err = take_new(e, batch, count, &taken);
	if (e->clear && taken) {
		int cleared = delete_keys(e, taken);

		err = err ? err : cleared;
	}
	e->done += taken;
	return err ? err : said != -ENOENT && e->done < e->most;
}

/* The kernel's token is the last key, which somebody may have removed; so each batch begins at a key found anew. */
static int trie_next(struct extract *e, struct batch *batch)
{
	const unsigned char *key;
	int found, err;

	if (e->clear) /* what was read is removed: the next is the first that is left */
		return trie_batch(e, NULL, batch);
	found = walk(e);
	if (found <= 0)
		return found;
	key = extract_seen__key(&e->seen, e->seen.count - 1);
	err = batch__reserve(batch, 1);
	if (!err)
		err = bpf_map_lookup_elem(e->map.fd, key, e->values);
	if (err && err != -ENOENT)
		return err;
	if (!err)
		extract__append(e, batch, key, e->values);
	e->done++;
	return trie_batch(e, key, batch);
}

const struct extract_ops extract_batch_keys = {.way = EXTRACT_BATCH,
					       .open = trie_open,
					       .next = trie_next};

static int keys_open(struct extract *e, struct error *error)
{
	if (!e->key_size || e->array)
		return error__set(error, -EOPNOTSUPP, "it has no keys to walk by");
	return extract__set_chunk(e, 1);
}

/* With `clear`, a key is removed when the next one is known. */
static int keys_step(struct extract *e, struct batch *batch)
{
	size_t last = e->seen.count;
	int found = e->done < e->most ? walk(e) : 0, err = 0;

	if (e->pending)
		err = bpf_map_delete_elem(e->map.fd, extract_seen__key(&e->seen, last - 1));
	e->pending = false;
	if (found > 0 && err && err != -ENOENT)
		return err;
	if (found <= 0)
		return found < 0 ? found : err == -ENOENT ? 0 : err;
	e->done++;
	err = batch__reserve(batch, 1);
	if (!err)
		err = bpf_map_lookup_elem(e->map.fd, e->keys, e->values);
	if (err) /* removed meanwhile, or a place that is empty */
		return err == -ENOENT ? 1 : err;
	extract__append(e, batch, e->keys, e->values);
	e->pending = e->clear;
	return 1;
}

static int keys_next(struct extract *e, struct batch *batch)
{
	for (uint32_t i = 0; i < e->step; i++) {
		int more = keys_step(e, batch);

		if (more <= 0)
			return more;
	}
	return 1;
}

const struct extract_ops extract_single_keys = {.way = EXTRACT_SINGLE,
						.open = keys_open,
						.next = keys_next};
