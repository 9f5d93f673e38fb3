/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compiled object on its way into the kernel and out again: open → load → attach → replace → detach → free.
 *
 * One object holds all levels of a policy and a root program for each hook. Loading has the verifier prove every level before
 * anything is attached. Load, attach, release and detach block (up to tens of ms each): they belong on a worker, one at a time. Windows
 * may be read meanwhile.
 */
#ifndef PERILUNE_PROBE_H
#define PERILUNE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "probe/attach.h"

#define PROBE_ATTACHMENTS_MAX 16384 /* of one probe: each is a descriptor */

struct bpf_object;
struct ctl;
struct ledger;
struct probe;

/* Opens ELF bytes (copied). `name` is used in errors. */
int probe__open(const void *object, size_t len, const char *name, struct probe **out,
		struct error *error);

/* Before load: how many entries a map shall have; of a windowed hash, each half; of a windowed ring buffer, records at least. -ENOENT when there is no such map. */
int probe__set_entries(struct probe *probe, const char *map, uint32_t entries, struct error *error);

/*
 * Creates the maps and has every program verified. When the verifier refuses, the error names the level and the source line it was
 * at and quotes the end of its log: -ENOEXEC. -EPERM when this process may not use BPF.
 */
int probe__load(struct probe *probe, struct error *error);

/*
 * Instead of load, for programs and maps that are in the kernel already: the object's maps have been given theirs (bpf_map__reuse_fd),
 * and program(arg, name) gives the descriptor of each program, which the probe owns from then on, or -errno.
 */
int probe__adopt(struct probe *probe, int (*program)(void *arg, const char *name), void *arg,
		 struct error *error);

/* Where its windows are accounted for; to be set before they are made. Borrowed; NULL: nowhere. */
void probe__set_ledger(struct probe *probe, struct ledger *ledger);
struct ledger *probe__ledger(const struct probe *probe);

/*
 * From now on every link is pinned in this directory of the BPF file system, so that it outlives the process unless it is
 * detached here. PROBE_LINKS_FOUND takes up those that are pinned there already: whoever attaches to the same place then gets that link
 * instead of a new one. Those whose interface has gone are removed. PROBE_LINKS_NEW leaves them to another probe.
 */
enum probe_links { PROBE_LINKS_FOUND, PROBE_LINKS_NEW };
int probe__pin_links(struct probe *probe, const char *directory, enum probe_links which,
		     struct error *error);

/* Detaches the links that were taken up, but for which nobody has asked since. Returns how many, or -errno. */
int probe__drop_unclaimed(struct probe *probe);

/* What is attached stays so, as it is pinned, whatever becomes of this probe. */
void probe__leave(struct probe *probe);

/* After load: the control block that the programs read, shared memory. Borrowed. */
struct ctl *probe__ctl(struct probe *probe);

/* After load: descriptor of the program with this name (borrowed), or -ENOENT. */
int probe__program(struct probe *probe, const char *name);

/* Borrowed. */
struct bpf_object *probe__object(struct probe *probe);

/*
 * In which network namespace interfaces are from now on, as netns__call takes it; a duplicate is kept. -EBUSY while something is
 * attached.
 */
int probe__set_netns(struct probe *probe, int netns, struct error *error);

/* Where a program shall be attached. */
struct probe_place {
	enum hook hook;
	int ifindex;
	const char *
		name; /* of the interface, which must be that one's; NULL for any. Names go from one to another, and so do indices */
	enum attach_mode mode;
};

/*
 * Attaches the program with this name. *mode_name names the mode that worked (static storage). -ENODEV: no interface with that
 * index and name.
 */
int probe__attach(struct probe *probe, const char *program, const struct probe_place *place,
		  const char **mode_name, struct error *error);

/* Detaches from one interface, also from one that has gone. Returns how many attachments there were, or the first -errno. */
int probe__release(struct probe *probe, int ifindex);

/* Whether all that was attached to that interface still is. */
bool probe__alive(struct probe *probe, int ifindex);

/* Detaches from everything, last attached first. Returns how many attachments there were, or the first -errno. */
int probe__detach(struct probe *probe);

/*
 * Puts the programs of `probe` in the place of those of `from`, wherever `from` is attached to a hook that both have a program for: each
 * in one step, so that a packet is seen by one of the two. programs[hook]: its name in both, NULL where one has none; what `from` has
 * there stays with it. `probe` may be attached elsewhere already, in the same network namespace. When one cannot be replaced, all are as
 * before.
 */
int probe__take_over(struct probe *probe, struct probe *from, const char *const programs[HOOKS],
		     struct error *error);

/* Detaches and unloads. NULL-safe. */
void probe__free(struct probe *probe);

#endif
