/* SPDX-License-Identifier: Apache-2.0 */
/* Every type of map: that it has a name, and what is said of those that are filled from user space. */
#include <arpa/inet.h>
#include <ctype.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include <bpf/btf.h>

#include "map/map_type.h"
#include "map_test.h"

/* "LRU_HASH" → "lru_hash"; what is said to be out of use is left out. */
static void lower(const char *name, char *out, size_t size)
{
	char *end;

	snprintf(out, size, "%s", name);
	for (char *c = out; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	end = strstr(out, "_deprecated");
	if (end)
		*end = '\0';
}

/* The kernel's own list. */
static void all_have_names(void **state)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int id = btf ? btf__find_by_name_kind(btf, "bpf_map_type", BTF_KIND_ENUM) : -1;
	const struct btf_type *t = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
	size_t named = 0;
	char text[64];

	(void)state;
	assert_non_null(t);
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		const char *name = btf__name_by_offset(btf, btf_enum(t)[i].name_off);
		int number = btf_enum(t)[i].val;

		if (!number || strstr(name, "__MAX"))
			continue;
		if (!map_type__find((uint32_t)number))
			print_error("%s (%d) has no name here\n", name, number);
		assert_non_null(map_type__find((uint32_t)number));
		lower(name + strlen("BPF_MAP_TYPE_"), text, sizeof(text));
		assert_string_equal(map_type__find((uint32_t)number)->name, text);
		named++;
	}
	assert_true(named > 30);
	btf__free(btf);
}

/* A map whose key is an int and whose value { __u64 packets; }, with BTF, as local storages need it. */
static int create_with_btf(enum bpf_map_type type, uint32_t max_entries, uint32_t flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	struct btf *btf = btf__new_empty();
	int i32 = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	int u64 = btf__add_int(btf, "__u64", 8, 0), fd;
	int value = btf__add_struct(btf, "value", 8);

	btf__add_field(btf, "packets", u64, 0, 0);
	btf__load_into_kernel(btf);
	opts.btf_fd = (uint32_t)btf__fd(btf);
	opts.btf_key_type_id = (uint32_t)i32;
	opts.btf_value_type_id = (uint32_t)value;
	fd = bpf_map_create(type, "pm_kind", 4, 8, max_entries, &opts);
	btf__free(btf);
	return fd;
}

static int create(enum bpf_map_type type, uint32_t key, uint32_t value, uint32_t max_entries)
{
	return bpf_map_create(type, "pm_kind", key, value, max_entries, NULL);
}

static void expect(int fd, const char *text)
{
	struct test_dump dump = test_dump(fd, &test_json);

	if (dump.err)
		print_error("%s\n", dump.error.message);
	assert_int_equal(dump.err, 0);
	assert_string_equal(dump.text, text);
	free(dump.text);
	close(fd);
}

static void refuse(int fd, const char *type, const char *why)
{
	struct test_dump dump = test_dump(fd, &test_json);

	assert_true(fd >= 0);
	assert_int_equal(dump.err, -EOPNOTSUPP);
	assert_non_null(strstr(dump.error.message, type));
	assert_non_null(strstr(dump.error.message, why));
	assert_true(dump.error.hint[0]);
	free(dump.text);
	close(fd);
}

static void task_storage(void **state)
{
	int fd = create_with_btf(BPF_MAP_TYPE_TASK_STORAGE, 0, BPF_F_NO_PREALLOC);
	int task = (int)syscall(SYS_pidfd_open, getpid(), 0);
	uint64_t value = 42;
	char text[256], comm[32] = "";
	FILE *file = fopen("/proc/self/comm", "r");

	(void)state;
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%31s", comm), 1);
	fclose(file);
	assert_true(fd >= 0 && task >= 0);
	assert_int_equal(bpf_map_update_elem(fd, &task, &value, BPF_ANY), 0);
	close(task);
	snprintf(
		text, sizeof(text),
		"[\n{\"key\":{\"tid\":%d,\"pid\":%d,\"comm\":\"%s\"},\"value\":{\"packets\":42}}\n]\n",
		getpid(), getpid(), comm);
	expect(fd, text);
}

static void cgroup_storage(void **state)
{
	int fd = create_with_btf(BPF_MAP_TYPE_CGRP_STORAGE, 0, BPF_F_NO_PREALLOC);
	char text[256], dir[] = "/tmp/perilune-cgroup.XXXXXX";
	uint64_t value = 43;
	struct test_dump dump;
	struct stat st;
	int cgroup;

	(void)state;
	/* One of our own mounting, which nobody else sees: there may be no other. */
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(mount("none", dir, "cgroup2", 0, NULL), 0);
	cgroup = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0 && cgroup >= 0);
	assert_int_equal(fstat(cgroup, &st), 0);
	assert_int_equal(bpf_map_update_elem(fd, &cgroup, &value, BPF_ANY), 0);
	close(cgroup);
	snprintf(text, sizeof(text), "[\n{\"key\":{\"cgroup\":%llu,\"path\":\"/",
		 (unsigned long long)st.st_ino);
	dump = test_dump(fd, &test_json);
	assert_int_equal(umount(dir), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(dump.err, 0);
	assert_int_equal(dump.rows, 1); /* wherever else it is mounted too */
	assert_int_equal(strncmp(dump.text, text, strlen(text)), 0);
	assert_non_null(strstr(dump.text, "\"},\"value\":{\"packets\":43}}\n]\n"));
	free(dump.text);
	close(fd);
}

static int udp_socket(uint16_t *port, uint64_t *cookie)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address), size = sizeof(*cookie);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &size), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

/* Hardened kernels refuse even the emptiest program of this iterator to root: what the refusal must say is tested then. */
static bool refused_to_root(void)
{
	struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct btf *btf = btf__load_vmlinux_btf();
	int target = btf__find_by_name_kind(btf, "bpf_iter_bpf_sk_storage_map", BTF_KIND_FUNC);
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_ITER,
		    .attach_btf_id = (__u32)target);
	int fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "pm_nothing", "GPL", nothing, 2, &opts);

	btf__free(btf);
	if (fd >= 0)
		close(fd);
	return fd == -EPERM;
}

static void socket_storage_refused(int fd)
{
	struct test_dump dump = test_dump(fd, &test_json);

	print_message("this kernel refuses the iterator of sk_storage\n");
	assert_int_equal(dump.err, -EPERM);
	assert_non_null(strstr(dump.error.message, "going through the sockets: not permitted"));
	free(dump.text);
	close(fd);
}

static void socket_storage(void **state)
{
	int fd = create_with_btf(BPF_MAP_TYPE_SK_STORAGE, 0, BPF_F_NO_PREALLOC);
	uint64_t value = 44, cookie;
	uint16_t port;
	int sock = udp_socket(&port, &cookie);
	char text[256];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_update_elem(fd, &sock, &value, BPF_ANY), 0);
	snprintf(
		text, sizeof(text),
		"[\n{\"key\":{\"cookie\":%llu,\"family\":\"inet\",\"protocol\":\"udp\",\"local_port\":%u,"
		"\"remote_port\":0},\"value\":{\"packets\":44}}\n]\n",
		(unsigned long long)cookie, port);
	if (refused_to_root())
		socket_storage_refused(fd);
	else
		expect(fd, text);
	close(sock);
}

static void sockets(void **state)
{
	enum bpf_map_type types[] = {BPF_MAP_TYPE_SOCKMAP, BPF_MAP_TYPE_SOCKHASH};
	uint32_t key = 1;
	uint64_t cookie, value;
	uint16_t port;
	int sock = udp_socket(&port, &cookie), fd;
	char text[256];

	(void)state;
	value = (uint64_t)sock;
	for (size_t i = 0; i < 2; i++) {
		fd = create(types[i], 4, 8, 4);
		assert_true(fd >= 0);
		assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
		snprintf(text, sizeof(text), "[\n{\"key\":%s,\"value\":{\"cookie\":%llu}}\n]\n",
			 i ? "\"01:00:00:00\"" : "1", (unsigned long long)cookie);
		expect(fd, text);
		fd = create(types[i], 4, 4, 4);
		assert_int_equal(bpf_map_update_elem(fd, &key, &sock, BPF_ANY), 0);
		refuse(fd, types[i] == BPF_MAP_TYPE_SOCKMAP ? "sockmap" : "sockhash", "4 bytes");
	}
	close(sock);
}

static void devices(void **state)
{
	enum bpf_map_type types[] = {BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH};
	uint32_t key = 2, lo = 1;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int fd = create(types[i], 4, 4, 4);

		assert_true(fd >= 0);
		assert_int_equal(bpf_map_update_elem(fd, &key, &lo, BPF_ANY), 0);
		expect(fd, "[\n{\"key\":2,\"value\":{\"interface\":\"lo\"}}\n]\n");
	}
}

static void processors(void **state)
{
	uint32_t key = 0, queue = 192;
	int fd = create(BPF_MAP_TYPE_CPUMAP, 4, 4, 1);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_update_elem(fd, &key, &queue, BPF_ANY), 0);
	expect(fd, "[\n{\"key\":0,\"value\":{\"queue_size\":192}}\n]\n");
}

static void programs(void **state)
{
	struct bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
				   {.code = BPF_JMP | BPF_EXIT}};
	struct bpf_prog_info info = {0};
	uint32_t key = 3, len = sizeof(info);
	int fd = create(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4);
	int prog = bpf_prog_load(BPF_PROG_TYPE_XDP, "pm_prog", "GPL", insns, 2, NULL);
	char text[128];

	(void)state;
	assert_true(fd >= 0 && prog >= 0);
	assert_int_equal(bpf_prog_get_info_by_fd(prog, &info, &len), 0);
	assert_int_equal(bpf_map_update_elem(fd, &key, &prog, BPF_ANY), 0);
	snprintf(text, sizeof(text), "[\n{\"key\":3,\"value\":{\"program\":%u}}\n]\n", info.id);
	expect(fd, text);
	close(prog);
}

/* What a program in user space sends to one in the kernel. */
static void user_ring(void **state)
{
	int fd = create(BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096);
	struct map_dump_options drain = {.drain = true, .limit = UINT64_MAX};
	struct user_ring_buffer *ring = user_ring_buffer__new(fd, NULL);
	struct test_dump dump;
	char *sample;

	(void)state;
	assert_non_null(ring);
	for (int i = 0; i < 2; i++) {
		sample = user_ring_buffer__reserve(ring, 3);
		assert_non_null(sample);
		memcpy(sample, "abc", 3);
		if (i)
			user_ring_buffer__discard(ring, sample);
		else
			user_ring_buffer__submit(ring, sample);
	}
	dump = test_dump(fd, &drain);
	assert_int_equal(dump.err, -EOPNOTSUPP);
	free(dump.text);
	sample = user_ring_buffer__reserve(ring, 5); /* begun, not sent */
	dump = test_dump(fd, &test_json);
	assert_int_equal(dump.err, 0);
	assert_string_equal(dump.text, "[\n{\"value\":\"61:62:63\"}\n]\n");
	assert_string_equal(dump.note, "still being written, left out: 1");
	free(dump.text);
	user_ring_buffer__discard(ring, sample);
	user_ring_buffer__free(ring);
	close(fd);
}

static void unreadable(void **state)
{
	(void)state;
	refuse(bpf_map_create(BPF_MAP_TYPE_BLOOM_FILTER, "pm_kind", 0, 8, 10, NULL), "bloom_filter",
	       "does not keep the values");
	refuse(create(BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 4), "cgroup_array", "cgroups");
	refuse(create(BPF_MAP_TYPE_XSKMAP, 4, 4, 4), "xskmap", "AF_XDP");
	refuse(create_with_btf(BPF_MAP_TYPE_INODE_STORAGE, 0, BPF_F_NO_PREALLOC),
	       "an inode_storage", "inodes");
}

static void unnamed_bytes(void **state)
{
	unsigned char key[3] = {1, 2, 255}, value[5] = {0, 9, 8, 7, 6};
	int fd = create(BPF_MAP_TYPE_HASH, 3, 5, 4);

	(void)state;
	assert_int_equal(bpf_map_update_elem(fd, key, value, BPF_ANY), 0);
	expect(fd, "[\n{\"key\":\"01:02:ff\",\"value\":\"00:09:08:07:06\"}\n]\n");
}

/* The largest there is: 64 KB, and a global variable's section of some megabytes. */
static void large_values(void **state)
{
	size_t size = 65536;
	unsigned char *value = calloc(1, 4 << 20);
	struct test_dump dump;
	uint32_t key = 0;
	int fd;

	(void)state;
	for (int i = 0; i < 2; i++, size = 4 << 20) {
		fd = create(i ? BPF_MAP_TYPE_ARRAY : BPF_MAP_TYPE_HASH, 4, (uint32_t)size, 1);
		assert_true(fd >= 0);
		memset(value, 0xab, size);
		assert_int_equal(bpf_map_update_elem(fd, &key, value, BPF_ANY), 0);
		dump = test_dump(fd, &test_json);
		assert_int_equal(dump.err, 0);
		assert_int_equal(dump.rows, 1);
		assert_true(strlen(dump.text) > 3 * size);
		assert_string_equal(dump.text + strlen(dump.text) - 9, "ab:ab\"}\n]\n" + 1);
		free(dump.text);
		close(fd);
	}
	free(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_have_names), cmocka_unit_test(task_storage),
		cmocka_unit_test(cgroup_storage), cmocka_unit_test(socket_storage),
		cmocka_unit_test(sockets),	  cmocka_unit_test(devices),
		cmocka_unit_test(processors),	  cmocka_unit_test(programs),
		cmocka_unit_test(user_ring),	  cmocka_unit_test(unreadable),
		cmocka_unit_test(unnamed_bytes),  cmocka_unit_test(large_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
