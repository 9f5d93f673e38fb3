/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and loading an object, with the verifier's words when it refuses: what probes and twins share.
 */
#ifndef PERILUNE_PROBE_LOAD_H
#define PERILUNE_PROBE_LOAD_H

#include <stddef.h>

#include "base/error.h"

struct bpf_object;

/* Opens ELF bytes (copied). `name` is used in errors. */
int probe_load__open(const void *object, size_t len, const char *name, struct bpf_object **out,
		     struct error *error);

/*
 * Creates the maps and has every program verified. When the verifier refuses, the error names the function and the source line it
 * was at and quotes the end of its log: -ENOEXEC. -EPERM when this process may not use BPF.
 */
int probe_load__load(struct bpf_object *object, const char *name, struct error *error);

#endif
