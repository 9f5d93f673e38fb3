/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture/capture.h"

/* Numbers of the file format (LINKTYPE_…), which are not all libpcap's own. */
enum {
	EN10MB = 1,
	IEEE802_11 = 105,
	LOOPBACK_NULL = 0,
	LOOPBACK = 108,
	RAW = 101,
	IPV4 = 228,
	SLL = 113,
	SLL2 = 276
};

static char root[64], path[96];

/* A file in the making, little-endian. */
static unsigned char bytes[4096];
static size_t len;

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/perilune-test-capture-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(path, sizeof(path), "%s/a.pcap", root);
	len = 0;
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static void put(const void *data, size_t size)
{
	assert_true(len + size <= sizeof(bytes));
	memcpy(bytes + len, data, size);
	len += size;
}

static void put32(uint32_t value)
{
	put((unsigned char[]){(unsigned char)value, (unsigned char)(value >> 8),
			      (unsigned char)(value >> 16), (unsigned char)(value >> 24)},
	    4);
}

static void begin(uint32_t magic, uint32_t link)
{
	len = 0;
	put32(magic);
	put32(2 | 4 << 16);
	put32(0);
	put32(0);
	put32(65535);
	put32(link);
}

static void record(uint32_t seconds, uint32_t fraction, const void *data, uint32_t captured,
		   uint32_t wire)
{
	put32(seconds);
	put32(fraction);
	put32(captured);
	put32(wire);
	put(data, captured);
}

static void save(size_t size)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static const unsigned char ethernet[] = {1,  2,	 3,  4,	   5,	 6,   7,   8,  9,
					 10, 11, 12, 0x08, 0x06, 'a', 'r', 'p'};
static const unsigned char ipv4[] = {0x45, 0, 0,   20, 0, 0, 0,	  0,  64,  6,
				     0,	   0, 192, 0,  2, 1, 198, 51, 100, 2};
static const unsigned char ipv6[40] = {0x60, [8] = 0x20, 0x01, 0x0d, 0xb8,    [23] = 1,
				       0x20, 0x01,	 0x0d, 0xb8, [39] = 2};

static int open_code(const char *name, struct error *error)
{
	struct capture *capture = NULL;
	int err = capture__open(name, &capture, error);

	assert_true(err == 0 || !capture);
	capture__close(capture);
	return err;
}

static void reads_frames_and_times(void **state)
{
	struct capture_frame frame;
	struct capture *capture;
	struct error error;

	(void)state;
	for (int nano = 0; nano < 2; nano++) {
		begin(nano ? 0xa1b23c4d : 0xa1b2c3d4, EN10MB);
		record(1700000000, nano ? 123456789 : 123456, ethernet, sizeof(ethernet), 60);
		record(4294967295u, 0, ethernet, 3, 2); /* longer than it was: no */
		save(len);
		assert_int_equal(capture__open(path, &capture, &error), 0);
		assert_int_equal(capture__next(capture, &frame, &error), 1);
		assert_int_equal(frame.time, 1700000000123456000ULL + (nano ? 789 : 0));
		assert_int_equal(frame.captured, sizeof(ethernet));
		assert_int_equal(frame.wire, 60);
		assert_memory_equal(frame.data, ethernet, sizeof(ethernet));
		assert_int_equal(capture__next(capture, &frame, &error), 1);
		assert_int_equal(frame.time, 4294967295000000000ULL);
		assert_int_equal(frame.captured, 3);
		assert_int_equal(frame.wire, 3);
		assert_int_equal(capture__next(capture, &frame, &error), 0);
		assert_int_equal(capture__next(capture, &frame, &error), 0);
		capture__close(capture);
	}
	capture__close(NULL);
}

static void reads_pcapng(void **state)
{
	struct capture_frame frame;
	struct capture *capture;
	struct error error;
	uint64_t ticks = 1700000000123456ULL;

	(void)state;
	put32(0x0a0d0d0a); /* section header */
	put32(28);
	put32(0x1a2b3c4d);
	put32(1);
	put32(0xffffffff);
	put32(0xffffffff);
	put32(28);
	put32(1); /* interface */
	put32(20);
	put32(EN10MB);
	put32(65535);
	put32(20);
	put32(6); /* packet */
	put32(52);
	put32(0);
	put32((uint32_t)(ticks >> 32));
	put32((uint32_t)ticks);
	put32(17);
	put32(60);
	put(ethernet, 17);
	put("\0\0\0", 3);
	put32(52);
	save(len);
	assert_int_equal(capture__open(path, &capture, &error), 0);
	assert_int_equal(capture__next(capture, &frame, &error), 1);
	assert_int_equal(frame.time, ticks * 1000);
	assert_int_equal(frame.captured, 17);
	assert_int_equal(frame.wire, 60);
	assert_int_equal(capture__next(capture, &frame, &error), 0);
	capture__close(capture);
	save(len - 30);
	assert_int_equal(capture__open(path, &capture, &error), 0);
	assert_int_equal(capture__next(capture, &frame, &error), -EBADMSG);
	assert_non_null(strstr(error.message, "a.pcap: is cut short after frame 0"));
	capture__close(capture);
}

static void what_is_not_a_capture_is_refused(void **state)
{
	struct error error;
	char wanted[256];

	(void)state;
	assert_int_equal(open_code(path, &error), -ENOENT);
	snprintf(wanted, sizeof(wanted), "%s: no such file", path);
	assert_string_equal(error.message, wanted);
	assert_int_equal(open_code(root, &error), -EISDIR);
	assert_non_null(strstr(error.message, ": is a directory, not a packet capture"));
	save(0);
	assert_int_equal(open_code(path, &error), -EINVAL);
	assert_non_null(strstr(error.message, ": is empty, not a packet capture"));
	put("this is some text, and longer than a header\n", 44);
	save(len);
	assert_int_equal(open_code(path, &error), -EINVAL);
	assert_non_null(strstr(error.message, ": is not a packet capture (pcap or pcapng)"));
	save(2);
	assert_int_equal(open_code(path, &error), -EINVAL);
	assert_non_null(strstr(error.message, ": is not a packet capture (pcap or pcapng)"));
	len = 0;
	put("\x1f\x8b\x08", 3);
	save(len);
	assert_int_equal(open_code(path, &error), -EINVAL);
	assert_non_null(strstr(error.message, ": is compressed"));
	assert_int_equal(open_code("/dev/null", NULL), -EINVAL);
	begin(0xa1b2c3d4, IEEE802_11);
	save(len);
	assert_int_equal(open_code(path, &error), -EPROTONOSUPPORT);
	assert_non_null(strstr(error.message, "IEEE802_11, 802.11"));
}

static void cut_file_gives_what_it_holds(void **state)
{
	size_t ends[4], frames, got;
	struct capture_frame frame;
	struct capture *capture;
	struct error error;
	char wanted[160];
	int code;

	(void)state;
	begin(0xa1b2c3d4, EN10MB);
	ends[0] = len;
	for (uint32_t i = 1; i <= 3; i++) {
		record(i, 0, ethernet, sizeof(ethernet), 60);
		ends[i] = len;
	}
	for (size_t cut = 4; cut <= ends[3]; cut++) {
		save(cut);
		if (cut < ends[0]) {
			assert_int_equal(open_code(path, &error), -EBADMSG);
			assert_non_null(strstr(error.message, ": is cut short in its header"));
			continue;
		}
		for (frames = 0; frames < 3 && ends[frames + 1] <= cut;)
			frames++;
		assert_int_equal(capture__open(path, &capture, &error), 0);
		for (got = 0; (code = capture__next(capture, &frame, &error)) == 1;)
			got++;
		assert_int_equal(got, frames);
		assert_int_equal(code, cut == ends[frames] ? 0 : -EBADMSG);
		if (code) {
			snprintf(wanted, sizeof(wanted), "%s: is cut short after frame %zu", path,
				 frames);
			assert_string_equal(error.message, wanted);
		}
		capture__close(capture);
	}
	memset(bytes + ends[1] + 8, 0xff, 4); /* the second's captured length */
	save(ends[3]);
	assert_int_equal(capture__open(path, &capture, &error), 0);
	assert_int_equal(capture__next(capture, &frame, &error), 1);
	assert_int_equal(capture__next(capture, &frame, &error), -EBADMSG);
	assert_non_null(strstr(error.message, ": is damaged after frame 1: "));
	capture__close(capture);
}

static void standard_input_is_a_file_too(void **state)
{
	int saved = dup(STDIN_FILENO), fd;
	struct capture_frame frame;
	struct capture *capture;
	struct error error;

	(void)state;
	begin(0xa1b2c3d4, EN10MB);
	record(1, 0, ethernet, sizeof(ethernet), 60);
	save(len - 1);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO);
	close(fd);
	assert_int_equal(capture__open("-", &capture, &error), 0);
	assert_int_equal(capture__next(capture, &frame, &error), -EBADMSG);
	assert_string_equal(error.message, "standard input: is cut short after frame 0");
	capture__close(capture);
	dup2(saved, STDIN_FILENO);
	close(saved);
}

struct link_case {
	const char *what;
	uint32_t link;
	unsigned char header[20];
	uint32_t header_len;
	const unsigned char *packet;
	uint32_t packet_len;
	unsigned char made[14];
};

static const struct link_case link_cases[] = {
	{"raw 4", RAW, {0}, 0, ipv4, sizeof(ipv4), {[12] = 0x08, 0x00}},
	{"raw 6", RAW, {0}, 0, ipv6, sizeof(ipv6), {[12] = 0x86, 0xdd}},
	{"ipv4", IPV4, {0}, 0, ipv4, sizeof(ipv4), {[12] = 0x08, 0x00}},
	{"raw nothing", RAW, {0}, 0, ipv4, 0, {[12] = 0xff, 0xff}},
	{"null 4", LOOPBACK_NULL, {2, 0, 0, 0}, 4, ipv4, sizeof(ipv4), {[12] = 0x08, 0x00}},
	{"null 4, other order",
	 LOOPBACK_NULL,
	 {0, 0, 0, 2},
	 4,
	 ipv4,
	 sizeof(ipv4),
	 {[12] = 0x08, 0x00}},
	{"null 6, macOS", LOOPBACK_NULL, {30, 0, 0, 0}, 4, ipv6, sizeof(ipv6), {[12] = 0x86, 0xdd}},
	{"loop 6, OpenBSD", LOOPBACK, {0, 0, 0, 24}, 4, ipv6, sizeof(ipv6), {[12] = 0x86, 0xdd}},
	{"loop of another kind",
	 LOOPBACK,
	 {0, 0, 0, 7},
	 4,
	 ipv4,
	 sizeof(ipv4),
	 {[12] = 0xff, 0xff}},
	{"cooked",
	 SLL,
	 {0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 0x08, 0x00},
	 16,
	 ipv4,
	 sizeof(ipv4),
	 {[6] = 1, 2, 3, 4, 5, 6, 0x08, 0x00}},
	{"cooked, a broadcast without address",
	 SLL,
	 {0, 1, 0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0x86, 0xdd},
	 16,
	 ipv6,
	 sizeof(ipv6),
	 {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 0x86, 0xdd}},
	{"cooked, LLC",
	 SLL,
	 {0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 0, 4},
	 16,
	 ipv4,
	 sizeof(ipv4),
	 {[6] = 1, 2, 3, 4, 5, 6, 0, sizeof(ipv4)}},
	{"cooked, version 2",
	 SLL2,
	 {0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0},
	 20,
	 ipv6,
	 sizeof(ipv6),
	 {[6] = 1, 2, 3, 4, 5, 6, 0x86, 0xdd}},
};

static void other_links_become_ethernet(void **state)
{
	struct capture_frame frame;
	struct capture *capture;
	unsigned char whole[128];
	uint32_t size;

	(void)state;
	for (size_t i = 0; i < sizeof(link_cases) / sizeof(*link_cases); i++) {
		const struct link_case *c = &link_cases[i];

		print_message("%s\n", c->what);
		memcpy(whole, c->header, c->header_len);
		memcpy(whole + c->header_len, c->packet, c->packet_len);
		size = c->header_len + c->packet_len;
		begin(0xa1b2c3d4, c->link);
		record(1, 0, whole, size, size + 100);
		if (c->header_len)
			record(2, 0, whole, c->header_len - 1, 200); /* not even its own header */
		save(len);
		assert_int_equal(capture__open(path, &capture, NULL), 0);
		assert_int_equal(capture__next(capture, &frame, NULL), 1);
		assert_int_equal(frame.captured, 14 + c->packet_len);
		assert_int_equal(frame.wire, 14 + c->packet_len + 100);
		assert_memory_equal(frame.data, c->made, 14);
		assert_memory_equal(frame.data + 14, c->packet, c->packet_len);
		if (c->header_len) {
			assert_int_equal(capture__next(capture, &frame, NULL), 1);
			assert_int_equal(frame.captured, 14);
			assert_int_equal(frame.data[12], 0xff);
		}
		assert_int_equal(capture__next(capture, &frame, NULL), 0);
		capture__close(capture);
	}
}

static void addresses_are_seen_behind_tags(void **state)
{
	static const unsigned char tags[] = {0x88, 0xa8, 0, 1, 0x81, 0, 0, 2,
					     0x91, 0,	 0, 3, 0x81, 0, 0, 4};
	char src[46], dst[46];
	unsigned char data[128] = {0};
	struct capture_frame frame = {.data = data};

	(void)state;
	for (size_t count = 0; count <= 4; count++) {
		for (int six = 0; six < 2; six++) {
			size_t at = 12 + 4 * count, size = six ? sizeof(ipv6) : sizeof(ipv4);
			int wanted = count < 4 ? 0 : -ENOENT;

			memcpy(data + 12, tags, 4 * count);
			memcpy(data + at, six ? "\x86\xdd" : "\x08\x00", 2);
			memcpy(data + at + 2, six ? ipv6 : ipv4, size);
			frame.captured = (uint32_t)(at + 2 + size);
			assert_int_equal(capture_frame__addresses(&frame, src, dst, sizeof(src)),
					 wanted);
			if (!wanted) {
				assert_string_equal(src, six ? "2001:db8::1" : "192.0.2.1");
				assert_string_equal(dst, six ? "2001:db8::2" : "198.51.100.2");
			}
			for (; frame.captured; frame.captured--) {
				unsigned char *exact =
					malloc(frame.captured - 1 + !(frame.captured - 1));
				struct capture_frame cut = {.data = exact,
							    .captured = frame.captured - 1};

				memcpy(exact, data,
				       cut.captured); /* the sanitizer sees what is read beyond */
				assert_int_equal(capture_frame__addresses(&cut, src, dst,
									  sizeof(src)),
						 -ENOENT);
				free(exact);
			}
		}
	}
	memcpy(data, ethernet, sizeof(ethernet));
	frame.captured = sizeof(data);
	assert_int_equal(capture_frame__addresses(&frame, src, dst, sizeof(src)), -ENOENT);
}

/* The Internet checksum of bytes, and of a pseudo header's sum before them. */
static uint16_t checksum(const unsigned char *at, size_t size, uint32_t sum)
{
	for (size_t i = 0; i < size; i++)
		sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Header and TCP segment of a frame of IPv4 or IPv6 are right when they sum up to 0. */
static void assert_sums(const unsigned char *ip, int six, size_t segment)
{
	size_t header = six ? 40 : 20, from = six ? 8 : 12;
	uint32_t pseudo = (uint16_t)~checksum(ip + from, header - from, 0);

	if (!six)
		assert_int_equal(checksum(ip, 20, 0), 0);
	assert_int_equal(checksum(ip + header, segment, pseudo + 6 + (uint32_t)segment), 0);
}

static void addresses_are_replaced(void **state)
{
	static const unsigned char to4[] = {203, 0, 113, 255},
				   to6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0xff};
	unsigned char data[128] = {0}, tcp[20] = {0x12, 0x34, 0, 80, [12] = 0x50, [13] = 2};
	char src[46], dst[46];
	struct buf copy;

	(void)state;
	buf__init(&copy, 4096);
	for (int six = 0; six < 2; six++) {
		size_t header = six ? 40 : 20, from = six ? 8 : 12, size = six ? 16 : 4;
		unsigned char *ip = data + 14, *segment = ip + header;
		struct capture_frame frame = {.data = data};
		uint16_t sum;

		memcpy(data + 12, six ? "\x86\xdd" : "\x08\x00", 2);
		memcpy(ip, six ? ipv6 : ipv4, header);
		ip[six ? 5 : 3] = six ? 20 : 40; /* the length it claims */
		if (six)
			ip[6] = 6;
		memcpy(segment, tcp, sizeof(tcp));
		sum = checksum(ip, six ? 0 : 20, 0);
		if (!six)
			memcpy(ip + 10, (unsigned char[]){sum >> 8, sum & 0xff}, 2);
		sum = checksum(segment, 20,
			       (uint16_t)~checksum(ip + from, header - from, 0) + 6 + 20);
		memcpy(segment + 16, (unsigned char[]){sum >> 8, sum & 0xff}, 2);
		frame.captured = (uint32_t)(14 + header + sizeof(tcp));
		assert_sums(ip, six, 20);

		assert_int_equal(capture_frame__readdress(&frame, &copy, false, six ? to4 : to6,
							  six ? 4 : 16, 0),
				 -ENOENT);
		assert_ptr_equal(frame.data, data);
		for (int end = 0; end < 2; end++)
			assert_int_equal(capture_frame__readdress(&frame, &copy, end == 1,
								  six ? to6 : to4, size,
								  end ? 0 : 2),
					 0);
		assert_ptr_not_equal(frame.data, data);
		assert_int_equal(capture_frame__addresses(&frame, src, dst, sizeof(src)), 0);
		assert_string_equal(src, six ? "2001:db8::101" : "203.0.114.1");
		assert_string_equal(dst, six ? "2001:db8::ff" : "203.0.113.255");
		assert_sums(frame.data + 14, six, 20);
	}
	buf__free(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_frames_and_times, setup, teardown),
		cmocka_unit_test_setup_teardown(reads_pcapng, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_a_capture_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(cut_file_gives_what_it_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(standard_input_is_a_file_too, setup, teardown),
		cmocka_unit_test_setup_teardown(other_links_become_ethernet, setup, teardown),
		cmocka_unit_test(addresses_are_seen_behind_tags),
		cmocka_unit_test(addresses_are_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
