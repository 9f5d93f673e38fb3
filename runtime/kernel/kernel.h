/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel and machine can do, found by trying it, never by a version number.
 *
 * Nothing is attached to an interface of the host and nothing is left behind.
 */
#ifndef PERILUNE_KERNEL_H
#define PERILUNE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

struct capability {
	const char *name;   /* "tcx" */
	const char *what;   /* "TCX links" */
	bool required;	    /* perilune cannot work without */
	int result;	    /* 0: it is there; -errno of the try otherwise */
	char detail[128];   /* a value worth showing ("9.1 ms"), or empty */
	const char *costs;  /* what its absence costs */
	const char *remedy; /* what to do about it */
};

#define KERNEL_CAPABILITIES_MAX 32

/* Tries everything; fills at most `max`, returns how many there are. Takes some tens of ms, most of it waiting. */
size_t kernel__probe(struct capability *out, size_t max);

/* What the process may do, of what BPF asks for. */
struct kernel_rights {
	bool root; /* effective user id 0 */
	bool sys_admin, bpf, net_admin, perfmon;
	bool enough; /* to load programs and attach them to interfaces, where nothing else forbids it */
};

int kernel__rights(struct kernel_rights *out);

/* Of the library in use, as text: "1.4". */
const char *kernel__libbpf_version(void);

#endif
