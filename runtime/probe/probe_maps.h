/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an opened object declares, before anything of it is loaded: its maps, the layouts of their records, and its programs. For code of
 * which nobody has written down what it counts.
 */
#ifndef PERILUNE_PROBE_MAPS_H
#define PERILUNE_PROBE_MAPS_H

#include <stdint.h>

#include "base/error.h"
#include "extract/layout.h"
#include "probe/probe.h"

struct probe_map {
	const char *name; /* as the source has it, however long */
	uint32_t type;	  /* BPF_MAP_TYPE_… */
	uint32_t entries;
	uint32_t
		padding; /* bytes of the key that no member of it is: whoever fills in all members leaves them as they were */
};

/* Calls `fn` for every map that the source declares, in its order; global variables are none. */
void probe_maps__each(struct probe *probe, void (*fn)(const struct probe_map *map, void *arg),
		      void *arg);

/* Calls `fn` for every program: its name and section. */
void probe_maps__each_program(struct probe *probe,
			      void (*fn)(const char *name, const char *section, void *arg),
			      void *arg);

/*
 * The layout of a map's records, for layout__free. `index`: the enum that an array's index is shown as, or NULL. -ENOENT: there is no
 * such map or enum.
 */
int probe_maps__layout(struct probe *probe, const char *map, const char *index, struct layout **out,
		       struct error *error);

#endif
