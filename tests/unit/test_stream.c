/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/stream.h"
#include "loop/loop.h"
#include "netns.h"

#define MS 1000000ULL

/* A loop, a server's socket that is accepted by hand, and a client's end. */
struct world {
	struct loop *loop;
	struct loop_timer *patience;
	struct loop_watch *watch; /* on the server */
	struct stream *stream;
	char path[64];
	int listener, peer;
	int server; /* over TCP, of who answers by himself */
	struct buf got;
	size_t enough;	   /* bytes after which the loop stops */
	bool free_at_once; /* in the first bytes() */
	int ends, err;
};

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("nothing came in time");
}

static void on_bytes(const char *bytes, size_t len, void *arg)
{
	struct world *w = arg;

	assert_int_equal(buf__append(&w->got, bytes, len), 0);
	if (w->free_at_once) {
		stream__free(w->stream);
		w->stream = NULL;
		loop__stop(w->loop);
	}
	if (w->got.len >= w->enough)
		loop__stop(w->loop);
}

static void on_end(int err, const char *why, void *arg)
{
	struct world *w = arg;

	assert_non_null(why);
	w->ends++;
	w->err = err;
	loop__stop(w->loop);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	assert_non_null(w);
	assert_int_equal(loop__new(&w->loop), 0);
	assert_int_equal(loop_timer__new(w->loop, too_late, NULL, &w->patience), 0);
	assert_int_equal(loop_timer__start(w->patience, loop__now() + 60000 * MS), 0);
	buf__init(&w->got, 64 << 20);
	snprintf(w->path, sizeof(w->path), "/tmp/perilune-stream.%d", getpid());
	unlink(w->path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", w->path);
	w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w->listener, (void *)&address, sizeof(address)), 0);
	assert_int_equal(listen(w->listener, 8), 0);
	w->peer = -1;
	w->enough = SIZE_MAX;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	stream__free(w->stream);
	loop_timer__free(w->patience);
	loop__free(w->loop);
	close(w->listener);
	if (w->peer >= 0)
		close(w->peer);
	unlink(w->path);
	buf__free(&w->got);
	free(w);
	return 0;
}

static int connect_to(struct world *w, const char *path, const char *host, uint16_t port)
{
	struct stream_spec spec = {.path = path,
				   .host = host,
				   .port = port,
				   .bytes = on_bytes,
				   .end = on_end,
				   .arg = w};
	struct error error;

	return stream__connect(w->loop, &spec, &w->stream, &error);
}

static void what_is_written_arrives_and_so_does_the_answer(void **state)
{
	struct world *w = *state;
	char bytes[16] = "";

	assert_int_equal(connect_to(w, w->path, NULL, 0), 0);
	assert_int_equal(stream__write(w->stream, "hello", 5), 0);
	w->peer = accept(w->listener, NULL, NULL);
	w->enough = 3;
	assert_int_equal(write(w->peer, "abc", 3), 3);
	assert_int_equal(loop__run(w->loop), 0);
	assert_string_equal(w->got.data, "abc");
	assert_int_equal(read(w->peer, bytes, sizeof(bytes)), 5);
	assert_string_equal(bytes, "hello");
	close(w->peer);
	w->peer = -1;
	assert_int_equal(loop__run(w->loop), 0);
	assert_int_equal(w->ends, 1);
	assert_int_equal(w->err, 0);
	assert_int_equal(stream__write(w->stream, "x", 1), -EPIPE);
}

/* The peer reads between two runs of the loop. */
static void what_the_socket_does_not_take_waits_and_has_a_ceiling(void **state)
{
	struct world *w = *state;
	size_t size = 8 << 20, total = 0;
	char *big = malloc(size), bytes[65536];
	ssize_t n;

	assert_non_null(big);
	memset(big, 'x', size);
	assert_int_equal(connect_to(w, w->path, NULL, 0), 0);
	assert_int_equal(stream__write(w->stream, big, size), 0);
	assert_int_equal(stream__write(w->stream, big, size), 0);
	assert_int_equal(stream__write(w->stream, big, size), -ENOBUFS);
	free(big);
	w->peer = accept(w->listener, NULL, NULL);
	w->enough = 1;
	while (total < 2 * size) {
		/* Every byte that the peer has read is answered, so that the loop runs once more. */
		buf__clear(&w->got);
		assert_int_equal(write(w->peer, "y", 1), 1);
		assert_int_equal(loop__run(w->loop), 0);
		n = recv(w->peer, bytes, sizeof(bytes), 0);
		assert_true(n > 0);
		total += (size_t)n;
	}
	assert_int_equal(total, 2 * size);
}

static void it_may_be_freed_from_within(void **state)
{
	struct world *w = *state;

	assert_int_equal(connect_to(w, w->path, NULL, 0), 0);
	w->peer = accept(w->listener, NULL, NULL);
	w->free_at_once = true;
	assert_int_equal(write(w->peer, "abc", 3), 3);
	assert_int_equal(loop__run(w->loop), 0);
	assert_null(w->stream);
	assert_int_equal(w->ends, 0);
}

static void what_cannot_be_reached_is_an_error(void **state)
{
	struct world *w = *state;
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	char path[200];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect_to(w, "/tmp/perilune-nothing", NULL, 0), -ENOENT);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(connect_to(w, path, NULL, 0), -ENAMETOOLONG);
	/* A port that is taken and not listened at refuses, on TCP after a while. */
	assert_int_equal(bind(fd, (void *)&address, len), 0);
	assert_int_equal(getsockname(fd, (void *)&address, &len), 0);
	assert_int_equal(connect_to(w, NULL, "127.0.0.1", ntohs(address.sin_port)), 0);
	assert_int_equal(loop__run(w->loop), 0);
	assert_int_equal(w->ends, 1);
	assert_int_equal(w->err, -ECONNREFUSED);
	stream__free(w->stream);
	/* The same by a name, which is looked up first; and one that nobody has. */
	assert_int_equal(connect_to(w, NULL, "localhost", ntohs(address.sin_port)), 0);
	assert_int_equal(loop__run(w->loop), 0);
	assert_int_equal(w->err, -ECONNREFUSED);
	stream__free(w->stream);
	assert_int_equal(connect_to(w, NULL, "no host", 1), 0);
	assert_int_equal(loop__run(w->loop), 0);
	assert_int_equal(w->err, -EHOSTUNREACH);
	assert_int_equal(w->ends, 3);
	/* Freed while it is looked up: nothing is told any more. */
	stream__free(w->stream);
	assert_int_equal(connect_to(w, NULL, "localhost", 1), 0);
	stream__free(w->stream);
	w->stream = NULL;
	close(fd);
	assert_int_equal(w->ends, 3);
}

static int listen_at(int family, uint16_t *port, int backlog)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET,
				  .sin_port = htons(*port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons(*port),
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	void *address = family == AF_INET ? (void *)&in4 : (void *)&in6;
	socklen_t len = family == AF_INET ? sizeof(in4) : sizeof(in6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, address, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, address, &len), 0);
	*port = ntohs(family == AF_INET ? in4.sin_port : in6.sin6_port);
	return fd;
}

static void answer(void *arg)
{
	struct world *w = arg;

	w->peer = accept(w->server, NULL, NULL);
	assert_true(w->peer >= 0);
	assert_int_equal(write(w->peer, "abc", 3), 3);
	loop_watch__want(w->watch, false, false);
}

static void expect_hello(struct world *w, int server)
{
	assert_int_equal(stream__write(w->stream, "hello", 5), 0);
	w->enough = 3;
	w->server = server;
	assert_int_equal(loop_watch__new(w->loop, server, answer, w, &w->watch), 0);
	assert_int_equal(loop_watch__want(w->watch, true, false), 0);
	assert_int_equal(loop__run(w->loop), 0);
	assert_int_equal(w->ends, 0);
	assert_string_equal(w->got.data, "abc");
	loop_watch__free(w->watch);
}

/* "two.test" is [::1] and 127.0.0.1, in this order, and the server is at the second. */
static void a_host_is_tried_at_all_its_addresses(void **state)
{
	struct world *w = *state;
	uint16_t port = 0;
	int server = listen_at(AF_INET, &port, 8);

	assert_int_equal(connect_to(w, NULL, "two.test", port), 0);
	expect_hello(w, server);
	close(server);
}

static void an_address_that_says_no_word_is_left_for_the_next(void **state)
{
	struct world *w = *state;
	uint16_t port = 0;
	int silent = listen_at(AF_INET6, &port, 0), server = listen_at(AF_INET, &port, 8);
	struct sockaddr_in6 address = {.sin6_family = AF_INET6,
				       .sin6_port = htons(port),
				       .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int waiting = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* Whose queue is full, and who drops what comes then. */
	assert_int_equal(connect(waiting, (void *)&address, sizeof(address)), 0);
	assert_int_equal(connect_to(w, NULL, "two.test", port), 0);
	expect_hello(w, server);
	close(waiting);
	close(silent);
	close(server);
}

static void a_host_that_refuses_everywhere_is_one_error(void **state)
{
	struct world *w = *state;
	uint16_t port = 0;
	int server = listen_at(AF_INET, &port, 8);

	close(server);
	assert_int_equal(connect_to(w, NULL, "two.test", port), 0);
	assert_int_equal(loop__run(w->loop), 0);
	assert_int_equal(w->ends, 1);
	assert_int_equal(w->err, -ECONNREFUSED);
}

/* It would be asked for minutes. */
static void nobody_waits_for_a_dead_name_server(void **state)
{
	struct world *w = *state;
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(53),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char question[512];

	assert_int_equal(bind(server, (void *)&address, sizeof(address)), 0);
	alarm(60);
	assert_int_equal(connect_to(w, NULL, "far.test", 1), 0);
	assert_true(recv(server, question, sizeof(question), 0) > 0);
	stream__free(w->stream);
	w->stream = NULL;
	loop_timer__free(w->patience);
	w->patience = NULL;
	loop__free(w->loop);
	w->loop = NULL;
	alarm(0);
	assert_int_equal(w->ends, 0);
	close(server);
}

static int write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	return file && fputs(text, file) >= 0 && !fclose(file) ? 0 : -1;
}

/* Names of the test's own, in a network of its own. */
static int enter(void **state)
{
	(void)state;
	if (netns__enter() || netns__run("ip addr add 192.0.2.1/32 dev lo") ||
	    netns__run("ip addr add fd00::1/128 dev lo nodad"))
		return -1;
	if (mount("etc", "/etc", "tmpfs", 0, NULL))
		return -1;
	return write_text("/etc/hosts", "127.0.0.1 localhost two.test\n::1 two.test\n") ||
	       write_text("/etc/host.conf", "multi on\n") ||
	       write_text("/etc/nsswitch.conf", "hosts: files dns\n") ||
	       write_text("/etc/resolv.conf",
			  "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_arrives_and_so_does_the_answer,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_the_socket_does_not_take_waits_and_has_a_ceiling, setup, teardown),
		cmocka_unit_test_setup_teardown(it_may_be_freed_from_within, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_reached_is_an_error, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_host_is_tried_at_all_its_addresses, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_address_that_says_no_word_is_left_for_the_next,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_host_that_refuses_everywhere_is_one_error, setup,
						teardown),
		cmocka_unit_test_setup_teardown(nobody_waits_for_a_dead_name_server, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
