/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "number.h"

/* How many bytes of valid UTF-8 character start here; 0 when none does. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
	unsigned char second_min = 0x80, second_max = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		len = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		len = 3;
		second_min = p[0] == 0xe0 ? 0xa0 : 0x80; /* no overlong forms */
		second_max = p[0] == 0xed ? 0x9f : 0xbf; /* no surrogates */
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		len = 4;
		second_min = p[0] == 0xf0 ? 0x90 : 0x80;
		second_max = p[0] == 0xf4 ? 0x8f : 0xbf;
	} else {
		return 0;
	}
	if (left < len || p[1] < second_min || p[1] > second_max)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

/* Writes a control character, quote or backslash; at most 6 bytes. */
static char *put_escaped(char *p, unsigned char c)
{
	static const char hex[] = "0123456789abcdef", from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *known = c ? strchr(from, c) : NULL;

	*p++ = '\\';
	if (known) {
		*p++ = to[known - from];
		return p;
	}
	memcpy(p, "u00", 3);
	p[3] = hex[c >> 4];
	p[4] = hex[c & 15];
	return p + 5;
}

int json__string(struct buf *out, const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text, *end = s + len;
	int err = len > (SIZE_MAX - 2) / 6 ? -EMSGSIZE : buf__reserve(out, len * 6 + 2);
	char *p;

	if (err)
		return err;
	p = out->data + out->len;
	*p++ = '"';
	while (s < end) {
		size_t n = utf8_len(s, (size_t)(end - s));

		if (n == 1 && (*s < 0x20 || *s == '"' || *s == '\\' || *s == 0x7f)) {
			p = put_escaped(p, *s);
		} else if (n) {
			memcpy(p, s, n);
			p += n;
		} else {
			memcpy(p, "\xef\xbf\xbd",
			       3); /* U+FFFD for each byte that is no character */
			p += 3;
			n = 1;
		}
		s += n;
	}
	*p++ = '"';
	*p = '\0';
	out->len = (size_t)(p - out->data);
	return 0;
}

static int put_number(struct buf *out, const struct layout *layout, const struct field *f,
		      const unsigned char *bytes)
{
	uint64_t value = layout__number(layout, f, bytes);
	bool is_signed = f->kind == FIELD_INT;
	int err;

	if (f->kind == FIELD_BOOL)
		return buf__puts(out, value ? "true" : "false");
	if (f->kind == FIELD_ENUM) {
		const char *name = layout__enum_name(layout, f, (int64_t)value);

		if (name)
			return json__string(out, name, strlen(name));
		is_signed = layout__enum_signed(layout, f);
	}
	err = buf__reserve(out, NUMBER_MAX);
	if (err)
		return err;
	out->len += is_signed ? number__i64(out->data + out->len, (int64_t)value)
			      : number__u64(out->data + out->len, value);
	return 0;
}

/* What needs no escapes: addresses, times, bytes. */
static int put_plain(struct buf *out, const struct layout *layout, const struct field *f,
		     const unsigned char *bytes)
{
	size_t room = f->kind == FIELD_BYTES ? (size_t)f->size * 3 : 46;
	int err = buf__reserve(out, room + 2);
	char *p;

	if (err)
		return err;
	p = out->data + out->len;
	*p++ = '"';
	if (f->kind == FIELD_ADDRESS)
		layout__address_text(bytes, p);
	else if (f->kind == FIELD_TIME)
		layout__time_text(layout__number(layout, f, bytes), p);
	else
		p[number__hex(p, bytes, f->size)] = '\0';
	p += strlen(p);
	*p++ = '"';
	out->len = (size_t)(p - out->data);
	return 0;
}

static int put_element(struct buf *out, const struct layout *layout, const struct field *f,
		       const unsigned char *bytes)
{
	switch (f->kind) {
	case FIELD_ADDRESS:
	case FIELD_TIME:
	case FIELD_BYTES:
		return put_plain(out, layout, f, bytes);
	case FIELD_TEXT:
		return json__string(out, (const char *)bytes,
				    strnlen((const char *)bytes, f->size));
	default:
		return put_number(out, layout, f, bytes);
	}
}

static int put_field(struct buf *out, const struct layout *layout, const struct field *f,
		     const unsigned char *bytes)
{
	int err = json__string(out, f->name, strlen(f->name));

	if (!err)
		err = buf__append(out, ":[", f->count > 1 ? 2 : 1);
	for (uint32_t i = 0; !err && i < f->count; i++) {
		if (i)
			err = buf__append(out, ",", 1);
		if (!err)
			err = put_element(out, layout, f, bytes + (size_t)i * f->size);
	}
	if (!err && f->count > 1)
		err = buf__append(out, "]", 1);
	return err;
}

/* Takes back what an append that failed half-way has written. */
static int undo(struct buf *out, size_t len, int err)
{
	if (err && out->data) {
		out->len = len;
		out->data[len] = '\0';
	}
	return err;
}

int json__record(struct buf *out, const struct layout *layout, const unsigned char *record)
{
	size_t start = out->len;
	int err = buf__append(out, "{", 1);

	for (size_t i = 0; !err && i < layout->nfields; i++) {
		if (i)
			err = buf__append(out, ",", 1);
		if (!err)
			err = put_field(out, layout, &layout->fields[i],
					record + layout->fields[i].offset);
	}
	if (!err)
		err = buf__append(out, "}", 1);
	return undo(out, start, err);
}

int json__records(struct buf *out, const struct batch *batch, const uint32_t *indexes, size_t count)
{
	size_t start = out->len;
	int err = buf__append(out, "[", 1);

	if (!indexes && count > batch->count)
		count = batch->count;
	for (size_t i = 0; !err && i < count; i++) {
		size_t at = indexes ? indexes[i] : i;

		if (at >= batch->count)
			err = -ERANGE;
		else if (i)
			err = buf__append(out, ",", 1);
		if (!err)
			err = json__record(out, batch->layout,
					   batch->records + at * batch->layout->stride);
	}
	if (!err)
		err = buf__append(out, "]", 1);
	return undo(out, start, err);
}
