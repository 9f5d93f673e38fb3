/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture/spool.h"

#define MOST 1000000
#define PIECE 1000

static void fill(unsigned char *bytes, unsigned int number)
{
	for (int i = 0; i < PIECE; i++)
		bytes[i] = (unsigned char)(number * 7 + (unsigned int)i);
}

static void *close_it(void *arg)
{
	return spool__close(arg) ? arg : NULL;
}

/* A pipe that nobody reads is a disk that has stopped: nobody waits for it, and what cannot wait for it is not taken. */
static void holds_nobody_up(void **state)
{
	unsigned char piece[PIECE], got[PIECE];
	unsigned int count = 0;
	struct spool *spool;
	pthread_t closer;
	int ends[2];
	void *err;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(spool__open(ends[1], MOST, &spool), 0);
	while (spool__has_room(spool, PIECE, false)) {
		fill(piece, count++);
		assert_int_equal(spool__write(spool, piece, PIECE), 0);
		assert_true(count <= 2 * MOST / PIECE);
	}
	assert_true(count >= (MOST - 65536) / PIECE);
	/* Its end comes when all has been read. */
	assert_int_equal(pthread_create(&closer, NULL, close_it, spool), 0);
	for (unsigned int i = 0; i < count; i++) {
		size_t len = 0;

		while (len < PIECE) {
			ssize_t n = read(ends[0], got + len, PIECE - len);

			assert_true(n > 0);
			len += (size_t)n;
		}
		fill(piece, i);
		assert_memory_equal(got, piece, PIECE);
	}
	pthread_join(closer, &err);
	assert_null(err);
	assert_int_equal(read(ends[0], got, 1), 0);
	close(ends[0]);
}

static void has_all_when_it_is_closed(void **state)
{
	char path[] = "/tmp/perilune-spool.XXXXXX";
	int fd = mkstemp(path), count = 3 * MOST / PIECE;
	unsigned char piece[PIECE], got[PIECE];
	struct spool *spool;
	struct stat about;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(spool__open(fd, MOST, &spool), 0);
	for (int i = 0; i < count; i++) {
		fill(piece, (unsigned int)i);
		assert_true(spool__has_room(spool, PIECE, true));
		assert_int_equal(spool__write(spool, piece, PIECE), 0);
	}
	assert_int_equal(spool__close(spool), 0);
	fd = open(path, O_RDONLY);
	unlink(path);
	assert_int_equal(fstat(fd, &about), 0);
	assert_int_equal(about.st_size, count * PIECE);
	for (int i = 0; i < count; i++) {
		fill(piece, (unsigned int)i);
		assert_int_equal(read(fd, got, PIECE), PIECE);
		assert_memory_equal(got, piece, PIECE);
	}
	close(fd);
}

/* Who ends a spool goes on while the disk has stopped, and learns how it went when that is known. */
static void is_ended_without_waiting(void **state)
{
	unsigned char piece[PIECE], got[PIECE];
	unsigned int count = 4 * 65536 / PIECE; /* more than a pipe takes */
	struct spool *spool;
	size_t len = 0;
	int ends[2];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(spool__open(ends[1], MOST, &spool), 0);
	for (unsigned int i = 0; i < count; i++) {
		fill(piece, i);
		assert_int_equal(spool__write(spool, piece, PIECE), 0);
	}
	spool__end(spool);
	assert_false(spool__has_ended(spool));
	while ((n = read(ends[0], got, PIECE - len % PIECE)) > 0) {
		fill(piece, (unsigned int)(len / PIECE));
		assert_memory_equal(got, piece + len % PIECE, (size_t)n);
		len += (size_t)n;
	}
	assert_int_equal(len, count * PIECE);
	while (!spool__has_ended(spool))
		sched_yield();
	assert_int_equal(spool__close(spool), 0);
	close(ends[0]);
}

static void says_after_its_end_what_could_not_be_written(void **state)
{
	unsigned char piece[PIECE] = {0};
	struct spool *spool;

	(void)state;
	assert_int_equal(spool__open(open("/dev/full", O_WRONLY), MOST, &spool), 0);
	assert_int_equal(spool__write(spool, piece, PIECE), 0);
	spool__end(spool);
	while (!spool__has_ended(spool))
		sched_yield();
	assert_int_equal(spool__close(spool), -ENOSPC);
}

static void says_what_could_not_be_written(void **state)
{
	unsigned char piece[PIECE] = {0};
	struct spool *spool;

	(void)state;
	assert_int_equal(spool__open(open("/dev/full", O_WRONLY), MOST, &spool), 0);
	assert_int_equal(spool__write(spool, piece, PIECE), 0);
	assert_int_equal(spool__close(spool), -ENOSPC);
	assert_int_equal(spool__close(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_nobody_up),
		cmocka_unit_test(has_all_when_it_is_closed),
		cmocka_unit_test(is_ended_without_waiting),
		cmocka_unit_test(says_after_its_end_what_could_not_be_written),
		cmocka_unit_test(says_what_could_not_be_written),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
