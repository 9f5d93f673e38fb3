/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A BPF object for tests, compiled as the runtime compiles policies: two levels, an XDP and a TC root program.
 */
#ifndef PERILUNE_TESTS_PROGRAM_H
#define PERILUNE_TESTS_PROGRAM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "compile/compile.h"

/* Level 0 counts only in the hook's totals, level 1 also in `all`, a row for every source. */
static const char program_source[] =
	"#define HOOK_CALLS\n"
	"#include <perilune.h>\n"
	"#define PROBE all\n"
	"#define KEY_src\n"
	"#define FEATURE_timing\n"
	"#include \"../templates/flows/template.bpf.h\"\n"
	"static __always_inline void level_base(struct packet *p, void *ctx) {}\n"
	"LEVEL_XDP(xdp_level_base, NEED_BASE, level_base)\n"
	"LEVEL_TC(tc_level_base, NEED_BASE, level_base)\n"
	"static __always_inline void level_deep(struct packet *p, void *ctx) { all_on_packet(p); }\n"
	"LEVEL_XDP(xdp_level_deep, NEED_BASE, level_deep)\n"
	"LEVEL_TC(tc_level_deep, NEED_BASE, level_deep)\n"
	"SEC(\"xdp.frags\") int xdp_root(struct xdp_md *ctx)\n"
	"{\n"
	"	union ctl_state state = hook__state();\n"
	"	if (state.level == 1 && !hook__overdue(10000000000))\n"
	"		LEVEL(xdp_level_deep, ctx, state, ingress);\n"
	"	else\n"
	"		LEVEL(xdp_level_base, ctx, state, ingress);\n"
	"	return XDP_PASS;\n"
	"}\n"
	"SEC(\"tc\") int tc_root(struct __sk_buff *ctx)\n"
	"{\n"
	"	union ctl_state state = hook__state();\n"
	"	if (state.level == 1 && !hook__overdue(10000000000))\n"
	"		LEVEL(tc_level_deep, ctx, state, egress);\n"
	"	else\n"
	"		LEVEL(tc_level_base, ctx, state, egress);\n"
	"	return TC_PASS;\n"
	"}\n"
	"char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n";

#define PROGRAM_MAX (1U << 20)

/* The object of a source text; NULL, having said why, when it does not compile. free() it. */
static inline unsigned char *program__compile(const char *source, size_t *len)
{
	const char *root = getenv("PERILUNE_SOURCE");
	char clang[256], command[1024], path[] = "/tmp/perilune-program.XXXXXX";
	unsigned char *object = malloc(PROGRAM_MAX);
	struct error error = {0};
	int fd = mkstemp(path), status = -1;
	FILE *output;

	if (!object || fd < 0 || compile__clang(clang, sizeof(clang), &error)) {
		fprintf(stderr, "no program: %s\n", error.message);
		goto out;
	}
	if (write(fd, source, strlen(source)) != (ssize_t)strlen(source))
		goto out;
	snprintf(command, sizeof(command),
		 "%s -x c -target bpf -mcpu=v3 -g -O2 -Wall -I%s/bpf -iquote%s/bpf -c %s -o -",
		 clang, root ? root : ".", root ? root : ".", path);
	output = popen(command, "r");
	if (!output)
		goto out;
	*len = fread(object, 1, PROGRAM_MAX, output);
	status = pclose(output);
out:
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	if (status) {
		free(object);
		return NULL;
	}
	return object;
}

/* A UDP packet of 32 octets (46 with its link header) from 10.0.x.y, where x.y is `source`. */
#define PROGRAM_FRAME 46
static inline void program__frame(uint16_t source, unsigned char frame[PROGRAM_FRAME])
{
	static const unsigned char udp[PROGRAM_FRAME] = {
		2,    0,    0,	  0,	0, 1,  2, 0, 0,	  0,   0,   2,	 8,  0, /* Ethernet */
		0x45, 0,    0,	  32,	0, 1,  0, 0, 64,  17,  0,   0,	 10, 0,
		0,    0,    10,	  1,	0, 1,				 /* IPv4 */
		0x03, 0xe8, 0x07, 0xd0, 0, 12, 0, 0, 'd', 'a', 't', 'a', /* UDP */
	};

	memcpy(frame, udp, PROGRAM_FRAME);
	frame[28] = (unsigned char)(source >> 8);
	frame[29] = (unsigned char)source;
}

#endif
