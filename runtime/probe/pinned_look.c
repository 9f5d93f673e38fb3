/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/file.h"
#include "probe/attach_record.h"
#include "probe/pinned_impl.h"
#include "probe/pins.h"

static const char *const kinds[] = {"links", "programs", "maps"};

void pinned_path__of(const char *root, const char *policy, struct pinned *pinned)
{
	size_t len;

	snprintf(pinned->name, sizeof(pinned->name), "%s", policy);
	snprintf(pinned->root, sizeof(pinned->root), "%s", root);
	snprintf(pinned->policy, sizeof(pinned->policy), "%s/", pinned->root);
	len = strlen(pinned->policy);
	pins__flat_name(pinned->name, pinned->policy + len, sizeof(pinned->policy) - len);
	snprintf(pinned->run, sizeof(pinned->run), "%s/run", pinned->policy);
	snprintf(pinned->beside, sizeof(pinned->beside), "%s/new", pinned->policy);
}

void pinned_path__empty(const struct pinned *pinned)
{
	char path[PINNED_PIN];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		snprintf(path, sizeof(path), "%s/%s", pinned->run, kinds[i]);
		file__empty(AT_FDCWD, path);
		rmdir(path);
	}
	snprintf(path, sizeof(path), "%s/ledger", pinned->run);
	unlink(path);
}

static int map_it(int fd, struct ledger **out)
{
	void *at = mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	*out = at;
	return 0;
}

int pinned_ledger__create(const char *path, struct ledger **out, struct error *error)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "perilune_ledger", sizeof(__u32),
				sizeof(struct ledger), 1, &opts);
	int err;

	if (fd < 0)
		return error__set(error, fd, "cannot create a map: %s", strerror(-fd));
	err = map_it(fd, out);
	if (err) {
		error__set(error, err, "the ledger cannot be mapped: %s", strerror(-err));
	} else if (bpf_obj_pin(fd, path)) {
		err = error__set(error, -errno, "%s cannot be pinned: %s", path, strerror(errno));
		pinned_ledger__close(*out);
		*out = NULL;
	}
	close(fd);
	return err;
}

/* The version of a ledger that this one cannot read: its place is the same in all. */
static void read_version(int fd, uint32_t size, char version[32])
{
	char *value = calloc(1, size);
	__u32 only = 0;

	snprintf(version, 32, "of another version");
	if (value && size >= offsetof(struct ledger, policy) &&
	    !bpf_map_lookup_elem(fd, &only, value) && !memcmp(value, &(uint64_t){LEDGER_MAGIC}, 8))
		snprintf(version, 32, "%.31s", value + offsetof(struct ledger, version));
	free(value);
}

int pinned_ledger__open(const char *path, struct ledger **out, char version[32])
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	int fd = bpf_obj_get(path), err;

	if (fd < 0)
		return fd;
	err = bpf_map_get_info_by_fd(fd, &info, &len);
	if (!err && (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != sizeof(struct ledger) ||
		     !(info.map_flags & BPF_F_MMAPABLE)))
		err = -EPROTO;
	if (!err)
		err = map_it(fd, out);
	if (!err && *out && (*out)->magic == LEDGER_MAGIC &&
	    ((*out)->abi != LEDGER_ABI || (*out)->size != sizeof(struct ledger))) {
		pinned_ledger__close(*out);
		*out = NULL;
		err = -EPROTO;
	}
	if (err == -EPROTO)
		read_version(fd, info.value_size, version);
	close(fd);
	return err;
}

void pinned_ledger__close(struct ledger *ledger)
{
	if (ledger)
		munmap(ledger, sizeof(*ledger));
}

static void look_at(const struct ledger *ledger, struct pinned_look *out)
{
	struct attach_record_owner self, owner;
	const struct ledger_window *windows = ledger->windows;

	out->whole = ledger->magic == LEDGER_MAGIC;
	out->readable = true;
	snprintf(out->version, sizeof(out->version), "%.31s", ledger->version);
	if (out->whole)
		snprintf(out->policy, sizeof(out->policy), "%.63s", ledger->policy);
	snprintf(out->file, sizeof(out->file), "%.255s", ledger->file);
	memcpy(out->digest, ledger->digest, sizeof(out->digest));
	out->seq = windows[windows[0].seq < windows[1].seq].seq;
	out->pid = ledger->owner.pid;
	if (attach_record__owner(&self))
		return;
	owner = self;
	owner.pid = ledger->owner.pid;
	owner.start = ledger->owner.start;
	out->alive = attach_record__alive(&owner, &self);
}

int pinned__look(const char *root, const char *policy, struct pinned_look *out)
{
	struct pinned place = {0};
	char path[PINNED_PATH];
	struct ledger *ledger = NULL;
	int err;

	*out = (struct pinned_look){0};
	pinned_path__of(root, policy, &place);
	if (access(place.run, F_OK))
		return -errno;
	snprintf(out->policy, sizeof(out->policy), "%s", policy);
	snprintf(path, sizeof(path), "%s/ledger", place.run);
	err = pinned_ledger__open(path, &ledger, out->version);
	if (err == -EPROTO)
		out->whole = true;
	if (!err && ledger)
		look_at(ledger, out);
	pinned_ledger__close(ledger);
	return err == -ENOENT || err == -EPROTO ? 0 : err;
}

/* The descriptor keeps the number from becoming another process's between looking and asking. */
int pinned__ask(const char *root, const char *policy, struct error *error)
{
	struct pinned_look look;
	int err = pinned__look(root, policy, &look), asked;
	long fd;

	if (err)
		return error__set(error, err, "%s: %s", policy, strerror(-err));
	asked = look.pid;
	fd = syscall(SYS_pidfd_open, asked, 0);
	if (fd >= 0)
		err = pinned__look(root, policy, &look);
	if (fd < 0 || err || !look.alive || look.pid != asked)
		err = -ESRCH;
	else if (syscall(SYS_pidfd_send_signal, fd, SIGUSR2, NULL, 0))
		err = -errno;
	if (fd >= 0)
		close((int)fd);
	return err ? error__set(error, err, "%s: process %d cannot be asked to leave: %s", policy,
				look.pid, strerror(-err))
		   : 0;
}

int pinned__each(const char *root, void (*fn)(const struct pinned_look *look, void *arg), void *arg)
{
	DIR *list = opendir(root);
	const struct dirent *entry;
	struct pinned_look look;

	if (!list)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(list)))
		if (entry->d_name[0] != '.' && !pinned__look(root, entry->d_name, &look))
			fn(&look, arg);
	closedir(list);
	return 0;
}
