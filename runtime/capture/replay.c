/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/replay.h"

#include <errno.h>
#include <linux/types.h>
#include <string.h>

#include <bpf/bpf.h>

#include "bpf/ctl.h"

#define FRAME_MIN                                                                                  \
	14 /* the kernel wants an Ethernet header; a shorter frame is padded, ctl.wire tells the program */
#define FRAME_MAX 2048 /* programs look at headers only */

int replay__frame(struct probe *probe, int program, const struct capture_frame *frame,
		  struct error *error)
{
	struct ctl *ctl = probe__ctl(probe);
	unsigned char padded[FRAME_MIN] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	int err;

	opts.data_in = frame->data;
	opts.data_size_in = frame->captured < FRAME_MAX ? frame->captured : FRAME_MAX;
	if (frame->captured < FRAME_MIN) {
		memcpy(padded, frame->data, frame->captured);
		opts.data_in = padded;
		opts.data_size_in = FRAME_MIN;
	}
	ctl->now = frame->time ? frame->time : 1;
	ctl->wire = frame->wire > frame->captured ? frame->wire : frame->captured;
	if (!ctl->wire)
		ctl->wire = 1; /* 0 would mean "live" */
	err = bpf_prog_test_run_opts(program, &opts);
	return err ? error__set(error, -errno, "running a program on a frame failed: %s",
				strerror(errno))
		   : 0;
}
