/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* usleep */
#include "probe/window_grace.h"

#include <errno.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

int grace__open(struct grace *grace, struct error *error)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);

	grace->outer = -1;
	grace->inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "perilune_grace", 4, 4, 1, NULL);
	if (grace->inner < 0)
		return error__set(error, grace->inner, "cannot create a map: %s",
				  strerror(-grace->inner));
	opts.inner_map_fd = (__u32)grace->inner;
	grace->outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "perilune_grace", 4, 4, 1, &opts);
	if (grace->outer < 0)
		return error__set(error, grace->outer, "cannot create an array of maps: %s",
				  strerror(-grace->outer));
	return 0;
}

void grace__close(struct grace *grace)
{
	if (grace->outer >= 0)
		close(grace->outer);
	if (grace->inner >= 0)
		close(grace->inner);
	grace->outer = grace->inner = -1;
}

/* Builds for tests can leave the grace period out, to show what it is for. */
static bool left_out(void)
{
#ifdef PERILUNE_FAULTS
	return getenv("PERILUNE_FAULT_NO_GRACE") != NULL;
#else
	return false;
#endif
}

/* They can also make it last until a file is there, to show who waits. */
static int held_back(void)
{
#ifdef PERILUNE_FAULTS
	const char *path = getenv("PERILUNE_FAULT_GRACE_UNTIL");

	for (int i = 0; path && access(path, F_OK); i++) {
		if (i == 10000)
			return -ETIMEDOUT;
		usleep(1000);
	}
#endif
	return 0;
}

int grace__wait(const struct grace *grace, struct error *error)
{
	__u32 slot = 0, inner = (__u32)grace->inner;
	int err = held_back();

	if (!err && !left_out())
		err = bpf_map_update_elem(grace->outer, &slot, &inner, BPF_ANY);

	return err ? error__set(error, err, "the grace period failed: %s", strerror(-err)) : 0;
}

uint64_t grace__now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

double grace__seconds(uint64_t since)
{
	return (double)(grace__now() - since) / 1e9;
}
