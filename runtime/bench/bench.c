/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "extract/json.h"

#define FILL_CHUNK 4096
#define JSON_CHUNK (64UL << 10) /* bytes of JSON between two discards */
#define WAYS (EXTRACT_RING + 1)

struct bench_key {
	uint32_t saddr, daddr;
	uint16_t sport, dport;
	uint8_t proto, pad[3];
};

struct bench_value {
	uint64_t packets, bytes, syn, fin, rst, drops;
};

struct bench_table {
	struct extract_map map;
	struct layout *layout;
	struct extract *extracts[WAYS]; /* opened when first used */
	struct batch batch;
	struct buf json;
};

/* The types of key and value, as clang would describe them. */
static struct btf *describe(uint32_t *key, uint32_t *value)
{
	static const char *const counters[] = {"packets", "bytes", "syn", "fin", "rst", "drops"};
	struct btf *btf = btf__new_empty();
	int u8, u16, u32, u64, ipv4, port, proto;

	if (!btf)
		return NULL;
	u8 = btf__add_int(btf, "unsigned char", 1, 0);
	u16 = btf__add_int(btf, "unsigned short", 2, 0);
	u32 = btf__add_int(btf, "unsigned int", 4, 0);
	u64 = btf__add_int(btf, "unsigned long long", 8, 0);
	ipv4 = btf__add_typedef(btf, "ipv4_addr", u32);
	port = btf__add_typedef(btf, "__be16", u16);
	proto = btf__add_typedef(btf, "ip_proto", u8);
	*key = (uint32_t)btf__add_struct(btf, "bench_key", sizeof(struct bench_key));
	btf__add_field(btf, "src", ipv4, 0, 0);
	btf__add_field(btf, "dst", ipv4, 32, 0);
	btf__add_field(btf, "sport", port, 64, 0);
	btf__add_field(btf, "dport", port, 80, 0);
	btf__add_field(btf, "proto", proto, 96, 0);
	*value = (uint32_t)btf__add_struct(btf, "bench_value", sizeof(struct bench_value));
	for (uint32_t i = 0; i < 6; i++)
		btf__add_field(btf, counters[i], (int)u64, i * 64, 0);
	return btf;
}

static int create(struct bench_table *table, const struct layout_spec *spec)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = table->map.flags);
	uint32_t size;
	const void *data = btf__raw_data(spec->btf, &size);
	int btf = data ? bpf_btf_load(data, size, NULL) : -ENOMEM;

	if (btf < 0)
		return btf;
	if (!spec->index) {
		opts.btf_fd = (uint32_t)btf;
		opts.btf_key_type_id = spec->key_type;
		opts.btf_value_type_id = spec->value_type;
	}
	table->map.fd = bpf_map_create((enum bpf_map_type)table->map.type, "perilune_bench",
				       spec->key_size, spec->value_size, table->map.max_entries,
				       &opts);
	close(btf);
	return table->map.fd < 0 ? table->map.fd : 0;
}

int bench_table__new(enum bench_kind kind, uint32_t entries, struct bench_table **out,
		     struct error *error)
{
	struct layout_spec spec = {.value_size = sizeof(struct bench_value)};
	struct bench_table *table = calloc(1, sizeof(*table));
	struct btf *btf;
	int err;

	if (!table)
		return error__set(error, -ENOMEM, "out of memory");
	table->map = (struct extract_map){.fd = -1,
					  .type = kind == BENCH_HASH ? BPF_MAP_TYPE_HASH
								     : BPF_MAP_TYPE_ARRAY,
					  .flags = kind == BENCH_HASH ? 0 : BPF_F_MMAPABLE,
					  .max_entries = entries,
					  .entries = entries};
	buf__init(&table->json, 2 * JSON_CHUNK);
	spec.btf = btf = describe(&spec.key_type, &spec.value_type);
	spec.key_size = kind == BENCH_HASH ? sizeof(struct bench_key) : sizeof(uint32_t);
	spec.index = kind != BENCH_HASH;
	if (spec.index)
		spec.key_type = 0;
	err = btf ? layout__new(&spec, &table->layout, error)
		  : error__set(error, -ENOMEM, "out of memory");
	if (!err) {
		batch__init(&table->batch, table->layout);
		err = create(table, &spec);
		if (err)
			error__set(error, err, "cannot create a map of %u entries: %s", entries,
				   strerror(-err));
	}
	btf__free(btf);
	if (err) {
		bench_table__free(table);
		return err;
	}
	*out = table;
	return 0;
}

void bench_table__free(struct bench_table *table)
{
	if (!table)
		return;
	for (int way = 0; way < WAYS; way++)
		extract__free(table->extracts[way]);
	if (table->layout)
		batch__free(&table->batch);
	buf__free(&table->json);
	layout__free(table->layout);
	if (table->map.fd >= 0)
		close(table->map.fd);
	free(table);
}

const struct layout *bench_table__layout(const struct bench_table *table)
{
	return table->layout;
}

uint32_t bench_table__id(const struct bench_table *table)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	return bpf_map_get_info_by_fd(table->map.fd, &info, &len) ? 0 : info.id;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* Sources differ, since multiplying by an odd number maps 32 bits one to one. */
static struct bench_key make_key(uint32_t i)
{
	uint64_t r = mix(i);

	return (struct bench_key){.saddr = i * 0x9e3779b1U,
				  .daddr = (uint32_t)r,
				  .sport = (uint16_t)(r >> 32),
				  .dport = (uint16_t)(r >> 48 & 1023),
				  .proto = r & 1 << 20 ? 6 : 17};
}

static struct bench_value make_value(uint32_t i)
{
	uint64_t r = mix(i + (1ULL << 32)), packets = 1 + r % 1000;

	return (struct bench_value){.packets = packets,
				    .bytes = packets * (64 + (r >> 10) % 1400),
				    .syn = (r >> 20) % 4,
				    .fin = (r >> 24) % 4,
				    .rst = (r >> 28) % 2,
				    .drops = (r >> 32) % 16 ? 0 : (r >> 40) % 100};
}

int bench_table__fill(struct bench_table *table)
{
	struct bench_value *values = calloc(FILL_CHUNK, sizeof(*values));
	struct bench_key *keys = calloc(FILL_CHUNK, sizeof(*keys));
	uint32_t *indexes = (uint32_t *)keys;
	int err = keys && values ? 0 : -ENOMEM;

	for (uint32_t done = 0; !err && done < table->map.max_entries;) {
		uint32_t left = table->map.max_entries - done,
			 n = left < FILL_CHUNK ? left : FILL_CHUNK;

		for (uint32_t i = 0; i < n; i++) {
			if (table->map.type == BPF_MAP_TYPE_HASH)
				keys[i] = make_key(done + i);
			else
				indexes[i] = done + i;
			values[i] = make_value(done + i);
		}
		err = bpf_map_update_batch(table->map.fd, keys, values, &n, NULL);
		done += n;
	}
	free(keys);
	free(values);
	return err;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int get(struct bench_table *table, enum extract_way way, struct extract **out,
	       struct error *error)
{
	struct extract_options options = {.way = way, .quiet = true};
	int err = 0;

	if (!table->extracts[way])
		err = extract__open(&table->map, table->layout, &options, &table->extracts[way],
				    error);
	*out = table->extracts[way];
	return err;
}

static int write_json(struct bench_table *table)
{
	const struct batch *batch = &table->batch;
	int err = 0;

	for (size_t i = 0; !err && i < batch->count; i++) {
		if (table->json.len > JSON_CHUNK)
			buf__clear(&table->json);
		err = json__record(&table->json, table->layout, JSON_ROW,
				   batch->records + i * table->layout->stride);
	}
	return err;
}

/* In chunks, as somebody does who must not keep all of it. */
static int read_chunks(struct bench_table *table, struct extract *extract,
		       const struct bench_work *work, uint64_t *entries)
{
	int more = extract__start(extract, work->clear);

	for (*entries = 0, more = more ? more : 1; more > 0;) {
		int err = 0;

		more = extract__next(extract, &table->batch);
		*entries += table->batch.count;
		if (work->json)
			err = write_json(table);
		if (err)
			return err;
		if (work->most && *entries >= work->most)
			return 0;
	}
	return more;
}

int bench_table__read(struct bench_table *table, const struct bench_work *work,
		      struct bench_result *result, struct error *error)
{
	struct extract *extract;
	int err = get(table, work->way, &extract, error);

	if (err)
		return err;
	result->ns = now();
	if (work->json || work->most) {
		err = read_chunks(table, extract, work, &result->entries);
	} else {
		err = extract__read(extract, work->clear, &table->batch);
		result->entries = table->batch.count;
	}
	result->ns = now() - result->ns;
	return err ? error__set(error, err, "reading the map failed: %s", strerror(-err)) : 0;
}

int bench_table__take(struct bench_table *table, enum extract_way way, struct batch *batch,
		      struct bench_result *result, struct error *error)
{
	struct extract *extract;
	int err = get(table, way, &extract, error);

	if (err)
		return err;
	result->ns = now();
	err = extract__read(extract, false, batch);
	result->ns = now() - result->ns;
	result->entries = batch->count;
	return err ? error__set(error, err, "reading the map failed: %s", strerror(-err)) : 0;
}
