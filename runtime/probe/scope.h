/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of the sets that limit probes (bpf/scope.h), in the kernel.
 */
#ifndef PERILUNE_SCOPE_H
#define PERILUNE_SCOPE_H

#include <stdbool.h>

#include "base/error.h"
#include "probe/probe.h"

/*
 * Puts `member` into the set `map` of a loaded probe, or takes it out; neither is an error when it is so already. A member is an
 * IPv4 or IPv6 address, or, where the set holds subnets, ADDRESS/BITS; a port; a protocol's name or number; or a flow, as
 * "10.0.0.1:40000 > 10.0.0.2:443 tcp" (with <>, both ways), whose IPv6 addresses with ports are in brackets and whose ports may be left
 * out when they are 0. A system call of a microsecond. -EINVAL for what is no member, -ENOENT for no set, -E2BIG or -ENOSPC when it is
 * full.
 */
int scope__set(struct probe *probe, const char *map, const char *member, bool in,
	       struct error *error);

/* Takes all members out of a set that nobody else changes meanwhile. -ENOENT for no set. */
int scope__empty(struct probe *probe, const char *map, struct error *error);

#endif
