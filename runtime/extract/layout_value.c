/* SPDX-License-Identifier: Apache-2.0 */
/* The values of fields: numbers, and text both ways. */
#include "extract/layout.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/interface.h"
#include "base/number.h"

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

void layout__address_text(const uint8_t *octets, char *out)
{
	if (memcmp(octets, v4_mapped, sizeof(v4_mapped)) != 0) {
		inet_ntop(AF_INET6, octets, out, INET6_ADDRSTRLEN);
		return;
	}
	for (int i = 12; i < 16; i++) {
		out += number__u64(out, octets[i]);
		*out++ = '.';
	}
	out[-1] = '\0';
}

/* Days since 1970-01-01 as year, month, day, in whole 400-year eras that begin on 1 March. */
static void civil(uint64_t days, uint64_t *year, uint64_t *month, uint64_t *day)
{
	uint64_t z = days + 719468, era = z / 146097, of_era = z % 146097;
	uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	uint64_t from_march = (5 * of_year + 2) / 153;

	*day = of_year - (153 * from_march + 2) / 5 + 1;
	*month = from_march < 10 ? from_march + 3 : from_march - 9;
	*year = year_of_era + era * 400 + (*month <= 2);
}

void layout__time_text(uint64_t wall_ns, char *out)
{
	uint64_t seconds = wall_ns / 1000000000, of_day = seconds % 86400;
	static const struct {
		size_t width;
		char after;
	} parts[] = {{4, '-'}, {2, '-'}, {2, 'T'}, {2, ':'}, {2, ':'}, {2, '.'}, {9, 'Z'}};
	uint64_t values[7] = {[3] = of_day / 3600,
			      [4] = of_day / 60 % 60,
			      [5] = of_day % 60,
			      [6] = wall_ns % 1000000000};

	civil(seconds / 86400, &values[0], &values[1], &values[2]);
	for (size_t i = 0; i < 7; i++) {
		out += number__digits(out, values[i], parts[i].width);
		*out++ = parts[i].after;
	}
	*out = '\0';
}

static uint64_t load(const unsigned char *bytes, uint32_t size)
{
	uint64_t u64;
	uint32_t u32;
	uint16_t u16;

	switch (size) {
	case 1:
		return *bytes;
	case 2:
		memcpy(&u16, bytes, 2);
		return u16;
	case 4:
		memcpy(&u32, bytes, 4);
		return u32;
	default:
		memcpy(&u64, bytes, 8);
		return u64;
	}
}

static uint64_t sign_extend(uint64_t value, uint32_t bits)
{
	return (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
}

/* Bits are numbered from the lowest of the first byte, as every BPF target of ours has them. */
static uint64_t load_bits(const struct field *field, const unsigned char *bytes)
{
	unsigned __int128 all = 0;
	uint64_t value;

	memcpy(&all, bytes, field->size);
	value = (uint64_t)(all >> field->bit);
	return field->bits < 64 ? value & ((1ULL << field->bits) - 1) : value;
}

static uint64_t from_network(uint64_t value, uint32_t size)
{
	switch (size) {
	case 2:
		return be16toh((uint16_t)value);
	case 4:
		return be32toh((uint32_t)value);
	default:
		return be64toh(value);
	}
}

uint64_t layout__number(const struct field *field, const unsigned char *element)
{
	uint64_t value;

	switch (field->kind) {
	case FIELD_UINT:
	case FIELD_INT:
	case FIELD_BOOL:
	case FIELD_ENUM:
	case FIELD_POINTER:
	case FIELD_PROTOCOL:
	case FIELD_FLAGS:
	case FIELD_IFINDEX:
	case FIELD_TIME:
		value = field->bits ? load_bits(field, element) : load(element, field->size);
		if (field->is_signed)
			value = sign_extend(value, field->bits	     ? field->bits
						   : field->size > 8 ? 64
								     : field->size * 8);
		return field->kind == FIELD_BOOL ? value != 0 : value;
	case FIELD_BE_UINT:
		return from_network(load(element, field->size), field->size);
	default:
		return 0;
	}
}

unsigned __int128 layout__wide_number(const struct field *field, const unsigned char *element)
{
	unsigned __int128 value;

	if (field->size == 16 && (field->kind == FIELD_UINT || field->kind == FIELD_INT)) {
		memcpy(&value, element, sizeof(value));
		return value;
	}
	value = layout__number(field, element);
	return field->is_signed ? (unsigned __int128)(__int128)(int64_t)value : value;
}

double layout__float(const struct field *field, const unsigned char *element)
{
	double wide;
	float narrow;

	if (field->size == sizeof(narrow)) {
		memcpy(&narrow, element, sizeof(narrow));
		return (double)narrow;
	}
	memcpy(&wide, element, sizeof(wide));
	return wide;
}

/* Keywords of the IANA registry "Protocol Numbers", in lower case; those that are seen in networks. */
const char *layout__protocol_name(uint64_t protocol)
{
	static const char *const names[256] = {
		[0] = "hopopt",	     [1] = "icmp",	   [2] = "igmp",       [4] = "ipv4",
		[6] = "tcp",	     [8] = "egp",	   [17] = "udp",       [33] = "dccp",
		[41] = "ipv6",	     [43] = "ipv6-route",  [44] = "ipv6-frag", [46] = "rsvp",
		[47] = "gre",	     [50] = "esp",	   [51] = "ah",	       [58] = "ipv6-icmp",
		[59] = "ipv6-nonxt", [60] = "ipv6-opts",   [88] = "eigrp",     [89] = "ospfigp",
		[103] = "pim",	     [112] = "vrrp",	   [115] = "l2tp",     [132] = "sctp",
		[136] = "udplite",   [137] = "mpls-in-ip", [139] = "hip",      [140] = "shim6",
	};

	return protocol < 256 ? names[protocol] : NULL;
}

static int put_name(const struct field *field, uint64_t value, struct buf *out)
{
	char ifname[IF_NAMESIZE], text[NUMBER_MAX];
	const char *name = NULL;

	if (field->kind == FIELD_ENUM)
		name = layout__enum_name(field, (int64_t)value, NULL);
	else if (field->kind == FIELD_PROTOCOL)
		name = layout__protocol_name(value);
	else if (field->kind == FIELD_IFINDEX)
		name = interface__name((unsigned int)value, ifname);
	else if (field->kind == FIELD_BOOL)
		name = value ? "true" : "false";
	if (name)
		return buf__puts(out, name);
	return buf__append(out, text,
			   field->is_signed ? number__i64(text, (int64_t)value)
					    : number__u64(text, value));
}

static int put_hex(const unsigned char *bytes, size_t size, struct buf *out)
{
	int err = buf__reserve(out, size * 3 + 1);

	if (err)
		return err;
	out->len += number__hex(out->data + out->len, bytes, size);
	out->data[out->len] = '\0';
	return 0;
}

int layout__element_text(const struct field *field, const unsigned char *element, struct buf *out)
{
	char text[INET6_ADDRSTRLEN];

	switch (field->kind) {
	case FIELD_ADDRESS:
		layout__address_text(element, text);
		return buf__puts(out, text);
	case FIELD_IPV4:
		inet_ntop(AF_INET, element, text, sizeof(text));
		return buf__puts(out, text);
	case FIELD_TIME:
		layout__time_text(load(element, 8), text);
		return buf__puts(out, text);
	case FIELD_TEXT:
		return buf__append(out, element, strnlen((const char *)element, field->size));
	case FIELD_BYTES:
		return put_hex(element, field->size, out);
	case FIELD_FLOAT:
		return buf__append(out, text,
				   number__float(text, layout__float(field, element),
						 field->size == 4));
	case FIELD_POINTER:
		return buf__append(out, text, number__pointer(text, load(element, 8)));
	case FIELD_FLAGS:
		return buf__append(out, text,
				   number__flags(text, layout__number(field, element),
						 field->size));
	default:
		if (field->size == 16)
			return buf__append(out, text,
					   number__wide(text, layout__wide_number(field, element),
							field->is_signed));
		return put_name(field, layout__number(field, element), out);
	}
}

int layout__text(const struct field *field, const unsigned char *record, struct buf *out)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < field->count; i++) {
		if (i)
			err = buf__append(out, " ", 1);
		if (!err)
			err = layout__element_text(field, record + layout__element(field, i), out);
	}
	return err;
}

static int parse_hex(const char *text, unsigned char *bytes, size_t size)
{
	static const char hex[] = "0123456789abcdef";

	if (strlen(text) != size * 3 - 1)
		return -EINVAL;
	for (size_t i = 0; i < size; i++, text += 3) {
		const char *high = strchr(hex, text[0] | 0x20), *low = strchr(hex, text[1] | 0x20);

		if (!high || !low || !*high || !*low || (i + 1 < size && text[2] != ':'))
			return -EINVAL;
		bytes[i] = (unsigned char)((high - hex) << 4 | (low - hex));
	}
	return 0;
}

/* 0x and hex digits, as many as there are; what does not fit the field is no value of it. */
static int parse_flags(const char *text, uint32_t size, uint64_t *value)
{
	size_t digits;

	if (text[0] != '0' || (text[1] | 0x20) != 'x' || !text[2])
		return -EINVAL;
	text += 2 + strspn(text + 2, "0");
	digits = strlen(text);
	if (digits > (size_t)size * 2 || strspn(text, "0123456789abcdefABCDEF") != digits)
		return -EINVAL;
	*value = strtoull(text, NULL, 16); /* of no digits, 0 */
	return 0;
}

/* What a name stands for, as a number that is then stored. */
static int parse_name(const struct field *field, const char *text, uint64_t *value)
{
	int64_t number = 0;

	switch (field->kind) {
	case FIELD_ENUM:
		if (layout__enum_value(field, text, &number))
			return -EINVAL;
		*value = (uint64_t)number;
		return 0;
	case FIELD_PROTOCOL:
		for (*value = 0; *value < 256; (*value)++) {
			const char *name = layout__protocol_name(*value);

			if (name && strcmp(name, text) == 0)
				return 0;
		}
		return -EINVAL;
	case FIELD_FLAGS:
		return parse_flags(text, field->size, value);
	default:
		*value = interface__index(text);
		return *value ? 0 : -EINVAL;
	}
}

int layout__parse(const struct field *field, const char *text, unsigned char *bytes)
{
	uint64_t value;

	if (field->ndims || field->bits)
		return -EINVAL;
	switch (field->kind) {
	case FIELD_ADDRESS:
		memcpy(bytes, v4_mapped, sizeof(v4_mapped));
		if (inet_pton(AF_INET, text, bytes + sizeof(v4_mapped)) == 1 ||
		    inet_pton(AF_INET6, text, bytes) == 1)
			return 0;
		return -EINVAL;
	case FIELD_IPV4:
		return inet_pton(AF_INET, text, bytes) == 1 ? 0 : -EINVAL;
	case FIELD_TEXT:
		if (strlen(text) > field->size)
			return -EINVAL;
		memset(bytes, 0, field->size);
		memcpy(bytes, text, strlen(text));
		return 0;
	case FIELD_BYTES:
		return parse_hex(text, bytes, field->size);
	case FIELD_ENUM:
	case FIELD_PROTOCOL:
	case FIELD_FLAGS:
	case FIELD_IFINDEX:
		if (parse_name(field, text, &value))
			return -EINVAL;
		memcpy(bytes, &value, field->size); /* little-endian, as load_bits() */
		return 0;
	default:
		return -EINVAL;
	}
}
