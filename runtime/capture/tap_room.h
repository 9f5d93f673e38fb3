/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for captures: a directory whose *.pcapng files together have a limit.
 */
#ifndef PERILUNE_TAP_ROOM_H
#define PERILUNE_TAP_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Makes the directory (its owner's alone), and sees that a file of `bytes` more does not bring its captures over `total`: with `oldest`, by
 * removing those that were written to longest ago; -ENOSPC without.
 */
int tap_room__make(const char *directory, uint64_t total, uint64_t bytes, bool oldest,
		   struct error *error);

#endif
