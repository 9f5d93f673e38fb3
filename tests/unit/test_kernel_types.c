/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds bpf/kernel_types.h against the BTF of the running kernel: the header is compiled, and every structure and
 * enumeration in the object's BTF is compared with the kernel's of the same name.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/btf.h>

#include "compile/compile.h"

/* One of each, so that the compiler describes it whole. */
static const char *const structs[] = {
	"xdp_md",   "__sk_buff", "ethhdr", "vlan_hdr", "iphdr",	  "ipv6hdr",  "ipv6_opt_hdr",
	"frag_hdr", "tcphdr",	 "udphdr", "sctphdr",  "icmphdr", "icmp6hdr",
};
static const char *const enums[] = {"bpf_map_type", "xdp_action", "tcx_action_base"};
static const char *const values[] = {
	"BPF_ANY",	    "BPF_NOEXIST",     "BPF_EXIST",	  "BPF_F_NO_PREALLOC",
	"BPF_F_MMAPABLE",   "BPF_F_ZERO_SEED", "BPF_F_INNER_MAP", "BPF_F_CURRENT_CPU",
	"BPF_RB_NO_WAKEUP", "IPPROTO_TCP",     "IPPROTO_UDP",	  "IPPROTO_SCTP",
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static struct btf *kernel, *header;

static bool enumerator(const struct btf *btf, const struct btf_type *type, int i, const char **name,
		       int64_t *value)
{
	if (i >= btf_vlen(type))
		return false;
	if (btf_is_enum(type)) {
		*name = btf__name_by_offset(btf, btf_enum(type)[i].name_off);
		*value = btf_enum(type)[i].val;
	} else {
		*name = btf__name_by_offset(btf, btf_enum64(type)[i].name_off);
		*value = (int64_t)btf_enum64_value(&btf_enum64(type)[i]);
	}
	return true;
}

/* The value of an enumerator of an enumeration with this name ("" for one without a name). */
static bool value_of(const struct btf *btf, const char *in, const char *wanted, int64_t *value)
{
	for (__u32 id = 1; id < btf__type_cnt(btf); id++) {
		const struct btf_type *type = btf__type_by_id(btf, id);
		const char *name;

		if (!btf_is_any_enum(type) || strcmp(btf__name_by_offset(btf, type->name_off), in))
			continue;
		for (int i = 0; enumerator(btf, type, i, &name, value); i++)
			if (!strcmp(name, wanted))
				return true;
	}
	return false;
}

static void write_source(FILE *file)
{
	fputs("#include \"kernel_types.h\"\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_endian.h>\n",
	      file);
	for (size_t i = 0; i < COUNT(structs); i++)
		fprintf(file, "struct %s of_%s;\n", structs[i], structs[i]);
	for (size_t i = 0; i < COUNT(enums); i++)
		fprintf(file, "enum %s of_%s;\n", enums[i], enums[i]);
	for (size_t i = 0; i < COUNT(values); i++) {
		int64_t value;

		if (value_of(kernel, "", values[i], &value))
			fprintf(file, "_Static_assert(%s == %lldLL, \"\");\n", values[i],
				(long long)value);
		else
			fail_msg("the kernel has no %s", values[i]);
	}
	fputs("_Static_assert(sizeof(__be16) == 2 && sizeof(__u32) == 4 && sizeof(__be64) == 8 && sizeof(bool) == 1, \"\");\n"
	      "_Static_assert(ETH_P_IPV6 == 0x86dd && TC_ACT_UNSPEC == TCX_NEXT, \"\");\n"
	      "SEC(\"xdp\") int f(struct xdp_md *ctx)\n{\n\treturn ctx->data ? XDP_PASS : XDP_DROP;\n}\n",
	      file);
}

static int compile(void **state)
{
	char clang[4096], object[] = "/tmp/perilune-test-types-XXXXXX", command[5000];
	int fd = mkstemp(object);
	FILE *pipe;

	(void)state;
	kernel = btf__load_vmlinux_btf();
	if (fd < 0 || !kernel || compile__clang(clang, sizeof(clang), NULL))
		return -1;
	close(fd);
	snprintf(
		command, sizeof(command),
		"'%s' -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -I'%s/bpf' -x c -c -o %s -",
		clang, PERILUNE_BUILD_SHARE, object);
	pipe = popen(command, "w");
	if (pipe) {
		write_source(pipe);
		if (!pclose(pipe))
			header = btf__parse_elf(object, NULL);
	}
	unlink(object);
	return header ? 0 : -1;
}

static int release(void **state)
{
	(void)state;
	btf__free(header);
	btf__free(kernel);
	return 0;
}

struct place {
	bool found;
	uint32_t bit, bits, size; /* bits: of a bitfield, or 0 */
};

/* The member of this name, also of unnamed members. */
static void locate(const struct btf *btf, const struct btf_type *type, const char *name,
		   uint32_t base, struct place *out)
{
	for (int i = 0; i < btf_vlen(type) && !out->found; i++) {
		const struct btf_member *member = &btf_members(type)[i];
		const struct btf_type *inner =
			btf__type_by_id(btf, (__u32)btf__resolve_type(btf, member->type));
		const char *its = btf__name_by_offset(btf, member->name_off);
		uint32_t bit = base + btf_member_bit_offset(type, (__u32)i);

		if (!strcmp(its, name))
			*out = (struct place){true, bit, btf_member_bitfield_size(type, (__u32)i),
					      (uint32_t)btf__resolve_size(btf, member->type)};
		else if (!its[0] && btf_is_composite(inner))
			locate(btf, inner, name, bit, out);
	}
}

static size_t compare_members(const struct btf_type *type, const struct btf_type *theirs,
			      const char *where, uint32_t base)
{
	size_t compared = 0;

	for (int i = 0; i < btf_vlen(type); i++) {
		const struct btf_member *member = &btf_members(type)[i];
		const char *name = btf__name_by_offset(header, member->name_off);
		const struct btf_type *inner =
			btf__type_by_id(header, (__u32)btf__resolve_type(header, member->type));
		uint32_t bit = base + btf_member_bit_offset(type, (__u32)i);
		struct place place = {0};

		if (!name[0] && btf_is_composite(inner)) {
			compared += compare_members(inner, theirs, where, bit);
			continue;
		}
		locate(kernel, theirs, name, 0, &place);
		if (!place.found) /* an older kernel has fewer */
			continue;
		if (place.bit != bit || place.bits != btf_member_bitfield_size(type, (__u32)i) ||
		    (!place.bits &&
		     place.size != (uint32_t)btf__resolve_size(header, member->type)))
			fail_msg("%s.%s: bit %u here, %u in the kernel, or of another size", where,
				 name, bit, place.bit);
		compared++;
	}
	return compared;
}

/* What the program's context may gain at its end. */
static bool may_grow(const char *name)
{
	return !strcmp(name, "xdp_md") || !strcmp(name, "__sk_buff");
}

static void test_structures(void **state)
{
	size_t compared = 0;

	(void)state;
	for (__u32 id = 1; id < btf__type_cnt(header); id++) {
		const struct btf_type *type = btf__type_by_id(header, id), *theirs;
		const char *name = btf__name_by_offset(header, type->name_off);
		int found;

		if (!btf_is_struct(type) || !name[0])
			continue;
		found = btf__find_by_name_kind(kernel, name, BTF_KIND_STRUCT);
		if (found < 0)
			fail_msg("the kernel has no struct %s", name);
		theirs = btf__type_by_id(kernel, (__u32)found);
		if (may_grow(name) ? type->size > theirs->size : type->size != theirs->size)
			fail_msg("struct %s: %u bytes here, %u in the kernel", name, type->size,
				 theirs->size);
		if (!compare_members(type, theirs, name, 0))
			fail_msg("struct %s has no member in common with the kernel's", name);
		compared++;
	}
	assert_true(compared >= COUNT(structs));
}

static void test_enumerations(void **state)
{
	size_t compared = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(enums); i++) {
		int id = btf__find_by_name(header, enums[i]);
		const struct btf_type *type;
		const char *name;
		int64_t here, there;

		assert_true(id > 0);
		type = btf__type_by_id(header, (__u32)id);
		assert_true(btf_is_any_enum(type));
		for (int k = 0; enumerator(header, type, k, &name, &here); k++) {
			if (!strncmp(name, "__MAX", 5) || !value_of(kernel, enums[i], name, &there))
				continue;
			if (here != there)
				fail_msg("%s is %lld here, %lld in the kernel", name,
					 (long long)here, (long long)there);
			compared++;
		}
	}
	assert_true(compared > 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_structures),
		cmocka_unit_test(test_enumerations),
	};

	return cmocka_run_group_tests(tests, compile, release);
}
