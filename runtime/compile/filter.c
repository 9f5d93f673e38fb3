/* SPDX-License-Identifier: Apache-2.0 */
#include "compile/filter.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdint.h>
#include <string.h>

#define SNAP 262144 /* what tcpdump takes when not told otherwise */

typedef const struct bpf_insn insn;

/* The operand of an ALU or jump instruction. */
static const char *operand(insn *i, char *text, size_t size)
{
	if (BPF_SRC(i->code) == BPF_X)
		return "x";
	snprintf(text, size, "0x%xU", i->k);
	return text;
}

static int load(insn *i, struct buf *out)
{
	const char *into = BPF_CLASS(i->code) == BPF_LDX ? "x" : "a";
	int size = BPF_SIZE(i->code) == BPF_W ? 4 : BPF_SIZE(i->code) == BPF_H ? 2 : 1;

	switch (BPF_MODE(i->code)) {
	case BPF_IMM:
		return buf__printf(out, "%s = 0x%xU;", into, i->k);
	case BPF_MEM:
		return buf__printf(out, "%s = m[%u];", into, i->k % BPF_MEMWORDS);
	case BPF_LEN:
		return buf__printf(out, "%s = filter__wire(f);", into);
	case BPF_ABS:
		return buf__printf(out, "FILTER_LOAD(%s, 0x%xU, %d);", into, i->k, size);
	case BPF_IND:
		return buf__printf(out, "FILTER_LOAD(%s, x + 0x%xU, %d);", into, i->k, size);
	case BPF_MSH: /* the length of an IPv4 header */
		return buf__printf(out, "FILTER_LOAD(x, 0x%xU, 1); x = (x & 0xf) << 2;", i->k);
	default:
		return -EOPNOTSUPP;
	}
}

static int alu(insn *i, struct buf *out)
{
	char text[16];
	const char *by = operand(i, text, sizeof(text));

	switch (BPF_OP(i->code)) {
	case BPF_ADD:
		return buf__printf(out, "a += %s;", by);
	case BPF_SUB:
		return buf__printf(out, "a -= %s;", by);
	case BPF_MUL:
		return buf__printf(out, "a *= %s;", by);
	case BPF_DIV: /* by zero: no match */
		return buf__printf(out, "if (!%s) return false; a /= %s;", by, by);
	case BPF_MOD:
		return buf__printf(out, "if (!%s) return false; a %%= %s;", by, by);
	case BPF_AND:
		return buf__printf(out, "a &= %s;", by);
	case BPF_OR:
		return buf__printf(out, "a |= %s;", by);
	case BPF_XOR:
		return buf__printf(out, "a ^= %s;", by);
	case BPF_LSH:
		return buf__printf(out, "a = %s < 32 ? a << (%s & 31) : 0;", by, by);
	case BPF_RSH:
		return buf__printf(out, "a = %s < 32 ? a >> (%s & 31) : 0;", by, by);
	case BPF_NEG:
		return buf__puts(out, "a = -a;");
	default:
		return -EOPNOTSUPP;
	}
}

static int jump(insn *i, uint32_t at, uint32_t count, struct buf *out)
{
	uint32_t then = at + 1 + i->jt, otherwise = at + 1 + i->jf;
	char text[16];
	const char *by = operand(i, text, sizeof(text)), *op;

	switch (BPF_OP(i->code)) {
	case BPF_JA:
		/* Backwards: its offset wraps around. */
		return i->k < count - at - 1 ? buf__printf(out, "goto l%u;", at + 1 + i->k)
					     : -EOPNOTSUPP;
	case BPF_JEQ:
		op = "==";
		break;
	case BPF_JGT:
		op = ">";
		break;
	case BPF_JGE:
		op = ">=";
		break;
	case BPF_JSET:
		op = "&";
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (then >= count || otherwise >= count)
		return -EOPNOTSUPP;
	return buf__printf(out, "if (a %s %s) goto l%u; else goto l%u;", op, by, then, otherwise);
}

static int step(insn *i, uint32_t at, uint32_t count, struct buf *out)
{
	switch (BPF_CLASS(i->code)) {
	case BPF_LD:
	case BPF_LDX:
		return load(i, out);
	case BPF_ST:
		return buf__printf(out, "m[%u] = a;", i->k % BPF_MEMWORDS);
	case BPF_STX:
		return buf__printf(out, "m[%u] = x;", i->k % BPF_MEMWORDS);
	case BPF_ALU:
		return alu(i, out);
	case BPF_JMP:
		return jump(i, at, count, out);
	case BPF_RET:
		if (BPF_RVAL(i->code) == BPF_A)
			return buf__puts(out, "return a != 0;");
		return buf__puts(out, i->k ? "return true;" : "return false;");
	default:
		return buf__puts(out, BPF_MISCOP(i->code) == BPF_TAX ? "x = a;" : "a = x;");
	}
}

static int body(const struct bpf_program *program, const char *name, struct buf *out)
{
	int err = buf__printf(out,
			      "static __always_inline bool %s(const struct filter_frame *f)\n{\n"
			      "\t__u32 a = 0, x = 0, m[%d] = {};\n\n\t(void)x, (void)m;\n",
			      name, BPF_MEMWORDS);

	for (uint32_t at = 0; !err && at < program->bf_len; at++) {
		err = buf__printf(out, "l%u: FILTER_LABEL;\n\t", at);
		if (!err)
			err = step(&program->bf_insns[at], at, program->bf_len, out);
		if (!err)
			err = buf__puts(out, "\n");
	}
	return err ? err : buf__puts(out, "}\n");
}

int filter__source(const char *expression, const char *name, struct buf *out, struct error *error)
{
	pcap_t *pcap = pcap_open_dead(DLT_EN10MB, SNAP);
	struct bpf_program program;
	int err;

	if (!pcap)
		return error__set(error, -ENOMEM, "out of memory");
	if (pcap_compile(pcap, &program, expression, 1, PCAP_NETMASK_UNKNOWN)) {
		err = error__set(error, -EINVAL, "filter \"%.200s\": %s", expression,
				 pcap_geterr(pcap));
		error__hint(error, err, "an expression as tcpdump takes it; see pcap-filter(7)");
		pcap_close(pcap);
		return err;
	}
	err = body(&program, name, out);
	if (err == -EOPNOTSUPP) {
		error__set(error, err,
			   "filter \"%.200s\" needs a loop or an instruction that a program "
			   "cannot have",
			   expression);
		error__hint(error, err, "write it without protochain");
	} else if (err) {
		error__set(error, err, "filter \"%.200s\" is too long", expression);
	}
	pcap_freecode(&program);
	pcap_close(pcap);
	return err;
}
