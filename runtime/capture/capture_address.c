/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses of a captured frame: read, and put in place of others. */
#include "capture/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#define VLAN_MAX 3

static uint16_t be16(const unsigned char *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* Where the IP header begins, after at most VLAN_MAX tags; NULL when there is none, or not enough of one. */
static const unsigned char *ip_header(const struct capture_frame *frame, bool *v6)
{
	const unsigned char *at, *end = frame->data + frame->captured;
	unsigned int type, tags = 0;

	if (frame->captured < sizeof(struct ether_header))
		return NULL;
	at = frame->data + offsetof(struct ether_header, ether_type);
	for (;;) {
		type = be16(at);
		at += 2;
		if (type != ETHERTYPE_VLAN && type != 0x88a8 && type != 0x9100)
			break;
		if (tags++ == VLAN_MAX || end - at < 4)
			return NULL;
		at += 2;
	}
	*v6 = type == ETHERTYPE_IPV6;
	if ((!*v6 && type != ETHERTYPE_IP) || end - at < (*v6 ? 40 : 20) ||
	    at[0] >> 4 != (*v6 ? 6 : 4))
		return NULL;
	return at;
}

int capture_frame__addresses(const struct capture_frame *frame, char *src, char *dst, size_t size)
{
	bool v6;
	const unsigned char *at = ip_header(frame, &v6);

	if (!at)
		return -ENOENT;
	at += v6 ? 8 : 12;
	if (!inet_ntop(v6 ? AF_INET6 : AF_INET, at, src, (socklen_t)size) ||
	    !inet_ntop(v6 ? AF_INET6 : AF_INET, at + (v6 ? 16 : 4), dst, (socklen_t)size))
		return -errno;
	return 0;
}

/* RFC 1624: the checksum at `sum` after `size` bytes (an even number) have changed from `old` to `new`. */
static void resum(unsigned char *sum, const unsigned char *old, const unsigned char *new,
		  size_t size)
{
	uint32_t total = (uint16_t)~be16(sum);

	for (size_t i = 0; i < size; i += 2)
		total += (uint16_t)~be16(old + i) + be16(new + i);
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	sum[0] = (unsigned char)(~total >> 8);
	sum[1] = (unsigned char)~total;
}

/* The checksum of TCP or UDP, which covers the addresses; NULL when the frame has none. */
static unsigned char *transport_sum(unsigned char *ip, bool v6, const unsigned char *end)
{
	unsigned int proto = v6 ? ip[6] : ip[9];
	long at = v6 ? 40 : (ip[0] & 15) * 4;

	if ((proto != IPPROTO_TCP && proto != IPPROTO_UDP) || at < 20)
		return NULL;
	if (!v6 && (be16(ip + 6) & 0x1fff)) /* a later fragment */
		return NULL;
	at += proto == IPPROTO_TCP ? 16 : 6;
	if (end - ip < at + 2 || (proto == IPPROTO_UDP && !be16(ip + at))) /* a UDP may have none */
		return NULL;
	return ip + at;
}

int capture_frame__readdress(struct capture_frame *frame, struct buf *copy, bool destination,
			     const unsigned char *address, size_t size, uint32_t add)
{
	unsigned char new[16], *ip, *at, *sum;
	bool v6;
	const unsigned char *header = ip_header(frame, &v6);
	size_t offset;
	uint32_t last;
	int err;

	if (!header || size != (v6 ? 16 : 4))
		return -ENOENT;
	offset = (size_t)(header - frame->data);
	if ((const char *)frame->data != copy->data) {
		buf__clear(copy);
		err = buf__append(copy, frame->data, frame->captured);
		if (err)
			return err;
		frame->data = (const unsigned char *)copy->data;
	}
	memcpy(new, address, size);
	memcpy(&last, new + size - 4, 4);
	last = htonl(ntohl(last) + add);
	memcpy(new + size - 4, &last, 4);
	ip = (unsigned char *)copy->data + offset;
	at = ip + (v6 ? 8 : 12) + (destination ? size : 0);
	if (!v6)
		resum(ip + 10, at, new, size);
	sum = transport_sum(ip, v6, frame->data + frame->captured);
	if (sum)
		resum(sum, at, new, size);
	memcpy(at, new, size);
	return 0;
}
