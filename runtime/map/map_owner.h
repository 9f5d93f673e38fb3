/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has a value in a local storage: what stands as the key of its records. The kernel's own keys are descriptors, which say nothing.
 */
#ifndef PERILUNE_MAP_OWNER_H
#define PERILUNE_MAP_OWNER_H

#include <limits.h>
#include <stdint.h>

struct map_task {
	uint32_t tid, pid; /* the thread and its process */
	char comm[16];	   /* the thread's name */
};

struct map_cgroup {
	uint64_t id;
	char path[PATH_MAX]; /* its directory */
};

struct map_socket {
	uint64_t cookie;
	uint16_t family;
	uint16_t protocol;
	uint16_t local_port;  /* host order; 0 when the family has none */
	uint16_t remote_port; /* network order */
};

#endif
