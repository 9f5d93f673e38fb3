/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/service.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define LAST_CAPABILITY 63

struct service {
	int fd;
	uint64_t watchdog; /* µs */
	struct sockaddr_un address;
	socklen_t len;
};

/* "/path", or "@name" of the abstract namespace. */
static int parse(const char *text, struct service *service)
{
	size_t len = strlen(text);

	if ((text[0] != '/' && text[0] != '@') || len < 2 ||
	    len >= sizeof(service->address.sun_path))
		return -EINVAL;
	service->address.sun_family = AF_UNIX;
	memcpy(service->address.sun_path, text, len + 1);
	service->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	if (text[0] == '@') {
		service->address.sun_path[0] = '\0';
		service->len--; /* every byte counts there, and a NUL would be one */
	}
	return 0;
}

/* 0 when it is not for this process. */
static uint64_t watchdog_of_environment(void)
{
	const char *interval = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	char *end;
	unsigned long long us;

	if (!interval || (pid && strtol(pid, NULL, 10) != getpid()))
		return 0;
	us = strtoull(interval, &end, 10);
	return *end ? 0 : us;
}

int service__open(struct service **out, struct error *error)
{
	const char *text = getenv("NOTIFY_SOCKET");
	struct service *service;
	int err;

	*out = NULL;
	if (!text)
		return 0;
	service = calloc(1, sizeof(*service));
	if (!service)
		return error__set(error, -ENOMEM, "out of memory");
	service->fd = -1;
	err = parse(text, service);
	if (err) {
		error__set(error, err, "NOTIFY_SOCKET=%s is no socket", text);
	} else {
		service->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (service->fd < 0)
			err = error__set(error, -errno, "cannot make a socket: %s",
					 strerror(errno));
	}
	service->watchdog = watchdog_of_environment();
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (err)
		service__free(service);
	else
		*out = service;
	return err;
}

int service__tell(const struct service *service, const char *state)
{
	ssize_t n = sendto(service->fd, state, strlen(state), MSG_NOSIGNAL,
			   (const struct sockaddr *)&service->address, service->len);

	return n < 0 ? -errno : 0;
}

uint64_t service__watchdog(const struct service *service)
{
	return service->watchdog;
}

void service__free(struct service *service)
{
	if (!service)
		return;
	if (service->fd >= 0)
		close(service->fd);
	free(service);
}

/* ---------------------------------------------------------------- rights */

static const struct __user_cap_header_struct version = {.version = _LINUX_CAPABILITY_VERSION_3};

static uint64_t join(uint32_t low, uint32_t high)
{
	return low | (uint64_t)high << 32;
}

int service__rights(struct service_rights *out)
{
	struct __user_cap_header_struct header = version;
	struct __user_cap_data_struct set[2];

	if (syscall(SYS_capget, &header, set))
		return -errno;
	out->effective = join(set[0].effective, set[1].effective);
	out->permitted = join(set[0].permitted, set[1].permitted);
	out->bounding = 0;
	for (int i = 0; i <= LAST_CAPABILITY; i++)
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			out->bounding |= 1ULL << i;
	return 0;
}

int service__keep_rights(uint64_t own, uint64_t handed)
{
	struct __user_cap_header_struct header = version;
	struct __user_cap_data_struct set[2];
	uint64_t permitted = geteuid() ? own | handed : own;

	for (int i = 0; i <= LAST_CAPABILITY; i++)
		if (!(handed >> i & 1) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1 &&
		    prctl(PR_CAPBSET_DROP, i, 0, 0, 0) && errno != EPERM)
			return -errno;
	if (syscall(SYS_capget, &header, set))
		return -errno;
	for (int i = 0; i < 2; i++) {
		set[i].permitted &= (uint32_t)(permitted >> 32 * i);
		set[i].effective &= set[i].permitted & (uint32_t)(own >> 32 * i);
		set[i].inheritable &= set[i].permitted;
	}
	return syscall(SYS_capset, &header, set) ? -errno : 0;
}
