/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket storage: a small program goes with the kernel's own iterator over the sockets that have a value, and writes whose it is and the
 * value. The program is made here, instruction by instruction, with the offsets that this kernel's BTF tells.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "map/map_owner.h"
#include "map/map_source_impl.h"

#define SCALAR(c, d, s, o, i)                                                                      \
	((struct bpf_insn){                                                                        \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (short)(o), .imm = (i)})
#define MOV_REG(d, s) SCALAR(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i) SCALAR(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD_IMM(d, i) SCALAR(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define LOAD(size, d, s, o) SCALAR(BPF_LDX | (size) | BPF_MEM, d, s, o, 0)
#define STORE(size, d, s, o) SCALAR(BPF_STX | (size) | BPF_MEM, d, s, o, 0)
#define JUMP_EQ_IMM(d, i, o) SCALAR(BPF_JMP | BPF_JEQ | BPF_K, d, 0, o, i)
#define CALL(helper) SCALAR(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define EXIT SCALAR(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* struct bpf_iter__bpf_sk_storage_map: pointers, in this order. struct bpf_iter_meta begins with its seq_file. */
enum { CTX_META = 0, CTX_SK = 16, CTX_VALUE = 24 };

struct offsets {
	int family, local_port, remote_port, protocol; /* bytes in struct sock; -1: none to read */
};

struct sockets {
	int prog, link, iter;
	unsigned char *bytes; /* of one record, or what has come of it */
	size_t len, have;
};

/* Bytes from the start of a struct to a member of this name, also in what it holds without a name; -1. */
static int offset_of(const struct btf *btf, uint32_t id, const char *name, uint32_t bytes)
{
	int64_t resolved = btf__resolve_type(btf, id);
	const struct btf_type *t = resolved > 0 ? btf__type_by_id(btf, (uint32_t)resolved) : NULL;
	const struct btf_member *m = t && btf_is_composite(t) ? btf_members(t) : NULL;

	for (uint32_t i = 0; m && i < btf_vlen(t); i++) {
		uint32_t bit = btf_member_bit_offset(t, i);
		const char *known = btf__name_by_offset(btf, m[i].name_off);
		int inner;

		if (known && !strcmp(known, name))
			return bit % 8 || btf_member_bitfield_size(t, i) ||
					       btf__resolve_size(btf, m[i].type) != bytes
				       ? -1
				       : (int)(bit / 8);
		inner = known && (!*known || !strcmp(known, "__sk_common"))
				? offset_of(btf, m[i].type, name, bytes)
				: -1;
		if (inner >= 0)
			return (int)(bit / 8) + inner;
	}
	return -1;
}

/* The offsets, and the id of the iterator's function. */
static int read_btf(struct offsets *offsets, int *target)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int sock;

	if (!btf)
		return -EOPNOTSUPP;
	*target = btf__find_by_name_kind(btf, "bpf_iter_bpf_sk_storage_map", BTF_KIND_FUNC);
	sock = btf__find_by_name_kind(btf, "sock", BTF_KIND_STRUCT);
	if (*target > 0 && sock > 0)
		*offsets = (struct offsets){
			offset_of(btf, (uint32_t)sock, "skc_family", 2),
			offset_of(btf, (uint32_t)sock, "skc_num", 2),
			offset_of(btf, (uint32_t)sock, "skc_dport", 2),
			offset_of(btf, (uint32_t)sock, "sk_protocol", 2),
		};
	btf__free(btf);
	return *target > 0 && sock > 0 ? 0 : -EOPNOTSUPP;
}

#define INSNS_MAX 40
#define KEY (-(int)sizeof(struct map_socket)) /* from the frame pointer */

static struct bpf_insn *copy(struct bpf_insn *i, int from, size_t field)
{
	if (from >= 0) {
		*i++ = LOAD(BPF_H, BPF_REG_1, BPF_REG_7, from);
		*i++ = STORE(BPF_H, BPF_REG_10, BPF_REG_1, KEY + (int)field);
	}
	return i;
}

/* seq_write(seq, r2, len) */
static struct bpf_insn *write_out(struct bpf_insn *i, int len)
{
	*i++ = LOAD(BPF_DW, BPF_REG_1, BPF_REG_6, CTX_META);
	*i++ = LOAD(BPF_DW, BPF_REG_1, BPF_REG_1, 0);
	*i++ = MOV_IMM(BPF_REG_3, len);
	*i++ = CALL(BPF_FUNC_seq_write);
	return i;
}

static size_t assemble(struct bpf_insn *insns, const struct offsets *offsets, uint32_t value_size)
{
	struct bpf_insn *i = insns, *no_sk, *no_value;

	*i++ = MOV_REG(BPF_REG_6, BPF_REG_1);
	*i++ = LOAD(BPF_DW, BPF_REG_7, BPF_REG_6, CTX_SK);
	*i++ = LOAD(BPF_DW, BPF_REG_8, BPF_REG_6, CTX_VALUE);
	no_sk = i++;
	no_value = i++;
	*i++ = MOV_IMM(BPF_REG_1, 0);
	*i++ = STORE(BPF_DW, BPF_REG_10, BPF_REG_1, KEY + 8);
	*i++ = MOV_REG(BPF_REG_1, BPF_REG_7);
	*i++ = CALL(BPF_FUNC_get_socket_cookie);
	*i++ = STORE(BPF_DW, BPF_REG_10, BPF_REG_0, KEY);
	i = copy(i, offsets->family, offsetof(struct map_socket, family));
	i = copy(i, offsets->protocol, offsetof(struct map_socket, protocol));
	i = copy(i, offsets->local_port, offsetof(struct map_socket, local_port));
	i = copy(i, offsets->remote_port, offsetof(struct map_socket, remote_port));
	*i++ = MOV_REG(BPF_REG_2, BPF_REG_10);
	*i++ = ADD_IMM(BPF_REG_2, KEY);
	i = write_out(i, sizeof(struct map_socket));
	*i++ = MOV_REG(BPF_REG_2, BPF_REG_8);
	i = write_out(i, (int)value_size);
	*no_sk = JUMP_EQ_IMM(BPF_REG_7, 0, i - no_sk - 1);
	*no_value = JUMP_EQ_IMM(BPF_REG_8, 0, i - no_value - 1);
	*i++ = MOV_IMM(BPF_REG_0, 0);
	*i++ = EXIT;
	return (size_t)(i - insns);
}

static int load(int target, const struct offsets *offsets, uint32_t value_size)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_ITER,
		    .attach_btf_id = (__u32)target);
	struct bpf_insn insns[INSNS_MAX];
	size_t count = assemble(insns, offsets, value_size);

	return bpf_prog_load(BPF_PROG_TYPE_TRACING, "perilune_sk", "GPL", insns, count, &opts);
}

static int start(struct map_source *source, struct sockets *sockets)
{
	union bpf_iter_link_info info = {.map.map_fd = (__u32)source->map->fd};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	struct offsets offsets;
	int target, err = read_btf(&offsets, &target);

	if (err)
		return err;
	sockets->prog = load(target, &offsets, source->map->value_size);
	if (sockets->prog < 0)
		return sockets->prog;
	sockets->link = bpf_link_create(sockets->prog, 0, BPF_TRACE_ITER, &opts);
	if (sockets->link < 0)
		return sockets->link;
	sockets->iter = bpf_iter_create(sockets->link);
	return sockets->iter < 0 ? sockets->iter : 0;
}

static int sockets_open(struct map_source *source, struct error *error)
{
	struct sockets *sockets = calloc(1, sizeof(*sockets));
	int err;

	if (!sockets)
		return error__set(error, -ENOMEM, "out of memory");
	*sockets = (struct sockets){.prog = -1, .link = -1, .iter = -1};
	source->state = sockets;
	sockets->len = sizeof(struct map_socket) + source->map->value_size;
	sockets->bytes = malloc(sockets->len);
	if (!sockets->bytes)
		return error__set(error, -ENOMEM, "out of memory");
	err = start(source, sockets);
	if (!err)
		return 0;
	if (err == -EPERM || err == -EACCES) {
		error__set(error, err, "going through the sockets: not permitted");
		return error__hint(
			error, err,
			"run as root or with CAP_SYS_ADMIN and CAP_BPF; a hardened kernel "
			"may refuse this iterator to everyone");
	}
	error__set(error, -EOPNOTSUPP,
		   "this kernel does not go through the values of a sk_storage (%s)",
		   error__name(err));
	return error__hint(error, -EOPNOTSUPP,
			   "use Linux 5.13 or later with CONFIG_DEBUG_INFO_BTF=y");
}

/* 1 with a whole record in `bytes`, 0 after the last. */
static int read_record(struct sockets *sockets)
{
	while (sockets->have < sockets->len) {
		ssize_t n = read(sockets->iter, sockets->bytes + sockets->have,
				 sockets->len - sockets->have);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (!n)
			return sockets->have ? -EIO : 0;
		sockets->have += n > 0 ? (size_t)n : 0;
	}
	sockets->have = 0;
	return 1;
}

static int sockets_next(struct map_source *source, struct batch *batch, struct error *error)
{
	struct sockets *sockets = source->state;
	uint32_t most = map_source__chunk(source);
	struct map_socket socket;

	while (batch->count < most) {
		int got = read_record(sockets), err;

		if (got == -E2BIG) {
			error__set(
				error, got,
				"values of %u bytes are more than the kernel passes on of a sk_storage",
				source->map->value_size);
			return error__hint(error, got, "keep them below 32 KB");
		}
		if (got <= 0)
			return got ? map__explain(error, got, "cannot read the sockets' values")
				   : 0;
		memcpy(&socket, sockets->bytes, sizeof(socket));
		memcpy(source->value, sockets->bytes + sizeof(socket), source->map->value_size);
		if (socket.family != AF_INET && socket.family != AF_INET6)
			socket.local_port = socket.remote_port = 0; /* something else lies there */
		err = map_source__append(source, &socket, batch);
		if (err)
			return map__explain(error, err, "cannot read the sockets' values");
	}
	return 1;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void sockets_close(struct map_source *source)
{
	struct sockets *sockets = source->state;

	if (!sockets)
		return;
	close_fd(sockets->iter);
	close_fd(sockets->link);
	close_fd(sockets->prog);
	free(sockets->bytes);
	free(sockets);
	source->state = NULL;
}

const struct map_source_ops map_source_sockets = {sockets_open, sockets_next, sockets_close};
