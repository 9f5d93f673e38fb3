/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BPF instructions, one after the other: what gather writes its program with.
 *
 * Loads and stores are of 1, 2, 4 or 8 bytes at constant offsets. Once the room is used up nothing more is written and `full` is
 * set, so only the end has to be checked.
 */
#ifndef PERILUNE_GATHER_CODE_H
#define PERILUNE_GATHER_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/bpf.h>

#define GATHER_CODE_MAX 8192

struct gather_code {
	struct bpf_insn insns[GATHER_CODE_MAX];
	size_t count;
	bool full;
};

/* Jumps that lead to one place further on. */
struct gather_label {
	size_t from[96];
	size_t count;
};

void code__mov(struct gather_code *code, uint8_t dst, uint8_t src);
void code__mov_imm(struct gather_code *code, uint8_t dst, int32_t value);
void code__mov_imm64(struct gather_code *code, uint8_t dst, uint64_t value);
/* dst = dst OP src, dst OP imm, in 64 bits; `op` as BPF_ADD. */
void code__alu(struct gather_code *code, uint8_t op, uint8_t dst, uint8_t src);
void code__alu_imm(struct gather_code *code, uint8_t op, uint8_t dst, int32_t imm);
/* From network to host order; the upper bytes become zero. */
void code__from_network(struct gather_code *code, uint8_t dst, uint32_t size);
void code__load(struct gather_code *code, uint8_t dst, uint8_t src, uint32_t at, uint32_t size);
void code__store(struct gather_code *code, uint8_t dst, int32_t at, uint8_t src, uint32_t size);
void code__zero(struct gather_code *code, uint8_t dst, uint32_t at, uint32_t size);
/* Copies `size` bytes by way of r1. */
void code__copy(struct gather_code *code, uint8_t dst, uint32_t to, uint8_t src, uint32_t at,
		uint32_t size);
/* r1 = all of `size` bytes, or-ed together in words; by way of r2. */
void code__any(struct gather_code *code, uint8_t src, uint32_t at, uint32_t size);
/* dst = the map that this descriptor stands for. */
void code__map(struct gather_code *code, uint8_t dst, int fd);
void code__call(struct gather_code *code, int32_t helper);
void code__exit(struct gather_code *code);

/* Jumps to the label when the comparison (BPF_JEQ …) holds; BPF_JA: always. */
void code__jump(struct gather_code *code, uint8_t op, uint8_t dst, uint8_t src,
		struct gather_label *to);
void code__jump_imm(struct gather_code *code, uint8_t op, uint8_t dst, int32_t imm,
		    struct gather_label *to);
/* The label is here. */
void code__land(struct gather_code *code, struct gather_label *label);
/* Jumps back to instruction `target` when the comparison holds. */
void code__jump_back(struct gather_code *code, uint8_t op, uint8_t dst, int32_t imm, size_t target);

/* The largest piece, of 8, 4, 2 or 1 bytes, that `left` bytes begin with. */
static inline uint32_t code__piece(uint32_t left)
{
	return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

#endif
