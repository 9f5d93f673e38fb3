/* SPDX-License-Identifier: Apache-2.0 */
/* The values of fields: numbers, text, and the fold of per-CPU values. */
#include "layout.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "number.h"

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
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

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

static void store(unsigned char *bytes, uint32_t size, uint64_t value)
{
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;

	if (size == 1)
		*bytes = (unsigned char)value;
	else
		memcpy(bytes,
		       size == 2   ? (void *)&u16
		       : size == 4 ? (void *)&u32
				   : (void *)&value,
		       size);
}

static uint64_t sign_extend(uint64_t value, uint32_t size)
{
	unsigned int shift = 64 - size * 8;

	return (uint64_t)((int64_t)(value << shift) >> shift);
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

uint64_t layout__number(const struct layout *layout, const struct field *field,
			const unsigned char *bytes)
{
	switch (field->kind) {
	case FIELD_UINT:
	case FIELD_TIME:
		return load(bytes, field->size);
	case FIELD_INT:
		return sign_extend(load(bytes, field->size), field->size);
	case FIELD_BE_UINT:
		return from_network(load(bytes, field->size), field->size);
	case FIELD_BOOL:
		return load(bytes, field->size) != 0;
	case FIELD_ENUM:
		if (layout__enum_signed(layout, field))
			return sign_extend(load(bytes, field->size), field->size);
		return load(bytes, field->size);
	default:
		return 0;
	}
}

static int put_number(const struct layout *layout, const struct field *field, uint64_t value,
		      struct buf *out)
{
	bool is_signed = field->kind == FIELD_INT;
	char text[NUMBER_MAX];

	if (field->kind == FIELD_BOOL)
		return buf__puts(out, value ? "true" : "false");
	if (field->kind == FIELD_ENUM) {
		const char *name = layout__enum_name(layout, field, (int64_t)value);

		if (name)
			return buf__puts(out, name);
		is_signed = layout__enum_signed(layout, field);
	}
	return buf__append(out, text,
			   is_signed ? number__i64(text, (int64_t)value)
				     : number__u64(text, value));
}

static int put_element(const struct layout *layout, const struct field *field,
		       const unsigned char *bytes, struct buf *out)
{
	char text[INET6_ADDRSTRLEN];
	int err;

	switch (field->kind) {
	case FIELD_ADDRESS:
		layout__address_text(bytes, text);
		return buf__puts(out, text);
	case FIELD_TIME:
		layout__time_text(load(bytes, 8), text);
		return buf__puts(out, text);
	case FIELD_TEXT:
		return buf__append(out, bytes, strnlen((const char *)bytes, field->size));
	case FIELD_BYTES:
		err = buf__reserve(out, (size_t)field->size * 3);
		if (err)
			return err;
		out->len += number__hex(out->data + out->len, bytes, field->size);
		out->data[out->len] = '\0';
		return 0;
	default:
		return put_number(layout, field, layout__number(layout, field, bytes), out);
	}
}

int layout__text(const struct layout *layout, const struct field *field, const unsigned char *bytes,
		 struct buf *out)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < field->count; i++) {
		if (i)
			err = buf__append(out, " ", 1);
		if (!err)
			err = put_element(layout, field, bytes + (size_t)i * field->size, out);
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

int layout__parse(const struct layout *layout, const struct field *field, const char *text,
		  unsigned char *bytes)
{
	int64_t value;
	int err;

	if (field->count != 1)
		return -EINVAL;
	switch (field->kind) {
	case FIELD_ADDRESS:
		memcpy(bytes, v4_mapped, sizeof(v4_mapped));
		if (inet_pton(AF_INET, text, bytes + sizeof(v4_mapped)) == 1 ||
		    inet_pton(AF_INET6, text, bytes) == 1)
			return 0;
		return -EINVAL;
	case FIELD_TEXT:
		if (strlen(text) > field->size)
			return -EINVAL;
		memset(bytes, 0, field->size);
		memcpy(bytes, text, strlen(text));
		return 0;
	case FIELD_BYTES:
		return parse_hex(text, bytes, field->size);
	case FIELD_ENUM:
		err = layout__enum_value(layout, field, text, &value);
		if (!err)
			store(bytes, field->size, (uint64_t)value);
		return err ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

static bool is_zero(const unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

static bool is_first(const char *name)
{
	const char *dot = strrchr(name, '.');

	return strcmp(dot ? dot + 1 : name, "first") == 0;
}

static void fold_element(const struct field *field, unsigned char *into, const unsigned char *value)
{
	uint64_t have, more;

	switch (field->kind) {
	case FIELD_UINT:
	case FIELD_INT:
		store(into, field->size, load(into, field->size) + load(value, field->size));
		return;
	case FIELD_TIME:
		have = load(into, 8);
		more = load(value, 8);
		if (more && (!have || (is_first(field->name) ? more < have : more > have)))
			store(into, 8, more);
		return;
	default:
		if (is_zero(into, field->size))
			memcpy(into, value, field->size);
	}
}

void layout__fold(const struct layout *layout, void *into, const void *value)
{
	for (size_t i = 0; i < layout->nfields; i++) {
		const struct field *f = &layout->fields[i];
		size_t at = f->offset - layout->value_offset;

		for (uint32_t n = 0; !f->key && n < f->count; n++, at += f->size)
			fold_element(f, (unsigned char *)into + at,
				     (const unsigned char *)value + at);
	}
}
