/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sha256.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "compile/cache_digest.h"

#define OLD "/usr/include/linux/bpf.h" /* has not changed for a while */

static void expect(const char *path)
{
	unsigned char said[CACHE_DIGEST], bytes[4096], now[CACHE_DIGEST];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	SHA256_CTX sha;
	ssize_t n;

	assert_true(fd >= 0);
	SHA256_Init(&sha);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		SHA256_Update(&sha, bytes, (size_t)n);
	SHA256_Final(now, &sha);
	close(fd);
	assert_int_equal(cache_digest__file(path, said), 0);
	assert_memory_equal(said, now, CACHE_DIGEST);
}

static void what_is_remembered_is_what_is_there(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		expect(OLD);
	expect("/usr/include/linux/types.h");
	expect(OLD);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* As often as it changes, though its size, and at times its clock's tick, are the same. */
static void a_change_is_seen(void **state)
{
	char path[] = "/tmp/perilune-digest.XXXXXX", other[] = "/tmp/perilune-digest.XXXXXX";
	static const struct timespec past[] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};
	int fd = mkstemp(path);

	(void)state;
	close(fd);
	close(mkstemp(other));
	for (int i = 0; i < 200; i++) {
		put(path, i % 2 ? "one" : "two");
		assert_int_equal(utimensat(AT_FDCWD, path, past, 0), 0); /* a liar */
		expect(path);
	}
	put(other, "six");
	assert_int_equal(rename(other, path), 0);
	expect(path);
	unlink(path);
}

static void what_is_no_file_is_an_error(void **state)
{
	unsigned char digest[CACHE_DIGEST];

	(void)state;
	assert_int_equal(cache_digest__file("/nonexistent", digest), -ENOENT);
	assert_int_equal(cache_digest__file("/tmp", digest), -EINVAL);
	assert_int_equal(cache_digest__file("/dev/null", digest), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_remembered_is_what_is_there),
		cmocka_unit_test(a_change_is_seen),
		cmocka_unit_test(what_is_no_file_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
