/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/netns.h"
#include "bpf/ctl.h"
#include "probe/attach_pins.h"
#include "probe/ledger.h"
#include "probe/probe_load.h"
#include "probe/window_map.h"

/* One that an earlier process has loaded. */
struct adopted {
	char name[64];
	int fd;
};

struct probe {
	struct bpf_object *object;
	struct ctl *ctl;
	struct attachment **attachments;
	size_t attached, room;
	int netns;
	char name[64];
	struct adopted *adopted; /* in place of the object's own programs */
	size_t nadopted;
	struct ledger *ledger;
	struct attach_pins *pins; /* NULL: links go with the process */
};

int probe__open(const void *object, size_t len, const char *name, struct probe **out,
		struct error *error)
{
	struct probe *probe = calloc(1, sizeof(*probe));
	int err;

	if (!probe)
		return error__set(error, -ENOMEM, "out of memory");
	probe->netns = NETNS_OWN;
	snprintf(probe->name, sizeof(probe->name), "%s", name);
	err = probe_load__open(object, len, name, &probe->object, error);
	if (err) {
		probe__free(probe);
		return err;
	}
	*out = probe;
	return 0;
}

/*
 * A windowed ring buffer: the kernel counts its bytes, of which each record takes eight more, in a power of two of whole pages.
 */
static int set_records(struct probe *probe, struct bpf_map *ring, uint32_t records)
{
	uint64_t each = (window_map__record_size(probe->object, ring) + 7ULL) / 8 * 8 + 8;
	uint64_t want = records * each;
	uint64_t bytes = (uint64_t)sysconf(_SC_PAGESIZE);

	while (bytes < want)
		bytes *= 2;
	if (bytes > UINT32_MAX) {
		errno = E2BIG;
		return -E2BIG;
	}
	return bpf_map__set_max_entries(ring, (uint32_t)bytes);
}

static int set_size(struct probe *probe, struct bpf_map *map, uint32_t entries)
{
	if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF)
		return set_records(probe, map, entries);
	return bpf_map__set_max_entries(map, entries);
}

int probe__set_entries(struct probe *probe, const char *name, uint32_t entries, struct error *error)
{
	static const char *const suffixes[] = {"", "_0", "_1"};
	char full[128];
	size_t found = 0;

	for (size_t i = 0; i < 3; i++) {
		struct bpf_map *map;

		snprintf(full, sizeof(full), "%s%s", name, suffixes[i]);
		map = bpf_object__find_map_by_name(probe->object, full);
		if (!map)
			continue;
		found++;
		if (bpf_map__type(map) == BPF_MAP_TYPE_ARRAY_OF_MAPS)
			continue;
		if (set_size(probe, map, entries))
			return error__set(error, -errno, "map %s: cannot have %u entries", full,
					  entries);
	}
	return found ? 0 : error__set(error, -ENOENT, "%s: there is no map %s", probe->name, name);
}

/* Maps the control block itself; libbpf's initial value of it is a copy. */
static int map_ctl(struct probe *probe, struct error *error)
{
	struct bpf_map *map = bpf_object__find_map_by_name(probe->object, ".data.ctl");
	void *ctl;

	if (!map)
		return error__set(error, -ENOENT, "%s: the object has no control block",
				  probe->name);
	ctl = mmap(NULL, sizeof(*probe->ctl), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map),
		   0);
	if (ctl == MAP_FAILED)
		return error__set(error, -errno, "%s: the control block cannot be mapped: %s",
				  probe->name, strerror(errno));
	probe->ctl = ctl;
	return 0;
}

int probe__load(struct probe *probe, struct error *error)
{
	int err = probe_load__load(probe->object, probe->name, error);

	return err ? err : map_ctl(probe, error);
}

static size_t room_for_programs(const struct bpf_object *object)
{
	struct bpf_program *program;
	size_t count = 1; /* none would be no memory */

	bpf_object__for_each_program(program, object)
		count++;
	return count;
}

int probe__adopt(struct probe *probe, int (*find)(void *arg, const char *name), void *arg,
		 struct error *error)
{
	struct bpf_program *program;
	int err;

	probe->adopted = calloc(room_for_programs(probe->object), sizeof(*probe->adopted));
	if (!probe->adopted)
		return error__set(error, -ENOMEM, "out of memory");
	bpf_object__for_each_program(program, probe->object) {
		struct adopted *one = &probe->adopted[probe->nadopted];
		const char *name = bpf_program__name(program);
		int fd = find(arg, name);

		if (fd < 0)
			return error__set(error, fd, "%s: the program %s is not there: %s",
					  probe->name, name, strerror(-fd));
		snprintf(one->name, sizeof(one->name), "%s", name);
		one->fd = fd;
		probe->nadopted++;
		bpf_program__set_autoload(program, false);
	}
	err = probe_load__load(probe->object, probe->name, error);
	return err ? err : map_ctl(probe, error);
}

void probe__set_ledger(struct probe *probe, struct ledger *ledger)
{
	probe->ledger = ledger;
}

struct ledger *probe__ledger(const struct probe *probe)
{
	return probe->ledger;
}

int probe__pin_links(struct probe *probe, const char *directory, enum probe_links which,
		     struct error *error)
{
	return attach_pins__open(directory, which == PROBE_LINKS_FOUND, &probe->pins, error);
}

int probe__drop_unclaimed(struct probe *probe)
{
	return probe->pins ? attach_pins__drop(probe->pins) : 0;
}

void probe__leave(struct probe *probe)
{
	for (size_t i = 0; i < probe->attached; i++)
		attach__leave(probe->attachments[i]);
	probe->attached = 0;
	attach_pins__close(probe->pins);
	probe->pins = NULL;
}

struct ctl *probe__ctl(struct probe *probe)
{
	return probe->ctl;
}

struct bpf_object *probe__object(struct probe *probe)
{
	return probe->object;
}

int probe__program(struct probe *probe, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(probe->object, name);

	for (size_t i = 0; i < probe->nadopted; i++)
		if (!strcmp(probe->adopted[i].name, name))
			return probe->adopted[i].fd;
	return program ? bpf_program__fd(program) : -ENOENT;
}

int probe__set_netns(struct probe *probe, int netns, struct error *error)
{
	int fd = netns;

	if (probe->attached)
		return error__set(error, -EBUSY, "%s: attached in another network namespace",
				  probe->name);
	if (netns != NETNS_OWN)
		fd = fcntl(netns, F_DUPFD_CLOEXEC, 3);
	if (netns != NETNS_OWN && fd < 0)
		return error__set(error, -errno, "cannot keep the network namespace: %s",
				  strerror(errno));
	if (probe->netns >= 0)
		close(probe->netns);
	probe->netns = fd;
	return 0;
}

/* For so many attachments more. */
static int make_room(struct probe *probe, size_t more, struct error *error)
{
	size_t room = probe->room ? probe->room : 8;
	struct attachment **list;

	while (room < probe->attached + more)
		room *= 2;
	if (probe->room >= probe->attached + more)
		return 0;
	if (room > PROBE_ATTACHMENTS_MAX)
		return error__set(error, -ENOSPC, "%s: attached %zu times already", probe->name,
				  probe->attached);
	list = reallocarray(probe->attachments, room, sizeof(*list));
	if (!list)
		return error__set(error, -ENOMEM, "out of memory");
	probe->attachments = list;
	probe->room = room;
	return 0;
}

/* For netns__call. */
struct job {
	struct probe *probe;
	const struct probe_place *place;
	int fd;	     /* attach: the program */
	int ifindex; /* release, alive: whose; 0 for all */
	struct error *error;
};

static int attach(void *arg)
{
	struct job *job = arg;
	struct probe *probe = job->probe;
	const struct probe_place *place = job->place;
	struct attachment **slot = &probe->attachments[probe->attached];
	char name[IF_NAMESIZE];
	int err;

	if (!probe->attached)
		attach__sweep(); /* what a process of ours that was killed could not remove */
	if (probe->pins)
		err = attach_pins__attach(probe->pins, place->hook, place->ifindex, place->mode,
					  job->fd, slot, job->error);
	else
		err = attach__attach(place->hook, place->ifindex, place->mode, job->fd, slot,
				     job->error);
	if (err)
		return err;
	name[0] = '\0';
	if (place->name && !if_indextoname((unsigned int)place->ifindex, name) && errno != ENXIO) {
		/* Which says nothing of the interface; the C library says ENOENT when it can open no socket. */
		err = errno == ENOENT ? -EMFILE : -errno;
		attach__detach(*slot);
		return error__set(job->error, err, "cannot look at %s: %s", place->name,
				  strerror(-err));
	}
	if (place->name && strcmp(name, place->name) != 0) {
		attach__detach(*slot);
		return error__set(job->error, -ENODEV, "there is no interface %s any more",
				  place->name);
	}
	probe->attached++;
	return 0;
}

int probe__attach(struct probe *probe, const char *program, const struct probe_place *place,
		  const char **mode_name, struct error *error)
{
	struct job job = {.probe = probe, .place = place, .error = error};
	int err;

	job.fd = probe__program(probe, program);
	if (job.fd < 0)
		return error__set(error, job.fd, "%s: there is no program %s", probe->name,
				  program);
	err = make_room(probe, 1, error);
	if (!err)
		err = netns__call(probe->netns, attach, &job, error);
	if (!err)
		*mode_name = probe->attachments[probe->attached - 1]->ops->name;
	return err;
}

/* The last attached first. */
static int detach(void *arg)
{
	struct job *job = arg;
	struct probe *probe = job->probe;
	size_t before = probe->attached, at = before;
	int err = 0;

	while (at--) {
		struct attachment *attachment = probe->attachments[at];
		int one;

		if (job->ifindex && attachment->ifindex != job->ifindex)
			continue;
		one = attach__detach(attachment);
		if (one && !err)
			err = one;
		probe->attached--;
		memmove(&probe->attachments[at], &probe->attachments[at + 1],
			(probe->attached - at) * sizeof(*probe->attachments));
	}
	return err ? err : (int)(before - probe->attached);
}

int probe__release(struct probe *probe, int ifindex)
{
	struct job job = {.probe = probe, .ifindex = ifindex};

	return probe->attached ? netns__call(probe->netns, detach, &job, NULL) : 0;
}

int probe__detach(struct probe *probe)
{
	return probe__release(probe, 0);
}

static int alive(void *arg)
{
	struct job *job = arg;
	int all = 1;

	for (size_t i = 0; i < job->probe->attached; i++) {
		const struct attachment *attachment = job->probe->attachments[i];

		if (attachment->ifindex == job->ifindex && !attach__alive(attachment))
			all = 0;
	}
	return all;
}

bool probe__alive(struct probe *probe, int ifindex)
{
	struct job job = {.probe = probe, .ifindex = ifindex};

	return netns__call(probe->netns, alive, &job, NULL) > 0;
}

/* For netns__call. */
struct take_over {
	struct probe *from;
	int fds[HOOKS], before[HOOKS]; /* programs by hook, after it and before */
	struct error *error;
};

/* Whether it is at a hook that both probes have a program for. */
static bool goes_over(const struct take_over *job, const struct attachment *attachment)
{
	return job->fds[attachment->hook] >= 0;
}

static int replace_one(const struct take_over *job, struct attachment *attachment)
{
	int err = attach__replace(attachment, job->fds[attachment->hook], job->error);

	ledger__may_die("taking");
	return err;
}

static int take_over(void *arg)
{
	struct take_over *job = arg;
	struct attachment **list = job->from->attachments;
	size_t i;
	int err = 0;

	for (i = 0; !err && i < job->from->attached;
	     i++) /* one that is dead has lost its interface, which will be told */
		if (goes_over(job, list[i]) && attach__alive(list[i]))
			err = replace_one(job, list[i]);
	if (err)
		for (i--; i--;)
			if (goes_over(job, list[i]))
				attach__replace(list[i], job->before[list[i]->hook], NULL);
	return err;
}

/* The attachments that go over become the other probe's, which has room for them. */
static void move_over(const struct take_over *job, struct probe *probe)
{
	struct probe *from = job->from;
	size_t left = 0;

	for (size_t i = 0; i < from->attached; i++) {
		struct attachment *attachment = from->attachments[i];

		if (goes_over(job, attachment))
			probe->attachments[probe->attached++] = attachment;
		else
			from->attachments[left++] = attachment;
	}
	from->attached = left;
}

int probe__take_over(struct probe *probe, struct probe *from, const char *const programs[HOOKS],
		     struct error *error)
{
	struct take_over job = {.from = from, .error = error};
	int err;

	for (int hook = 0; hook < HOOKS; hook++) {
		job.fds[hook] = programs[hook] ? probe__program(probe, programs[hook]) : -ENOENT;
		job.before[hook] = programs[hook] ? probe__program(from, programs[hook]) : -ENOENT;
		if (programs[hook] && (job.fds[hook] < 0 || job.before[hook] < 0))
			return error__set(error, -ENOENT, "%s: there is no program %s",
					  job.fds[hook] < 0 ? probe->name : from->name,
					  programs[hook]);
	}
	if (!probe->attached && from->netns != NETNS_OWN)
		err = probe__set_netns(probe, from->netns, error);
	else
		err = 0;
	if (!err)
		err = make_room(probe, from->attached, error);
	if (!err)
		err = netns__call(from->netns, take_over, &job, error);
	if (!err)
		move_over(&job, probe);
	return err;
}

void probe__free(struct probe *probe)
{
	if (!probe)
		return;
	probe__detach(probe);
	attach_pins__close(probe->pins);
	free(probe->attachments);
	for (size_t i = 0; i < probe->nadopted; i++)
		close(probe->adopted[i].fd);
	free(probe->adopted);
	if (probe->netns >= 0)
		close(probe->netns);
	if (probe->ctl)
		munmap(probe->ctl, sizeof(*probe->ctl));
	bpf_object__close(probe->object);
	free(probe);
}
