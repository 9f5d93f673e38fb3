/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as lines for people: src=10.0.0.1 dport=53 -> packets=2 bytes=120.
 */
#ifndef PERILUNE_MAP_TEXT_H
#define PERILUNE_MAP_TEXT_H

#include "base/buf.h"
#include "extract/layout.h"

/* Appends one record, without a line end. Control characters in text are shown as escapes, so that no map can write to a terminal. */
int map_text__record(struct buf *out, const struct layout *layout, const unsigned char *record);

#endif
