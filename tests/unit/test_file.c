/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are replaced, grow and are claimed: what others may see of them, and whose they must be. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

static char root[64];

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/perilune-test-file-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static const char *at(const char *name)
{
	static char path[2][256];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", root, name);
	return path[turn];
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void assert_holds(const char *path, const char *expected)
{
	struct buf buf;
	struct error error = {0};

	buf__init(&buf, 1 << 20);
	if (file__read_own(path, &buf, &error))
		fail_msg("%s", error.message);
	assert_string_equal(buf.data ? buf.data : "", expected);
	buf__free(&buf);
}

static int read_err(const char *path, size_t most)
{
	struct buf buf;
	int err;

	buf__init(&buf, most);
	err = file__read_own(path, &buf, NULL);
	buf__free(&buf);
	return err;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 0777;
}

static void test_replace(void **state)
{
	const char *path = at("a/b/file");
	int before;
	char old[4] = "";

	(void)state;
	umask(0);
	assert_int_equal(file__replace(path, "one", 3, NULL), 0);
	assert_holds(path, "one");
	assert_int_equal(mode_of(path), 0600);
	assert_int_equal(mode_of(at("a/b")), 0700);

	/* Who has it open keeps what he began to read. */
	before = open(path, O_RDONLY);
	assert_int_equal(file__replace(path, "another", 7, NULL), 0);
	assert_int_equal(read(before, old, 3), 3);
	assert_string_equal(old, "one");
	close(before);
	assert_holds(path, "another");
	assert_int_equal(file__replace(path, "", 0, NULL), 0);
	assert_holds(path, "");
}

/* A name that is a link is replaced itself: nothing is written where it points. */
static void test_replace_of_a_link(void **state)
{
	struct stat st;

	(void)state;
	put(at("target"), "untouched");
	assert_int_equal(symlink(at("target"), at("link")), 0);
	assert_int_equal(read_err(at("link"), 100), -ELOOP);
	assert_int_equal(file__replace(at("link"), "own", 3, NULL), 0);
	assert_int_equal(lstat(at("link"), &st), 0);
	assert_true(S_ISREG(st.st_mode));
	chmod(at("target"), 0600);
	assert_holds(at("target"), "untouched");
}

static void test_refusals(void **state)
{
	struct error error = {0};

	(void)state;
	assert_int_equal(read_err(at("none"), 100), -ENOENT);
	put(at("open"), "x");
	chmod(at("open"), 0620);
	assert_int_equal(read_err(at("open"), 100), -EACCES);
	chmod(at("open"), 0644);
	assert_int_equal(read_err(at("open"), 100), 0);
	assert_int_equal(mkfifo(at("pipe"), 0600), 0);
	assert_int_equal(read_err(at("pipe"), 100), -EINVAL);
	put(at("large"), "0123456789");
	chmod(at("large"), 0600);
	assert_int_equal(read_err(at("large"), 9), -EMSGSIZE);
	if (!geteuid()) {
		assert_int_equal(chown(at("open"), 65534, 65534), 0);
		assert_int_equal(read_err(at("open"), 100), -EACCES);
	}
	assert_int_equal(file__replace(at("large/under"), "x", 1, &error), -ENOTDIR);
	assert_non_null(strstr(error.message, "large/under"));
}

/* A process that is killed between two writes leaves the old contents or the new ones, and nothing for ever. */
static void test_killed(void **state)
{
	static char text[2][200000];

	(void)state;
	memset(text[0], 'a', sizeof(text[0]) - 1);
	memset(text[1], 'b', sizeof(text[1]) - 1);
	assert_int_equal(file__replace(at("k/file"), text[0], sizeof(text[0]) - 1, NULL), 0);
	for (int round = 0; round < 20; round++) {
		pid_t child = fork();
		struct buf buf;

		assert_true(child >= 0);
		if (!child) {
			for (int i = 0;; i++)
				file__replace(at("k/file"), text[i & 1], sizeof(text[0]) - 1, NULL);
		}
		usleep((useconds_t)(round * 300));
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		buf__init(&buf, 1 << 20);
		assert_int_equal(file__read_own(at("k/file"), &buf, NULL), 0);
		assert_true(!strcmp(buf.data, text[0]) || !strcmp(buf.data, text[1]));
		buf__free(&buf);
	}
	put(at("k/.tmp-1-abcdef"), "of a process that is there");
	file__sweep(at("k"));
	assert_int_equal(system("test \"$(ls -A /tmp/perilune-test-file-*/k | wc -l)\" = 2"), 0);
	file__sweep(at("nowhere"));
}

static void test_log(void **state)
{
	struct file_log *log, *second;

	(void)state;
	assert_int_equal(file_log__open(at("logs/log"), &log, NULL), 0);
	assert_int_equal(file_log__size(log), 0);
	assert_int_equal(file_log__write(log, "one\n", 4, NULL), 0);
	assert_int_equal(file_log__write(log, "two\n", 4, NULL), 0);
	assert_int_equal(file_log__size(log), 8);
	assert_int_equal(file_log__sync(log, NULL), 0);
	assert_int_equal(file_log__open(at("logs/log"), &second, NULL), -EBUSY);
	file_log__free(log);
	file_log__free(NULL);
	assert_holds(at("logs/log"), "one\ntwo\n");
	assert_int_equal(mode_of(at("logs/log")), 0600);
}

/* What a crash left of a line does not become part of the next. */
static void test_log_after_a_crash(void **state)
{
	struct file_log *log;

	(void)state;
	put(at("torn"), "one\ntw");
	chmod(at("torn"), 0600);
	assert_int_equal(file_log__open(at("torn"), &log, NULL), 0);
	assert_int_equal(file_log__size(log), 7);
	assert_int_equal(file_log__write(log, "three\n", 6, NULL), 0);
	file_log__free(log);
	assert_holds(at("torn"), "one\ntw\nthree\n");
}

/* With no room for a whole line there is none of it. */
static void test_log_without_room(void **state)
{
	struct error error = {0};
	struct file_log *log;
	char command[160];

	(void)state;
	if (geteuid())
		skip();
	snprintf(command, sizeof(command), "mkdir %s && mount -t tmpfs -o size=8k none %s",
		 at("small"), at("small"));
	assert_int_equal(system(command), 0);
	assert_int_equal(file_log__open(at("small/log"), &log, NULL), 0);
	for (int i = 0; i < 100; i++) {
		static char line[1000] = "";

		memset(line, 'x', sizeof(line));
		line[sizeof(line) - 1] = '\n';
		if (file_log__write(log, line, sizeof(line), &error))
			break;
	}
	assert_non_null(strstr(error.message, "No space"));
	assert_int_equal(file_log__size(log) % 1000, 0);
	assert_true(file_log__size(log) > 0);
	snprintf(command, sizeof(command), "test $(wc -c <%s) = %d", at("small/log"),
		 (int)file_log__size(log));
	assert_int_equal(system(command), 0);
	file_log__free(log);
	snprintf(command, sizeof(command), "umount %s", at("small"));
	assert_int_equal(system(command), 0);
}

static void test_lock(void **state)
{
	struct file_lock *lock, *second;
	struct error error = {0};

	(void)state;
	assert_int_equal(file_lock__take(at("locks/a"), &lock, NULL), 0);
	assert_int_equal(file_lock__take(at("locks/a"), &second, &error), -EBUSY);
	assert_non_null(strstr(error.message, "another process has"));
	assert_int_equal(file_lock__take(at("locks/b"), &second, NULL), 0);
	file_lock__free(second);
	file_lock__free(lock);
	assert_int_equal(file_lock__take(at("locks/a"), &lock, NULL), 0);
	file_lock__free(lock);
	file_lock__free(NULL);
}

/* Of a directory that everybody may write in, what somebody else has put there is not taken for one's own. */
static void test_own_directory(void **state)
{
	int first = -1, second = -1;

	(void)state;
	assert_int_equal(file__lock_dir(at("own"), &first), -ENOENT);
	assert_int_equal(file__check_own_dir(at("own")), -ENOENT);
	assert_int_equal(file__make_own_dir(at("own")), 0);
	assert_int_equal(file__make_own_dir(at("own")), 0);
	assert_int_equal(file__check_own_dir(at("own")), 0);
	assert_int_equal(file__lock_dir(at("own"), &first), 0);
	assert_int_equal(file__lock_dir(at("own"), &second), -EBUSY);
	assert_int_equal(second, -1);
	close(first);
	assert_int_equal(chmod(at("own"), 0770), 0);
	assert_int_equal(file__make_own_dir(at("own")), -EPERM);
	assert_int_equal(chmod(at("own"), 0700), 0);
	assert_int_equal(chown(at("own"), 65534, 65534), 0);
	assert_int_equal(file__make_own_dir(at("own")), -EPERM);
	put(at("file"), "no directory");
	assert_int_equal(file__make_own_dir(at("file")), -EPERM);

	assert_int_equal(mkdir(at("full"), 0700), 0);
	put(at("full/kept"), "of somebody else");
	assert_int_equal(symlink(at("full"), at("elsewhere")), 0);
	assert_int_equal(file__make_own_dir(at("elsewhere")), -EPERM);
	assert_true(file__lock_dir(at("elsewhere"), &second) < 0);
	file__empty(AT_FDCWD, at("elsewhere"));
	assert_int_equal(access(at("full/kept"), F_OK), 0);
	file__empty(AT_FDCWD, at("full"));
	assert_int_equal(access(at("full/kept"), F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replace),
		cmocka_unit_test(test_replace_of_a_link),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_log_after_a_crash),
		cmocka_unit_test(test_log_without_room),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_own_directory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
