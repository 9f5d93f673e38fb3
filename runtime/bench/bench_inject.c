/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench_inject.h"

#include <errno.h>
#include <linux/types.h>
#include <string.h>
#include <time.h>

#include <bpf/libbpf.h>

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static int fail(struct error *error, const char *what, int err)
{
	return error__set(error, err, "%s failed: %s", what, strerror(-err));
}

int bench_inject__bare(const void *object, size_t len, const char *program, int ifindex,
		       uint64_t *ns, struct error *error)
{
	uint64_t began = now();
	struct bpf_object *opened = bpf_object__open_mem(object, len, NULL);
	struct bpf_program *found;
	struct bpf_link *link = NULL;
	int err = 0;

	if (!opened)
		return fail(error, "opening", -errno);
	found = bpf_object__find_program_by_name(opened, program);
	if (!found) {
		err = fail(error, "finding the program", -ENOENT);
		goto out;
	}
	bpf_program__set_expected_attach_type(found, BPF_TCX_INGRESS);
	err = bpf_object__load(opened);
	if (err) {
		fail(error, "loading", err);
		goto out;
	}
	link = bpf_program__attach_tcx(found, ifindex, NULL);
	if (!link) {
		err = fail(error, "attaching", -errno);
		goto out;
	}
	*ns = now() - began;
out:
	bpf_link__destroy(link);
	bpf_object__close(opened);
	return err;
}
