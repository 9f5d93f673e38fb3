/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/file.h"
#include "bpf/ctl.h"
#include "probe/pinned_impl.h"

#define EXCHANGE 2 /* RENAME_EXCHANGE, which <linux/fs.h> has beside too much else */

/* The same policy as seen from the directory beside. */
static struct pinned beside(const struct pinned *pinned)
{
	struct pinned other = *pinned;

	memcpy(other.run, pinned->beside, sizeof(other.run));
	return other;
}

void pinned_beside__remove(const struct pinned *pinned)
{
	struct pinned other = beside(pinned);

	pinned_path__empty(&other);
	rmdir(other.run);
}

/* Links are in both, so that they stay whichever of the two is removed. */
static int link_all(const struct pinned *pinned, const struct pinned *other)
{
	char from[PINNED_PATH], to[PINNED_PATH];
	const struct dirent *entry;
	int err, source, target;
	DIR *list;

	snprintf(from, sizeof(from), "%s/links", pinned->run);
	snprintf(to, sizeof(to), "%s/links", other->run);
	err = file__make_own_dir(to);
	if (err)
		return err;
	target = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (target < 0)
		return -errno;
	list = opendir(from);
	if (!list)
		err = -errno;
	source = list ? dirfd(list) : -1;
	while (list && !err && (entry = readdir(list)))
		if (entry->d_name[0] != '.' &&
		    linkat(source, entry->d_name, target, entry->d_name, 0))
			err = -errno;
	if (list)
		closedir(list);
	close(target);
	return err;
}

static int make_beside(struct pinned *pinned, struct probe *probe, struct error *error)
{
	struct pinned other = beside(pinned);
	int err;

	pinned_beside__remove(pinned);
	err = file__make_own_dir(other.run);
	if (!err)
		err = file__lock_dir(other.run, &pinned->beside_lock);
	if (err)
		return error__set(error, err, "%s cannot be made: %s", other.run, strerror(-err));
	err = pinned_maps__pin(&other, probe, error);
	if (err)
		return err;
	err = link_all(pinned, &other);
	return err ? error__set(error, err, "links cannot be pinned in %s: %s", other.run,
				strerror(-err))
		   : 0;
}

static int make_ledger(const struct pinned *pinned, struct probe *probe,
		       const struct pinned_about *about, const double *sums, size_t count,
		       struct ledger **out, struct error *error)
{
	const union ctl_state *state = &probe__ctl(probe)->state;
	char path[PINNED_PATH];
	int err;

	snprintf(path, sizeof(path), "%s/ledger", pinned->beside);
	err = pinned_ledger__create(path, out, error);
	if (err)
		return err;
	pinned_ledger__describe(*out, pinned, about);
	ledger__succeed(*out,
			&(struct ledger_window){.epoch = state->epoch,
						.seq = about->seq,
						.wall = about->wall,
						.mono = about->mono,
						.state = state->both},
			sums, count);
	__atomic_store_n(&(*out)->magic, LEDGER_MAGIC, __ATOMIC_RELEASE);
	return 0;
}

/* Either is the policy's, never both and never none. */
static int exchange(struct pinned *pinned)
{
	int lock = pinned->lock;

	if (syscall(SYS_renameat2, AT_FDCWD, pinned->run, AT_FDCWD, pinned->beside, EXCHANGE))
		return -errno;
	pinned->lock = pinned->beside_lock;
	pinned->beside_lock = lock;
	return 0;
}

static void let_go_of_beside(struct pinned *pinned)
{
	pinned_beside__remove(pinned);
	if (pinned->beside_lock >= 0)
		close(pinned->beside_lock);
	pinned->beside_lock = -1;
}

int pinned__succeed(struct pinned *pinned, struct probe *probe, struct window *window,
		    const struct pinned_about *about, const double *sums, size_t count,
		    struct error *error)
{
	struct ledger *ledger = NULL;
	char links[PINNED_PATH];
	int err = make_beside(pinned, probe, error);

	if (!err)
		err = make_ledger(pinned, probe, about, sums, count, &ledger, error);
	if (!err)
		err = window__account(window, ledger, error);
	ledger__may_die("prepared");
	if (!err) {
		err = exchange(pinned);
		if (err)
			error__set(error, err, "%s and %s cannot be exchanged: %s", pinned->run,
				   pinned->beside, strerror(-err));
	}
	if (err) {
		pinned_ledger__close(ledger);
		let_go_of_beside(pinned);
		return err;
	}
	ledger__may_die("exchanged");
	pinned->before = pinned->ledger;
	pinned->ledger = ledger;
	probe__set_ledger(probe, ledger);
	snprintf(links, sizeof(links), "%s/links", pinned->run);
	err = probe__pin_links(probe, links, PROBE_LINKS_NEW, error);
	if (err)
		pinned__undo(pinned);
	return err;
}

void pinned__undo(struct pinned *pinned)
{
	if (!pinned->before || exchange(pinned))
		return;
	pinned_ledger__close(pinned->ledger);
	pinned->ledger = pinned->before;
	pinned->before = NULL;
	let_go_of_beside(pinned);
}

void pinned__settled(struct pinned *pinned)
{
	pinned_ledger__close(pinned->before);
	pinned->before = NULL;
	let_go_of_beside(pinned);
}

/* What a map of the other directory is; its descriptor, or -errno. */
static int open_map(const struct pinned *other, const char *name, struct bpf_map_info *info)
{
	char path[PINNED_PIN];
	__u32 len = sizeof(*info);
	int fd, err;

	*info = (struct bpf_map_info){0};
	pinned_path__to(other, "maps", name, path);
	fd = bpf_obj_get(path);
	err = fd < 0 ? fd : bpf_map_get_info_by_fd(fd, info, &len);
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	return err;
}

/* The epoch of the window that was not told. */
static int untold(const struct pinned *other, struct ledger_window *when)
{
	struct bpf_map_info info;
	struct ledger *ledger = NULL;
	char path[PINNED_PATH], version[32];
	struct ctl ctl;
	__u32 only = 0;
	int fd, err;

	snprintf(path, sizeof(path), "%s/ledger", other->run);
	err = pinned_ledger__open(path, &ledger, version);
	if (err)
		return err;
	fd = open_map(other, ".data.ctl", &info);
	err = fd < 0 ? fd : info.value_size != sizeof(ctl) ? -EPROTO : 0;
	if (!err)
		err = bpf_map_lookup_elem(fd, &only, &ctl);
	if (!err) {
		int half = ledger__half(ledger, ctl.state.epoch);
		uint32_t epoch = ctl.state.epoch - (half == LEDGER_QUIET);

		if ((half != LEDGER_QUIET && half != LEDGER_CLEAN) ||
		    !ledger__window(ledger, epoch, when))
			err = -EPROTO;
	}
	if (fd >= 0)
		close(fd);
	pinned_ledger__close(ledger);
	return err;
}

int pinned__rest(const struct pinned *pinned, const char *totals, const struct layout *layout,
		 struct ledger_window *when, struct batch *out, struct error *error)
{
	static const struct extract_options options = {.quiet = true};
	struct pinned other = beside(pinned);
	struct extract *extract = NULL;
	struct bpf_map_info info;
	struct extract_map what;
	int fd = -1, err = untold(&other, when);

	if (!err) {
		fd = open_map(&other, totals, &info);
		err = fd < 0 ? fd : 0;
	}
	if (!err) {
		what = (struct extract_map){.fd = fd,
					    .type = info.type,
					    .flags = info.map_flags,
					    .max_entries = info.max_entries,
					    .first = (when->epoch & 1) * (info.max_entries / 2),
					    .entries = info.max_entries / 2};
		err = extract__open(&what, layout, &options, &extract, error);
	}
	if (!err)
		err = extract__read(extract, false, out);
	extract__free(extract);
	if (fd >= 0)
		close(fd);
	return err ? error__set(error, err, "what the policy before has counted last: %s",
				strerror(-err))
		   : 0;
}
