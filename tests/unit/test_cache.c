/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <dirent.h>
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

#include "compile/cache.h"

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char root[64], dir[96];

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/perilune-test-cache-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(dir, sizeof(dir), "%s/deep/cache", root);
	return 0;
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
	static char path[2][512];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void write_file(const char *path, const char *bytes, size_t len)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static size_t read_file(const char *path, char *bytes, size_t max)
{
	FILE *file = fopen(path, "r");
	size_t len;

	assert_non_null(file);
	len = fread(bytes, 1, max, file);
	fclose(file);
	return len;
}

/* The object's length, or -errno. */
static int get(const char *key)
{
	struct buf out;
	int err, len;

	buf__init(&out, 1 << 20);
	err = cache__get(dir, key, &out);
	len = (int)out.len;
	assert_true(!err || !len);
	buf__free(&out);
	return err ? err : len;
}

static int count_files(void)
{
	DIR *list = opendir(dir);
	struct dirent *item;
	int count = 0;

	assert_non_null(list);
	while ((item = readdir(list)))
		count += item->d_name[0] != '.' || item->d_name[1] == 't';
	closedir(list);
	return count;
}

static void gives_back_what_was_put(void **state)
{
	const char object[] = "\177ELF\0object";
	struct stat st;
	struct buf out;

	(void)state;
	assert_int_equal(get(KEY_A), -ENOENT);
	assert_int_equal(cache__put(dir, KEY_A, NULL, object, sizeof(object)), 0);
	assert_int_equal(cache__put(dir, KEY_B, NULL, "", 0), 0);
	buf__init(&out, 1 << 20);
	buf__puts(&out, "before:");
	assert_int_equal(cache__get(dir, KEY_A, &out), 0);
	assert_int_equal(out.len, 7 + sizeof(object));
	assert_memory_equal(out.data, "before:", 7);
	assert_memory_equal(out.data + 7, object, sizeof(object));
	buf__free(&out);
	assert_int_equal(get(KEY_B), 0);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(stat(at(KEY_A), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(count_files(), 2);
	assert_int_equal(cache__put(dir, "../" KEY_A, NULL, "", 0), -EINVAL);
	assert_int_equal(cache__put(dir, "abc", NULL, "", 0), -EINVAL);
}

static void headers_are_part_of_it(void **state)
{
	char first[128], second[128];
	const char *const headers[] = {first, second, NULL};

	(void)state;
	snprintf(first, sizeof(first), "%s/one.h", root);
	snprintf(second, sizeof(second), "%s/two words.h", root);
	write_file(first, "one", 3);
	assert_int_equal(cache__put(dir, KEY_A, headers, "object", 6), -ENOENT);
	write_file(second, "two", 3);
	assert_int_equal(cache__put(dir, KEY_A, headers, "object", 6), 0);
	assert_int_equal(get(KEY_A), 6);
	write_file(second, "twp", 3);
	assert_int_equal(get(KEY_A), -ENOENT);
	write_file(second, "two", 3);
	assert_int_equal(get(KEY_A), 6);
	unlink(first);
	assert_int_equal(get(KEY_A), -ENOENT);
	assert_int_equal(mkfifo(first, 0600), 0); /* does not hang either */
	assert_int_equal(get(KEY_A), -ENOENT);
}

static void torn_file_is_a_miss(void **state)
{
	char header[128], bytes[1024];
	const char *const headers[] = {header, NULL};
	size_t len;

	(void)state;
	snprintf(header, sizeof(header), "%s/one.h", root);
	write_file(header, "one", 3);
	assert_int_equal(cache__put(dir, KEY_A, headers, "object", 6), 0);
	len = read_file(at(KEY_A), bytes, sizeof(bytes));
	assert_true(len > 100 && len < sizeof(bytes));
	for (size_t cut = 0; cut < len; cut++) {
		write_file(at(KEY_A), bytes, cut);
		assert_int_equal(get(KEY_A), -ENOENT);
	}
	for (size_t i = 0; i < len; i++) {
		bytes[i] ^= 0x40;
		write_file(at(KEY_A), bytes, len);
		assert_int_equal(get(KEY_A), -ENOENT);
		bytes[i] ^= 0x40;
	}
	bytes[len] = 0;
	write_file(at(KEY_A), bytes, len + 1);
	assert_int_equal(get(KEY_A), -ENOENT);
	write_file(at(KEY_A), bytes, len);
	assert_int_equal(get(KEY_A), 6);
	assert_int_equal(cache__put(dir, KEY_A, headers, "other", 5),
			 0); /* replaces whatever is there */
	assert_int_equal(get(KEY_A), 5);
}

static void foreign_file_is_a_miss(void **state)
{
	(void)state;
	assert_int_equal(cache__put(dir, KEY_A, NULL, "object", 6), 0);
	assert_int_equal(rename(at(KEY_A), at(KEY_B)), 0);
	assert_int_equal(get(KEY_B), -ENOENT);
	assert_int_equal(cache__put(dir, KEY_A, NULL, "object", 6), 0);
	assert_int_equal(chmod(at(KEY_A), 0666), 0);
	assert_int_equal(get(KEY_A), -ENOENT);
	assert_int_equal(chmod(at(KEY_A), 0600), 0);
	assert_int_equal(get(KEY_A), 6);
	assert_int_equal(rename(at(KEY_A), at("moved")), 0);
	assert_int_equal(symlink("moved", at(KEY_A)), 0);
	assert_int_equal(get(KEY_A), -ENOENT);
	unlink(at(KEY_A));
	assert_int_equal(mkfifo(at(KEY_A), 0600), 0);
	assert_int_equal(get(KEY_A), -ENOENT);
	if (!geteuid()) {
		unlink(at(KEY_A));
		assert_int_equal(rename(at("moved"), at(KEY_A)), 0);
		assert_int_equal(chown(at(KEY_A), 12345, 12345), 0);
		assert_int_equal(get(KEY_A), -ENOENT);
	}
}

/* One of the two objects in full, whatever the other writer does meanwhile. */
static void write_and_read(char letter, size_t len)
{
	char *object = malloc(len);
	struct buf out;

	memset(object, letter, len);
	buf__init(&out, 1 << 20);
	for (int i = 0; i < 300; i++) {
		if (cache__put(dir, KEY_A, NULL, object, len))
			_exit(1);
		buf__clear(&out);
		if (cache__get(dir, KEY_A, &out) ||
		    out.len != (out.data[0] == 'x' ? 50000u : 30000u))
			_exit(2);
		for (size_t at = 1; at < out.len; at++)
			if (out.data[at] != out.data[0])
				_exit(3);
	}
	_exit(0);
}

static void two_writers_do_not_disturb_each_other(void **state)
{
	pid_t pids[2];
	int status;

	(void)state;
	assert_int_equal(cache__put(dir, KEY_A, NULL, "y", 1), 0);
	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (!pids[i])
			write_and_read(i ? 'x' : 'z', i ? 50000 : 30000);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(count_files(), 1);
}

static void used_at(const char *name, time_t when)
{
	struct timespec times[2] = {{.tv_sec = when}, {.tv_sec = when}};

	assert_int_equal(utimensat(AT_FDCWD, at(name), times, 0), 0);
}

static void trim_removes_what_was_not_used_longest(void **state)
{
	static const char *const keys[] = {
		KEY_A,
		KEY_B,
		"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
	};
	static char object[10000];

	(void)state;
	assert_int_equal(cache__trim(dir, 0), 0); /* not there yet */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(cache__put(dir, keys[i], NULL, object, sizeof(object)), 0);
		used_at(keys[i], 1000 + i);
	}
	write_file(at("README"), "not ours", 8);
	assert_int_equal(get(KEY_A), sizeof(object)); /* now the most recent */
	assert_int_equal(cache__trim(dir, 31000), 0);
	assert_int_equal(count_files(), 4);
	assert_int_equal(cache__trim(dir, 25000), 0);
	assert_int_equal(get(KEY_B), -ENOENT);
	assert_int_equal(cache__trim(dir, 15000), 0);
	assert_int_equal(get(keys[2]), -ENOENT);
	assert_int_equal(get(KEY_A), sizeof(object));
	assert_int_equal(cache__trim(dir, 0), 0);
	assert_int_equal(get(KEY_A), -ENOENT);
	assert_int_equal(access(at("README"), F_OK), 0);
}

static void trim_sweeps_abandoned_files(void **state)
{
	char gone[64], ours[64];
	pid_t pid = fork();

	(void)state;
	if (!pid)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(cache__put(dir, KEY_A, NULL, "object", 6), 0);
	snprintf(gone, sizeof(gone), ".tmp-%d-abcdef", (int)pid);
	snprintf(ours, sizeof(ours), ".tmp-%d-abcdef", (int)getpid());
	write_file(at(gone), "half", 4);
	write_file(at(ours), "half", 4);
	assert_int_equal(cache__trim(dir, CACHE_MAX_BYTES), 0);
	assert_int_equal(access(at(gone), F_OK), -1);
	assert_int_equal(access(at(ours), F_OK), 0);
	used_at(ours, 1000);
	assert_int_equal(cache__trim(dir, CACHE_MAX_BYTES), 0);
	assert_int_equal(access(at(ours), F_OK), -1);
	assert_int_equal(get(KEY_A), 6);
}

static void no_directory_is_only_an_error(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s/file", root);
	write_file(dir, "", 0);
	assert_int_equal(cache__put(dir, KEY_A, NULL, "object", 6), -ENOTDIR);
	assert_int_equal(get(KEY_A), -ENOENT);
	assert_int_equal(cache__trim(dir, 0), -ENOTDIR);
	assert_int_equal(cache__put("", KEY_A, NULL, "object", 6), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(gives_back_what_was_put, setup, teardown),
		cmocka_unit_test_setup_teardown(headers_are_part_of_it, setup, teardown),
		cmocka_unit_test_setup_teardown(torn_file_is_a_miss, setup, teardown),
		cmocka_unit_test_setup_teardown(foreign_file_is_a_miss, setup, teardown),
		cmocka_unit_test_setup_teardown(two_writers_do_not_disturb_each_other, setup,
						teardown),
		cmocka_unit_test_setup_teardown(trim_removes_what_was_not_used_longest, setup,
						teardown),
		cmocka_unit_test_setup_teardown(trim_sweeps_abandoned_files, setup, teardown),
		cmocka_unit_test_setup_teardown(no_directory_is_only_an_error, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
