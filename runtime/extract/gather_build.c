/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The callback keeps the key in r6, the value in r7, the walk's state (on the root's stack) in r8 and the record in r9. It
 * copies, and only then decides whether the record counts: one that does not is overwritten by the next.
 */
#include "extract/gather_build.h"

#include <errno.h>

enum { /* the walk is a struct gather_context below the root's frame pointer */
       STATE = -24,
       COUNT = offsetof(struct gather_context, count),
       CLEAR = offsetof(struct gather_context, clear),
       VISITS = offsetof(struct gather_context, visits),
};

enum { INDEX = -4, SCRATCH = -16 }; /* the callback's own stack */

/* A hash that is written meanwhile can lead the walk from bucket to bucket: no more visits than this. */
static int32_t most_visits(const struct extract_map *map)
{
	return map->max_entries > INT32_MAX / 2 - 1024 ? INT32_MAX
						       : (int32_t)(2 * map->max_entries + 1024);
}

static size_t write_root(struct gather_code *code, const struct gather_plan *plan)
{
	size_t address;

	/* From the context, though two are 0: the verifier would count along with constants, through every entry. */
	for (uint32_t at = 0; at < 24; at += 8) {
		code__load(code, BPF_REG_2, BPF_REG_1, at, 8);
		code__store(code, BPF_REG_10, STATE + (int32_t)at, BPF_REG_2, 8);
	}
	code__map(code, BPF_REG_1, plan->map->fd);
	address = code->count;
	code__mov_imm64(code, BPF_REG_2, 0);
	code__mov(code, BPF_REG_3, BPF_REG_10);
	code__alu_imm(code, BPF_ADD, BPF_REG_3, STATE);
	code__mov_imm(code, BPF_REG_4, 0);
	code__call(code, BPF_FUNC_for_each_map_elem);
	code__load(code, BPF_REG_0, BPF_REG_10, (uint32_t)(STATE + COUNT), 8);
	code__exit(code);
	return address;
}

static void write_bounds(struct gather_code *code, const struct gather_plan *plan,
			 struct gather_label *next, struct gather_label *stop)
{
	const struct extract_map *map = plan->map;

	if (!plan->array) {
		code__load(code, BPF_REG_1, BPF_REG_8, VISITS, 8);
		code__jump_imm(code, BPF_JSGE, BPF_REG_1, most_visits(map), stop);
		code__alu_imm(code, BPF_ADD, BPF_REG_1, 1);
		code__store(code, BPF_REG_8, VISITS, BPF_REG_1, 8);
		return;
	}
	code__load(code, BPF_REG_1, BPF_REG_6, 0, 4);
	code__mov_imm64(code, BPF_REG_2, map->first);
	code__jump(code, BPF_JLT, BPF_REG_1, BPF_REG_2, next);
	code__mov_imm64(code, BPF_REG_2, (uint64_t)map->first + map->entries);
	code__jump(code, BPF_JGE, BPF_REG_1, BPF_REG_2, stop);
}

/* r9 = the next record's place. */
static void write_place(struct gather_code *code, const struct gather_plan *plan,
			struct gather_label *stop)
{
	code__load(code, BPF_REG_1, BPF_REG_8, COUNT, 8);
	code__store(code, BPF_REG_10, INDEX, BPF_REG_1, 4);
	code__map(code, BPF_REG_1, plan->out_fd);
	code__mov(code, BPF_REG_2, BPF_REG_10);
	code__alu_imm(code, BPF_ADD, BPF_REG_2, INDEX);
	code__call(code, BPF_FUNC_map_lookup_elem);
	code__jump_imm(code, BPF_JEQ, BPF_REG_0, 0, stop);
	code__mov(code, BPF_REG_9, BPF_REG_0);
}

static void write_copy(struct gather_code *code, const struct gather_plan *plan)
{
	const struct layout *layout = plan->layout;

	if (!plan->array) {
		code__copy(code, BPF_REG_9, 0, BPF_REG_6, 0, layout->key_size);
	} else if (layout->key_size) {
		code__load(code, BPF_REG_1, BPF_REG_6, 0, 4);
		code__mov_imm64(code, BPF_REG_2, plan->map->first);
		code__alu(code, BPF_SUB, BPF_REG_1, BPF_REG_2);
		code__store(code, BPF_REG_9, 0, BPF_REG_1, 4);
	}
	if (plan->cpus)
		gather_fold__write(code, plan, SCRATCH);
	else
		code__copy(code, BPF_REG_9, layout->value_offset, BPF_REG_7, 0, layout->value_size);
}

/* An entry of a hash that is removed meanwhile may be another key's at once: then it is neither, and does not count. */
static void write_recheck(struct gather_code *code, const struct gather_plan *plan,
			  struct gather_label *next)
{
	uint32_t size = plan->layout->key_size;

	for (uint32_t at = 0, piece; size; at += piece, size -= piece) {
		piece = code__piece(size);
		code__load(code, BPF_REG_1, BPF_REG_6, at, piece);
		code__load(code, BPF_REG_2, BPF_REG_9, at, piece);
		code__jump(code, BPF_JNE, BPF_REG_1, BPF_REG_2, next);
	}
}

/* r1 = the field's number, as layout__number has it. */
static void write_number(struct gather_code *code, const struct field *field)
{
	code__load(code, BPF_REG_1, BPF_REG_9, field->offset, field->size);
	if (field->kind == FIELD_BE_UINT)
		code__from_network(code, BPF_REG_1, field->size);
	if (field->is_signed && field->size < 8) {
		code__alu_imm(code, BPF_LSH, BPF_REG_1, 64 - (int32_t)field->size * 8);
		code__alu_imm(code, BPF_ARSH, BPF_REG_1, 64 - (int32_t)field->size * 8);
	}
	if (field->kind == FIELD_BOOL) {
		struct gather_label zero = {0};

		code__jump_imm(code, BPF_JEQ, BPF_REG_1, 0, &zero);
		code__mov_imm(code, BPF_REG_1, 1);
		code__land(code, &zero);
	}
}

static void write_filter(struct gather_code *code, const struct extract_filter *filter,
			 struct gather_label *unwanted)
{
	static const uint8_t not[][2] = {
		[FILTER_EQ] = {BPF_JNE, BPF_JNE},  [FILTER_NE] = {BPF_JEQ, BPF_JEQ},
		[FILTER_LT] = {BPF_JGE, BPF_JSGE}, [FILTER_LE] = {BPF_JGT, BPF_JSGT},
		[FILTER_GT] = {BPF_JLE, BPF_JSLE}, [FILTER_GE] = {BPF_JLT, BPF_JSLT},
	};

	write_number(code, filter->field);
	code__mov_imm64(code, BPF_REG_2, filter->value);
	code__jump(code, not[filter->op][filter->field->is_signed], BPF_REG_1, BPF_REG_2, unwanted);
}

static void write_clear(struct gather_code *code, const struct gather_plan *plan)
{
	uint32_t size = plan->layout->value_size;

	if (!plan->array) {
		code__map(code, BPF_REG_1, plan->map->fd);
		code__mov(code, BPF_REG_2, BPF_REG_6);
		code__call(code, BPF_FUNC_map_delete_elem);
	} else if (!plan->cpus) {
		code__zero(code, BPF_REG_7, 0, size);
	} else {
		struct gather_label absent = {0};
		size_t loop;

		code__mov_imm(code, BPF_REG_7, 0);
		loop = code->count;
		code__map(code, BPF_REG_1, plan->map->fd);
		code__mov(code, BPF_REG_2, BPF_REG_6);
		code__mov(code, BPF_REG_3, BPF_REG_7);
		code__call(code, BPF_FUNC_map_lookup_percpu_elem);
		code__jump_imm(code, BPF_JEQ, BPF_REG_0, 0, &absent);
		code__zero(code, BPF_REG_0, 0, size);
		code__land(code, &absent);
		code__alu_imm(code, BPF_ADD, BPF_REG_7, 1);
		code__jump_back(code, BPF_JLT, BPF_REG_7, (int32_t)plan->cpus, loop);
	}
}

static void write_callback(struct gather_code *code, const struct gather_plan *plan)
{
	struct gather_label next = {0}, stop = {0}, unwanted = {0};

	code__mov(code, BPF_REG_6, BPF_REG_2);
	code__mov(code, BPF_REG_7, BPF_REG_3);
	code__mov(code, BPF_REG_8, BPF_REG_4);
	write_bounds(code, plan, &next, &stop);
	write_place(code, plan, &stop);
	write_copy(code, plan);
	if (!plan->array)
		write_recheck(code, plan, &next);
	for (size_t i = 0; i < plan->nfilters; i++)
		write_filter(code, &plan->filters[i], &unwanted);
	code__load(code, BPF_REG_1, BPF_REG_8, COUNT, 8);
	code__alu_imm(code, BPF_ADD, BPF_REG_1, 1);
	code__store(code, BPF_REG_8, COUNT, BPF_REG_1, 8);
	code__land(code, &unwanted);
	code__load(code, BPF_REG_1, BPF_REG_8, CLEAR, 8);
	code__jump_imm(code, BPF_JEQ, BPF_REG_1, 0, &next);
	write_clear(code, plan);
	code__land(code, &next);
	code__mov_imm(code, BPF_REG_0, 0);
	code__exit(code);
	code__land(code, &stop);
	code__mov_imm(code, BPF_REG_0, 1);
	code__exit(code);
}

int gather__build(const struct gather_plan *plan, struct gather_code *code, size_t *callback)
{
	size_t address;

	code->count = 0;
	code->full = false;
	address = write_root(code, plan);
	*callback = code->count;
	write_callback(code, plan);
	if (code->full)
		return -E2BIG;
	code->insns[address].src_reg = BPF_PSEUDO_FUNC;
	code->insns[address].imm = (int32_t)(*callback - address - 1);
	return 0;
}
