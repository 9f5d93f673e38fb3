/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout__fold in instructions, for what takes no more than integers: the first CPU that has something to say gives all of the value,
 * the others are folded in field by field.
 */
#include "extract/gather_build.h"

static bool possible(const struct field *field)
{
	if (field->bits || field->kind == FIELD_FLOAT)
		return false;
	return field->fold == FOLD_LAST || field->size == 1 || field->size == 2 ||
	       field->size == 4 || field->size == 8;
}

bool gather_fold__possible(const struct layout *layout)
{
	for (size_t i = 0; i < layout->nfields; i++) {
		const struct field *f = &layout->fields[i];

		if (!f->key && !f->alias && !possible(f))
			return false;
	}
	return true;
}

/* r1 and r2, as loaded, made comparable. */
static void extend(struct gather_code *code, const struct field *field)
{
	int32_t shift = 64 - (int32_t)field->size * 8;

	for (uint8_t reg = BPF_REG_1; field->is_signed && shift && reg <= BPF_REG_2; reg++) {
		code__alu_imm(code, BPF_LSH, reg, shift);
		code__alu_imm(code, BPF_ARSH, reg, shift);
	}
}

/* Folds an element, `at` from the start of the value at r0 and `to` from that of the record at r9. */
static void write_element(struct gather_code *code, const struct field *field, uint32_t at,
			  uint32_t to)
{
	uint8_t keep_if = field->fold == FOLD_MIN ? (field->is_signed ? BPF_JSGE : BPF_JGE)
						  : (field->is_signed ? BPF_JSLE : BPF_JLE);
	struct gather_label keep = {0}, take = {0};

	if (field->fold == FOLD_LAST) {
		code__any(code, BPF_REG_0, at, field->size);
		code__jump_imm(code, BPF_JEQ, BPF_REG_1, 0, &keep);
		code__copy(code, BPF_REG_9, to, BPF_REG_0, at, field->size);
		code__land(code, &keep);
		return;
	}
	code__load(code, BPF_REG_1, BPF_REG_0, at, field->size);
	code__load(code, BPF_REG_2, BPF_REG_9, to, field->size);
	code__mov(code, BPF_REG_3, BPF_REG_1);
	if (field->fold == FOLD_SUM) {
		code__alu(code, BPF_ADD, BPF_REG_3, BPF_REG_2);
	} else {
		if (field->kind == FIELD_TIME) {
			code__jump_imm(code, BPF_JEQ, BPF_REG_1, 0, &keep);
			code__jump_imm(code, BPF_JEQ, BPF_REG_2, 0, &take);
		}
		extend(code, field);
		code__jump(code, keep_if, BPF_REG_1, BPF_REG_2, &keep);
	}
	code__land(code, &take);
	code__store(code, BPF_REG_9, (int32_t)to, BPF_REG_3, field->size);
	code__land(code, &keep);
}

void gather_fold__write(struct gather_code *code, const struct gather_plan *plan, int16_t scratch)
{
	const struct layout *layout = plan->layout;
	struct gather_label silent = {0}, fold = {0};
	size_t loop;

	code__zero(code, BPF_REG_9, layout->value_offset, layout->value_size);
	code__mov_imm(code, BPF_REG_7, 0);		      /* the CPU */
	code__store(code, BPF_REG_10, scratch, BPF_REG_7, 8); /* whether one has spoken */
	loop = code->count;
	code__map(code, BPF_REG_1, plan->map->fd);
	code__mov(code, BPF_REG_2, BPF_REG_6);
	code__mov(code, BPF_REG_3, BPF_REG_7);
	code__call(code, BPF_FUNC_map_lookup_percpu_elem);
	code__jump_imm(code, BPF_JEQ, BPF_REG_0, 0, &silent);
	code__any(code, BPF_REG_0, 0, layout->value_size);
	code__jump_imm(code, BPF_JEQ, BPF_REG_1, 0, &silent);
	code__load(code, BPF_REG_1, BPF_REG_10, (uint32_t)scratch, 8);
	code__jump_imm(code, BPF_JNE, BPF_REG_1, 0, &fold);
	code__copy(code, BPF_REG_9, layout->value_offset, BPF_REG_0, 0, layout->value_size);
	code__mov_imm(code, BPF_REG_1, 1);
	code__store(code, BPF_REG_10, scratch, BPF_REG_1, 8);
	code__jump(code, BPF_JA, 0, 0, &silent);
	code__land(code, &fold);
	for (size_t i = 0; i < layout->nfields; i++) {
		const struct field *f = &layout->fields[i];

		for (uint32_t n = 0; !f->key && !f->alias && n < f->count; n++) {
			uint32_t to = (uint32_t)layout__element(f, n);

			write_element(code, f, to - layout->value_offset, to);
		}
	}
	code__land(code, &silent);
	code__alu_imm(code, BPF_ADD, BPF_REG_7, 1);
	code__jump_back(code, BPF_JLT, BPF_REG_7, (int32_t)plan->cpus, loop);
}
