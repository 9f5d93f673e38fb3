/* SPDX-License-Identifier: Apache-2.0 */
#include "http/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 256
#define MODE 0600 /* of a Unix socket, unless told otherwise */

union address {
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

static int new_socket(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* -EADDRINUSE when somebody listens at this path; what nobody listens at any more is removed. */
static int clear_path(const struct sockaddr_un *address, struct error *error)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(address->sun_path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return error__set(error, -EEXIST, "%s: it is there, and no socket",
				  address->sun_path);
	fd = new_socket(AF_UNIX);
	if (fd < 0)
		return error__set(error, fd, "cannot make a socket: %s", strerror(-fd));
	if (!connect(fd, (const struct sockaddr *)address, sizeof(*address)) ||
	    errno != ECONNREFUSED)
		err = -EADDRINUSE;
	close(fd);
	if (err)
		return error__set(error, err, "%s: another process listens there",
				  address->sun_path);
	return unlink(address->sun_path)
		       ? error__set(error, -errno, "%s: %s", address->sun_path, strerror(errno))
		       : 0;
}

static int group_of(const char *name, gid_t *gid, struct error *error)
{
	struct group group, *found = NULL;
	char text[16384];
	int err;

	*gid = (gid_t)-1;
	if (!name)
		return 0;
	err = getgrnam_r(name, &group, text, sizeof(text), &found);
	if (!found) {
		error__set(error, err ? -err : -ENOENT, "there is no group %s", name);
		return error__hint(error, err ? -err : -ENOENT, "addgroup --system %s makes one",
				   name);
	}
	*gid = found->gr_gid;
	return 0;
}

/* The directory that it is in, if that is all that is missing: everybody may look for the socket, and see whether they may connect. */
static void make_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char directory[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	if (!slash || slash == path)
		return;
	snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path), path);
	mkdir(directory, 0755); /* what is wrong with it, bind() will say */
}

/* The mode comes last, so that it is open to nobody before it has its group. */
static int bind_path(int fd, const struct sockaddr_un *address, const struct http_listen *listen,
		     gid_t gid)
{
	mode_t before = umask(0777 & ~MODE);
	int err = bind(fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;

	umask(before);
	if (err)
		return err;
	if ((gid != (gid_t)-1 && chown(address->sun_path, (uid_t)-1, gid)) ||
	    chmod(address->sun_path, listen->mode ? listen->mode : MODE)) {
		err = -errno;
		unlink(address->sun_path);
	}
	return err;
}

static int open_path(const struct http_listen *spec, int *out, struct error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, err;
	gid_t gid;

	if (strlen(spec->path) >= sizeof(address.sun_path))
		return error__set(error, -ENAMETOOLONG,
				  "%s: the path of a socket has at most %zu bytes", spec->path,
				  sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, spec->path);
	make_directory(spec->path);
	err = group_of(spec->group, &gid, error);
	if (!err)
		err = clear_path(&address, error);
	if (err)
		return err;
	fd = new_socket(AF_UNIX);
	if (fd < 0)
		return error__set(error, fd, "cannot make a socket: %s", strerror(-fd));
	err = bind_path(fd, &address, spec, gid);
	if (!err && listen(fd, BACKLOG)) {
		err = -errno;
		unlink(spec->path);
	}
	if (err) {
		close(fd);
		return error__set(error, err, "cannot listen at %s: %s", spec->path,
				  strerror(-err));
	}
	*out = fd;
	return 0;
}

static int parse(const char *host, uint16_t port, union address *out, socklen_t *len)
{
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, host, &out->in4.sin_addr) == 1) {
		out->in4.sin_family = AF_INET;
		out->in4.sin_port = htons(port);
		*len = sizeof(out->in4);
		return 0;
	}
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1) {
		out->in6.sin6_family = AF_INET6;
		out->in6.sin6_port = htons(port);
		*len = sizeof(out->in6);
		return 0;
	}
	return -EINVAL;
}

static int open_tcp(const struct http_listen *spec, int *out, struct error *error)
{
	union address address;
	socklen_t len;
	int fd, on = 1, err = parse(spec->host, spec->port, &address, &len);

	if (err) {
		error__set(error, err, "%s is no address", spec->host);
		return error__hint(error, err, "a numeric one, like 127.0.0.1 or ::1");
	}
	fd = new_socket(address.any.sa_family);
	if (fd < 0)
		return error__set(error, fd, "cannot make a socket: %s", strerror(-fd));
	/* What "::" stands for is to be the same on every machine. */
	if (address.any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &address.any, len) || listen(fd, BACKLOG)) {
		err = -errno;
		close(fd);
		return error__set(error, err, "cannot listen at %s port %u: %s", spec->host,
				  spec->port, strerror(-err));
	}
	*out = fd;
	return 0;
}

int http_listen__open(const struct http_listen *listen, int *out, struct error *error)
{
	return listen->path ? open_path(listen, out, error) : open_tcp(listen, out, error);
}

bool http_listen__is_loopback(const char *host)
{
	union address address;
	socklen_t len;

	if (parse(host, 0, &address, &len))
		return false;
	if (address.any.sa_family == AF_INET)
		return ntohl(address.in4.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&address.in6.sin6_addr);
}
