/* SPDX-License-Identifier: Apache-2.0 */
#include "base/interface.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/netlink.h"

#define NAMES_SHOWN 16
#define REMEMBERED 8192 /* indices are mostly given in a row, so each has a place of its own */

static int least(int a, int b)
{
	return a < b ? a : b;
}

/* Insertions, deletions, replacements and exchanges of neighbours from one name to the other. */
static int distance(const char *a, const char *b)
{
	int la = (int)strnlen(a, IF_NAMESIZE), lb = (int)strnlen(b, IF_NAMESIZE);
	int d[IF_NAMESIZE + 1][IF_NAMESIZE + 1];

	for (int i = 0; i <= la; i++)
		for (int j = 0; j <= lb; j++) {
			if (!i || !j) {
				d[i][j] = i + j;
				continue;
			}
			d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1,
					d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[la][lb];
}

struct text {
	char text[NAMES_SHOWN * (IF_NAMESIZE + 2) + 8];
	size_t len;
	int names;
};

static void append(struct text *list, const char *name, const char *separator)
{
	if (list->names == NAMES_SHOWN)
		name = "…";
	if (list->names++ <= NAMES_SHOWN)
		list->len += (size_t)snprintf(list->text + list->len,
					      sizeof(list->text) - list->len, "%s%s",
					      list->len ? separator : "", name);
}

/* Closer than this many letters is a slip, further is another name. */
static int limit(const char *name)
{
	size_t len = strlen(name);

	return len < 3 ? 1 : 2;
}

static int not_found(const char *name, struct error *error)
{
	struct if_nameindex *all = if_nameindex();
	struct text names = {.len = 0}, near = {.len = 0};
	int nearest = limit(name) + 1;

	error__set(error, -ENODEV, "there is no interface %.64s", name);
	if (!all)
		return -ENODEV;
	for (const struct if_nameindex *i = all; i->if_index; i++)
		nearest = least(nearest, distance(name, i->if_name));
	for (const struct if_nameindex *i = all; i->if_index; i++) {
		append(&names, i->if_name, ", ");
		if (nearest <= limit(name) && distance(name, i->if_name) == nearest)
			append(&near, i->if_name, " or ");
	}
	if_freenameindex(all);
	if (near.len)
		return error__hint(error, -ENODEV, "did you mean %s? interfaces: %.256s", near.text,
				   names.text);
	return error__hint(error, -ENODEV, "interfaces: %.256s", names.text);
}

int interface__find(const char *name, struct interface *out, struct error *error)
{
	struct ifreq request = {0};
	int fd, err = 0;

	*out = (struct interface){.index = (int)if_nametoindex(name)};
	/* The kernel also answers to alternative names, which the call for the rest does not know. */
	if (!out->index || !if_indextoname((unsigned int)out->index, out->name))
		return not_found(name, error);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error__set(error, -errno, "no socket to look at %s: %s", name,
				  strerror(errno));
	memcpy(request.ifr_name, out->name, sizeof(out->name));
	if (ioctl(fd, SIOCGIFFLAGS, &request))
		err = -errno;
	out->up = request.ifr_flags & IFF_UP;
	if (!err && ioctl(fd, SIOCGIFMTU, &request))
		err = -errno;
	out->mtu = request.ifr_mtu;
	close(fd);
	return err ? error__set(error, err, "cannot look at %s: %s", name, strerror(-err)) : 0;
}

int interface__default(struct interface *out, struct error *error)
{
	char name[IF_NAMESIZE];
	int index, err = netlink__default_route(&index);

	if (err == -ENOENT)
		return error__set(error, -ENODEV,
				  "there is no default route, so no default interface");
	if (err)
		return error__set(error, err, "cannot read the routes: %s", strerror(-err));
	if (!if_indextoname((unsigned int)index, name))
		return error__set(error, -ENODEV, "the interface of the default route is gone");
	return interface__find(name, out, error);
}

static struct {
	int index; /* 0: nobody */
	char name[IF_NAMESIZE];
} remembered[REMEMBERED];
static bool never_ask;

void interface__remember(int index, const char *name)
{
	size_t at = (unsigned int)index % REMEMBERED;

	remembered[at].index = index;
	snprintf(remembered[at].name, IF_NAMESIZE, "%s", name);
}

void interface__ask(bool ask)
{
	never_ask = !ask;
}

const char *interface__name(unsigned int index, char name[IF_NAMESIZE])
{
	size_t at = index % REMEMBERED;

	if (index && remembered[at].index == (int)index)
		return remembered[at].name;
	return never_ask ? NULL : if_indextoname(index, name);
}

unsigned int interface__index(const char *name)
{
	unsigned int index = never_ask ? 0 : if_nametoindex(name);

	for (size_t at = 0; at < REMEMBERED && !index; at++)
		if (remembered[at].index && !strcmp(remembered[at].name, name))
			index = (unsigned int)remembered[at].index;
	return index;
}
