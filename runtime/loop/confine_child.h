/* SPDX-License-Identifier: Apache-2.0 */
/* How the child of confine.h gives up what it does not need. Every function is for the child only, right after the fork. */
#ifndef PERILUNE_CONFINE_CHILD_H
#define PERILUNE_CONFINE_CHILD_H

#include <sys/types.h>

#include "loop/confine.h"

/*
 * Keeps `channel` and standard error, nothing else: see confine.h. `parent` is the process that forked; the child ends here if that
 * is already gone. Uses system calls only. 0 or -errno.
 */
int confine_child__confine(int channel, pid_t parent, const struct confine_spec *spec);

#endif
