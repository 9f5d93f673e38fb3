/* SPDX-License-Identifier: Apache-2.0 */
#include "extract/gather_code.h"

#define LOAD_IMM64 (BPF_LD | BPF_DW | BPF_IMM)

static void put(struct gather_code *code, struct bpf_insn insn)
{
	if (code->count == GATHER_CODE_MAX)
		code->full = true;
	else
		code->insns[code->count++] = insn;
}

static uint8_t width(uint32_t size)
{
	return size == 8 ? BPF_DW : size == 4 ? BPF_W : size == 2 ? BPF_H : BPF_B;
}

void code__mov(struct gather_code *code, uint8_t dst, uint8_t src)
{
	code__alu(code, BPF_MOV, dst, src);
}

void code__mov_imm(struct gather_code *code, uint8_t dst, int32_t value)
{
	code__alu_imm(code, BPF_MOV, dst, value);
}

void code__mov_imm64(struct gather_code *code, uint8_t dst, uint64_t value)
{
	put(code,
	    (struct bpf_insn){.code = LOAD_IMM64, .dst_reg = dst, .imm = (int32_t)(uint32_t)value});
	put(code, (struct bpf_insn){.imm = (int32_t)(uint32_t)(value >> 32)});
}

void code__alu(struct gather_code *code, uint8_t op, uint8_t dst, uint8_t src)
{
	put(code,
	    (struct bpf_insn){.code = BPF_ALU64 | op | BPF_X, .dst_reg = dst, .src_reg = src});
}

void code__alu_imm(struct gather_code *code, uint8_t op, uint8_t dst, int32_t imm)
{
	put(code, (struct bpf_insn){.code = BPF_ALU64 | op | BPF_K, .dst_reg = dst, .imm = imm});
}

void code__from_network(struct gather_code *code, uint8_t dst, uint32_t size)
{
	if (size > 1)
		put(code, (struct bpf_insn){.code = BPF_ALU | BPF_END | BPF_TO_BE,
					    .dst_reg = dst,
					    .imm = (int32_t)size * 8});
}

void code__load(struct gather_code *code, uint8_t dst, uint8_t src, uint32_t at, uint32_t size)
{
	put(code, (struct bpf_insn){.code = BPF_LDX | BPF_MEM | width(size),
				    .dst_reg = dst,
				    .src_reg = src,
				    .off = (int16_t)at});
}

void code__store(struct gather_code *code, uint8_t dst, int32_t at, uint8_t src, uint32_t size)
{
	put(code, (struct bpf_insn){.code = BPF_STX | BPF_MEM | width(size),
				    .dst_reg = dst,
				    .src_reg = src,
				    .off = (int16_t)at});
}

void code__zero(struct gather_code *code, uint8_t dst, uint32_t at, uint32_t size)
{
	for (uint32_t piece; size; at += piece, size -= piece) {
		piece = code__piece(size);
		put(code, (struct bpf_insn){.code = BPF_ST | BPF_MEM | width(piece),
					    .dst_reg = dst,
					    .off = (int16_t)at});
	}
}

void code__copy(struct gather_code *code, uint8_t dst, uint32_t to, uint8_t src, uint32_t at,
		uint32_t size)
{
	for (uint32_t piece; size; at += piece, to += piece, size -= piece) {
		piece = code__piece(size);
		code__load(code, BPF_REG_1, src, at, piece);
		code__store(code, dst, (int32_t)to, BPF_REG_1, piece);
	}
}

void code__any(struct gather_code *code, uint8_t src, uint32_t at, uint32_t size)
{
	code__mov_imm(code, BPF_REG_1, 0);
	for (uint32_t piece; size; at += piece, size -= piece) {
		piece = code__piece(size);
		code__load(code, BPF_REG_2, src, at, piece);
		code__alu(code, BPF_OR, BPF_REG_1, BPF_REG_2);
	}
}

void code__map(struct gather_code *code, uint8_t dst, int fd)
{
	put(code, (struct bpf_insn){.code = LOAD_IMM64,
				    .dst_reg = dst,
				    .src_reg = BPF_PSEUDO_MAP_FD,
				    .imm = fd});
	put(code, (struct bpf_insn){0});
}

void code__call(struct gather_code *code, int32_t helper)
{
	put(code, (struct bpf_insn){.code = BPF_JMP | BPF_CALL, .imm = helper});
}

void code__exit(struct gather_code *code)
{
	put(code, (struct bpf_insn){.code = BPF_JMP | BPF_EXIT});
}

static void from_here(struct gather_code *code, struct gather_label *to)
{
	if (to->count == sizeof(to->from) / sizeof(*to->from))
		code->full = true;
	else
		to->from[to->count++] = code->count;
}

void code__jump(struct gather_code *code, uint8_t op, uint8_t dst, uint8_t src,
		struct gather_label *to)
{
	from_here(code, to);
	if (op == BPF_JA)
		put(code, (struct bpf_insn){.code = BPF_JMP | BPF_JA});
	else
		put(code, (struct bpf_insn){.code = BPF_JMP | op | BPF_X,
					    .dst_reg = dst,
					    .src_reg = src});
}

void code__jump_imm(struct gather_code *code, uint8_t op, uint8_t dst, int32_t imm,
		    struct gather_label *to)
{
	from_here(code, to);
	put(code, (struct bpf_insn){.code = BPF_JMP | op | BPF_K, .dst_reg = dst, .imm = imm});
}

void code__land(struct gather_code *code, struct gather_label *label)
{
	if (code->full)
		return;
	for (size_t i = 0; i < label->count; i++)
		code->insns[label->from[i]].off = (int16_t)(code->count - label->from[i] - 1);
	label->count = 0;
}

void code__jump_back(struct gather_code *code, uint8_t op, uint8_t dst, int32_t imm, size_t target)
{
	put(code,
	    (struct bpf_insn){.code = BPF_JMP | op | BPF_K,
			      .dst_reg = dst,
			      .off = (int16_t)((ptrdiff_t)target - (ptrdiff_t)code->count - 1),
			      .imm = imm});
}
