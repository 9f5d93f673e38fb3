/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/pinned.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/types.h>
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/file.h"
#include "probe/attach_record.h"
#include "probe/pinned_impl.h"
#include "probe/pins.h"

/* Whether the directory, or the one that it is to be made in, is on a BPF file system. */
static bool is_bpffs(const char *root)
{
	char parent[PINNED_PATH];
	struct statfs fs;
	char *slash;

	if (!statfs(root, &fs))
		return fs.f_type == BPF_FS_MAGIC;
	snprintf(parent, sizeof(parent), "%s", root);
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return false;
	*slash = '\0';
	return !statfs(parent, &fs) && fs.f_type == BPF_FS_MAGIC;
}

/*
 * Makes the directory and locks it. -EBUSY: another process has it. On a BPF file system that everybody may write in, what somebody else
 * has put there is refused.
 */
static int lock(struct pinned *pinned)
{
	for (;;) {
		int err = file__make_own_dir(pinned->root);

		if (!err)
			err = file__make_own_dir(pinned->policy);
		if (!err)
			err = file__make_own_dir(pinned->run);
		if (!err)
			err = file__lock_dir(pinned->run, &pinned->lock);
		if (err != -ENOENT && err != -ESTALE)
			return err; /* else its last owner has just removed it */
	}
}

static int taken(const char *root, const char *policy, struct error *error)
{
	struct pinned_look look;
	int err;

	if (pinned__look(root, policy, &look) || !look.alive)
		return error__set(error, -EBUSY, "another process has the pins of %s", policy);
	err = error__set(error, -EBUSY, "%s runs already, pinned, as process %d", policy, look.pid);
	return error__hint(error, err, "take over from it with --upgrade, or stop it");
}

static int stale(const struct pinned *pinned, const char *version, const char *what,
		 struct error *error)
{
	int err = error__set(error, -ESTALE, "%s is pinned at %s by perilune %s, and %s",
			     pinned->name, pinned->run, version, what);

	return error__hint(
		error, err,
		"go on with what it was begun with, or give up what it has counted since: "
		"perilune unpin %s",
		pinned->name);
}

/* The ledger that is there, if it is whole. */
static int find_ledger(struct pinned *pinned, struct error *error)
{
	char path[PINNED_PATH], version[32];
	int err;

	snprintf(path, sizeof(path), "%s/ledger", pinned->run);
	err = pinned_ledger__open(path, &pinned->ledger, version);
	if (err == -ENOENT)
		return 0;
	if (err == -EPROTO)
		return stale(pinned, version, "that version's records cannot be read by this one",
			     error);
	if (err)
		return error__set(error, err, "%s cannot be opened: %s", path, strerror(-err));
	pinned->found = pinned->ledger->magic == LEDGER_MAGIC;
	if (!pinned->found) {
		pinned_ledger__close(pinned->ledger);
		pinned->ledger = NULL;
	}
	return 0;
}

int pinned__open(const char *root, const char *policy, struct pinned **out, struct error *error)
{
	struct pinned *pinned;
	int err;

	if (!is_bpffs(root))
		return pins__no_place(root, error);
	pinned = calloc(1, sizeof(*pinned));
	if (!pinned)
		return error__set(error, -ENOMEM, "out of memory");
	pinned->lock = pinned->beside_lock = -1;
	pinned_path__of(root, policy, pinned);
	err = lock(pinned);
	if (err == -EBUSY)
		taken(root, policy, error);
	else if (err)
		error__set(error, err, "%s cannot be made: %s", pinned->run, strerror(-err));
	if (!err)
		err = find_ledger(pinned, error);
	if (!err && !pinned->found)
		pinned_path__empty(pinned); /* somebody did not come to its end, or its beginning */
	if (err) {
		pinned__leave(pinned);
		return err;
	}
	*out = pinned;
	return 0;
}

bool pinned__found(const struct pinned *pinned)
{
	return pinned->found;
}

void pinned__digest(const void *object, size_t len, const char *how,
		    unsigned char digest[LEDGER_DIGEST])
{
	SHA256_CTX sha;

	SHA256_Init(&sha);
	SHA256_Update(&sha, object, len);
	SHA256_Update(&sha, (const uint8_t *)how, strlen(how));
	SHA256_Final(digest, &sha);
}

struct ledger *pinned__ledger(struct pinned *pinned)
{
	return pinned->ledger;
}

void pinned_path__to(const struct pinned *pinned, const char *kind, const char *name,
		     char path[PINNED_PIN])
{
	size_t len = (size_t)snprintf(path, PINNED_PIN, "%s/%s/", pinned->run, kind);

	snprintf(path + len, PINNED_PIN - len, "%s", name);
	for (char *p = path + len; *p; p++)
		if (*p == '.' || *p == '/')
			*p = '_';
}

static int pin(const struct pinned *pinned, const char *kind, const char *name, int fd,
	       struct error *error)
{
	char path[PINNED_PIN];

	pinned_path__to(pinned, kind, name, path);
	return bpf_obj_pin(fd, path)
		       ? error__set(error, -errno, "%s cannot be pinned: %s", path, strerror(errno))
		       : 0;
}

int pinned_maps__pin(const struct pinned *pinned, struct probe *probe, struct error *error)
{
	struct bpf_object *object = probe__object(probe);
	struct bpf_program *program;
	char maps[PINNED_PATH], programs[PINNED_PATH];
	struct bpf_map *map;
	int err;

	snprintf(maps, sizeof(maps), "%s/maps", pinned->run);
	snprintf(programs, sizeof(programs), "%s/programs", pinned->run);
	err = file__make_own_dir(maps);
	if (!err)
		err = file__make_own_dir(programs);
	if (err)
		return error__set(error, err, "%s cannot be made: %s", maps, strerror(-err));
	bpf_object__for_each_map(map, object) {
		err = pin(pinned, "maps", bpf_map__name(map), bpf_map__fd(map), error);
		if (err)
			return err;
	}
	bpf_object__for_each_program(program, object) {
		err = pin(pinned, "programs", bpf_program__name(program), bpf_program__fd(program),
			  error);
		if (err)
			return err;
	}
	return 0;
}

static void own(struct ledger *ledger)
{
	struct attach_record_owner self;

	if (attach_record__owner(&self))
		self.start = 0;
	ledger->owner = (struct ledger_owner){.pid = getpid(), .start = self.start};
}

void pinned_ledger__describe(struct ledger *ledger, const struct pinned *pinned,
			     const struct pinned_about *about)
{
	snprintf(ledger->version, sizeof(ledger->version), "%s", about->version);
	snprintf(ledger->policy, sizeof(ledger->policy), "%s", pinned->name);
	snprintf(ledger->file, sizeof(ledger->file), "%s", about->file);
	memcpy(ledger->digest, about->digest, sizeof(ledger->digest));
	own(ledger);
}

static int pin_links(struct pinned *pinned, struct probe *probe, struct error *error)
{
	char links[PINNED_PATH];

	snprintf(links, sizeof(links), "%s/links", pinned->run);
	return probe__pin_links(probe, links, PROBE_LINKS_FOUND, error);
}

int pinned__begin(struct pinned *pinned, struct probe *probe, const struct pinned_about *about,
		  struct error *error)
{
	struct ledger *ledger;
	char path[PINNED_PATH];
	int err;

	pinned_ledger__close(pinned->ledger); /* of an attempt before this one */
	pinned->ledger = NULL;
	pinned_beside__remove(pinned);
	pinned_path__empty(pinned);
	snprintf(path, sizeof(path), "%s/ledger", pinned->run);
	err = pinned_ledger__create(path, &pinned->ledger, error);
	if (!err)
		err = pinned_maps__pin(pinned, probe, error);
	if (!err)
		err = pin_links(pinned, probe, error);
	if (err) {
		pinned_path__empty(pinned);
		return err;
	}
	ledger = pinned->ledger;
	pinned_ledger__describe(ledger, pinned, about);
	ledger__begin(ledger, &(struct ledger_window){.seq = about->seq,
						      .wall = about->wall,
						      .mono = about->mono});
	probe__set_ledger(probe, ledger);
	__atomic_store_n(&ledger->magic, LEDGER_MAGIC, __ATOMIC_RELEASE);
	return 0;
}

/* Whether a map that is there can take the place of one that is declared. */
static bool same(int fd, const struct bpf_map *map)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	bool counted = bpf_map__type(map) != BPF_MAP_TYPE_RINGBUF &&
		       bpf_map__type(map) != BPF_MAP_TYPE_PERF_EVENT_ARRAY;

	return !bpf_map_get_info_by_fd(fd, &info, &len) && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       (!counted || info.max_entries == bpf_map__max_entries(map));
}

static int reuse(const struct pinned *pinned, struct bpf_map *map, struct error *error)
{
	char path[PINNED_PIN];
	int fd, err = 0;

	pinned_path__to(pinned, "maps", bpf_map__name(map), path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return error__set(error, fd, "%s cannot be opened: %s", path, strerror(-fd));
	if (!same(fd, map))
		err = stale(pinned, pinned->ledger->version, "one of its maps is another", error);
	else if (bpf_map__reuse_fd(map, fd))
		err = error__set(error, -errno, "%s cannot be used again: %s", path,
				 strerror(errno));
	close(fd);
	return err;
}

static int find_program(void *arg, const char *name)
{
	char path[PINNED_PIN];

	pinned_path__to(arg, "programs", name, path);
	return bpf_obj_get(path);
}

int pinned__adopt(struct pinned *pinned, struct probe *probe, const unsigned char *digest,
		  struct error *error)
{
	struct bpf_map *map;
	int err;

	if (memcmp(pinned->ledger->digest, digest, LEDGER_DIGEST) != 0)
		return stale(pinned, pinned->ledger->version,
			     "this policy, built by this version, is another", error);
	bpf_object__for_each_map(map, probe__object(probe)) {
		err = reuse(pinned, map, error);
		if (err)
			return err;
	}
	err = probe__adopt(probe, find_program, pinned, error);
	if (err)
		return err;
	own(pinned->ledger);
	probe__set_ledger(probe, pinned->ledger);
	return pin_links(pinned, probe, error);
}

void pinned__leave(struct pinned *pinned)
{
	if (!pinned)
		return;
	pinned_ledger__close(pinned->ledger);
	pinned_ledger__close(pinned->before);
	if (pinned->beside_lock >= 0)
		close(pinned->beside_lock);
	if (pinned->lock >= 0)
		close(pinned->lock);
	free(pinned);
}

void pinned__remove(struct pinned *pinned)
{
	if (!pinned)
		return;
	if (pinned->ledger) /* from here on there is nothing to adopt */
		__atomic_store_n(&pinned->ledger->magic, 0, __ATOMIC_RELEASE);
	pinned_beside__remove(pinned);
	pinned_path__empty(pinned);
	rmdir(pinned->run);
	rmdir(pinned->policy); /* these two fail where others have something in them */
	rmdir(pinned->root);
	pinned__leave(pinned);
}

int pinned__forget(const char *root, const char *policy, struct error *error)
{
	struct pinned *pinned = calloc(1, sizeof(*pinned));
	int err;

	if (!pinned)
		return error__set(error, -ENOMEM, "out of memory");
	pinned->lock = pinned->beside_lock = -1;
	pinned_path__of(root, policy, pinned);
	err = access(pinned->run, F_OK) ? -errno : lock(pinned);
	if (!err) {
		pinned__remove(pinned);
		return 0;
	}
	if (err == -EBUSY) {
		taken(root, policy, error);
		error__hint(error, err, "stop it");
	} else {
		error__set(error, err, "%s: %s", policy,
			   err == -ENOENT ? "nothing of that policy is pinned" : strerror(-err));
	}
	pinned__leave(pinned);
	return err;
}
