/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One captured frame through a real program, on the capture's clock (BPF_PROG_TEST_RUN).
 */
#ifndef PERILUNE_REPLAY_H
#define PERILUNE_REPLAY_H

#include "base/error.h"
#include "capture/capture.h"
#include "probe/probe.h"

/* `program`: descriptor of an XDP program of the probe. Nothing else may run the probe's programs meanwhile. */
int replay__frame(struct probe *probe, int program, const struct capture_frame *frame,
		  struct error *error);

#endif
