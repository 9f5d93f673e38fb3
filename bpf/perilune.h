/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * All that a generated program and its templates build on, in the order they need each other.
 *
 * A template is included once for every probe of it, between a `#define PROBE name` and its `#undef`; NAME(x) gives its functions,
 * maps and types the probe's name in front, so that two probes of one template live side by side.
 */
#ifndef PERILUNE_H
#define PERILUNE_H

#include "kernel_types.h"

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_endian.h>

#include "types.h"

#include "ctl.h"

#include "half.h"

#include "ring.h"

#include "parse.h"

#include "hook.h"

#include "filter.h"

#include "scope.h"

#include "sample.h"

#include "clock.h"

#include "trigger.h"

#include "tap.h"

#include "tcp_flags.h"

#include "server.h"

#include "histogram.h"

#include "defrag.h"

#define PERILUNE_PASTE_(probe, x) probe##_##x
#define PERILUNE_PASTE(probe, x) PERILUNE_PASTE_(probe, x)
#define NAME(x) PERILUNE_PASTE(PROBE, x)

#endif
