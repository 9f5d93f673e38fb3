/* SPDX-License-Identifier: Apache-2.0 */
/* Maps by path, id and name; what is said when there is no such map; where maps are pinned, and who uses them. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "map/map_find.h"
#include "map/map_prog.h"
#include "map_test.h"

static char dir[64], name[MAP_NAME_MAX];

static int setup(void **state)
{
	(void)state;
	/* A mount of its own, whether the machine has one or not. */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL))
		return -1;
	snprintf(dir, sizeof(dir), "/sys/fs/bpf/perilune-test-%d", getpid());
	snprintf(name, sizeof(name), "pm%d", getpid()); /* nobody else's */
	return mkdir(dir, 0700);
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

static const char *path_of(const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return path;
}

static int create(const char *called)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, called, 4, 8, 16, NULL);

	assert_true(fd >= 0);
	return fd;
}

static uint32_t id_of(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_map_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static void expect(int err, struct map *map, uint32_t id)
{
	assert_int_equal(err, 0);
	assert_int_equal(map->id, id);
	assert_string_equal(map->name, name);
	assert_int_equal(map->type, BPF_MAP_TYPE_HASH);
	assert_int_equal(map->key_size, 4);
	assert_int_equal(map->value_size, 8);
	assert_int_equal(map->max_entries, 16);
	map__close(map);
	map__close(map);
}

static void by_all_ways(void **state)
{
	struct error error = {0};
	int fd = create(name);
	uint32_t id = id_of(fd);
	struct map map;

	(void)state;
	assert_int_equal(bpf_obj_pin(fd, path_of("map")), 0);
	expect(map__open_path(path_of("map"), &map, &error), &map, id);
	expect(map__open_id(id, &map, &error), &map, id);
	expect(map__open_name(name, &map, &error), &map, id);
	assert_int_equal(unlink(path_of("map")), 0);
	close(fd);
}

/* The kernel keeps 15 letters. */
static void long_names(void **state)
{
	(void)state;
	assert_true(map__has_name("abc", "abc"));
	assert_false(map__has_name("abc", "abcd"));
	assert_false(map__has_name("abcd", "abc"));
	assert_true(map__has_name("abcdefghijklmno", "abcdefghijklmnopq"));
	assert_true(map__has_name("abcdefghijklmno", "abcdefghijklmno"));
	assert_false(map__has_name("abcdefghijklmno", "abcdefghijklmn"));
}

static void refused(int err, int expected, const struct error *error, const char *word)
{
	assert_int_equal(err, expected);
	if (!strstr(error->message, word))
		print_error("%s\n", error->message);
	assert_non_null(strstr(error->message, word));
	assert_true(error->hint[0]);
}

static void several_of_a_name(void **state)
{
	int a = create(name), b = create(name);
	struct error error = {0};
	char text[64];
	struct map map;

	(void)state;
	refused(map__open_name(name, &map, &error), -EEXIST, &error, "2 maps");
	snprintf(text, sizeof(text), "%u (hash), %u (hash)", id_of(a), id_of(b));
	assert_non_null(strstr(error.message, text));
	snprintf(text, sizeof(text), "dump id %u", id_of(a));
	assert_non_null(strstr(error.hint, text));
	close(a);
	close(b);
}

static void none(void **state)
{
	char file[] = "/tmp/perilune-map.XXXXXX";
	int fd = create(name), tmp = mkstemp(file);
	struct bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
				   {.code = BPF_JMP | BPF_EXIT}};
	int prog = bpf_prog_load(BPF_PROG_TYPE_XDP, "pm_prog", "GPL", insns, 2, NULL);
	struct error error = {0};
	struct map map;

	(void)state;
	assert_true(tmp >= 0 && prog >= 0);
	assert_int_equal(bpf_obj_pin(prog, path_of("prog")), 0);
	refused(map__open_path(path_of("prog"), &map, &error), -EINVAL, &error,
		"a pinned program, not a map");
	assert_int_equal(unlink(path_of("prog")), 0);
	refused(map__open_path(path_of("nothing"), &map, &error), -ENOENT, &error, "No such file");
	refused(map__open_path(dir, &map, &error), -EISDIR, &error, "a directory");
	refused(map__open_path(file, &map, &error), -EINVAL, &error, "BPF file system");
	refused(map__open_name("pm_no_such_map", &map, &error), -ENOENT, &error, "pm_no_such_map");
	refused(map__open_name("", &map, &error), -ENOENT, &error, "no map is called");
	refused(map__open_id(UINT32_MAX, &map, &error), -ENOENT, &error, "map 4294967295");
	close(fd);
	close(prog);
	close(tmp);
	unlink(file);
}

static void pins(void **state)
{
	int fd = create(name), found = 0;
	uint32_t id = id_of(fd), next = 0;
	struct map_pins all;
	struct error error;

	(void)state;
	assert_int_equal(bpf_obj_pin(fd, path_of("one")), 0);
	assert_int_equal(bpf_obj_pin(fd, path_of("two")), 0);
	assert_int_equal(map_pins__read(&all), 0);
	for (size_t i = 0; i < all.count; i++)
		found += all.all[i].map == id && !strncmp(all.all[i].path, dir, strlen(dir));
	map_pins__free(&all);
	assert_int_equal(found, 2);
	assert_int_equal(unlink(path_of("one")), 0);
	assert_int_equal(unlink(path_of("two")), 0);
	found = 0;
	while (!map__next_id(next, &next, &error))
		found += next == id;
	assert_int_equal(found, 1);
	close(fd);
}

static void users(void **state)
{
	struct bpf_object *object = test_maps();
	struct map_progs progs;
	struct error error;
	uint32_t id;
	int used = 0;

	(void)state;
	assert_non_null(object);
	id = id_of(test_map_fd(object, "pm_stacks"));
	assert_int_equal(map_progs__read(&progs, &error), 0);
	for (size_t i = 0; i < progs.count; i++)
		if (map_prog__uses(&progs.all[i], id)) {
			assert_string_equal(progs.all[i].name, "sample");
			used++;
		}
	map_progs__free(&progs);
	assert_int_equal(used, 1);
	bpf_object__close(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_all_ways),
		cmocka_unit_test(long_names),
		cmocka_unit_test(several_of_a_name),
		cmocka_unit_test(none),
		cmocka_unit_test(pins),
		cmocka_unit_test(users),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
