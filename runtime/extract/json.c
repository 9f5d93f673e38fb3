/* SPDX-License-Identifier: Apache-2.0 */
/* Text as JSON, and records by a plan (json_plan.h). */
#include "extract/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>

#include "base/interface.h"
#include "base/number.h"
#include "extract/json_plan.h"

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

/* At most 6 × len + 2 bytes. */
static char *put_string(char *p, const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text, *end = s + len;

	*p++ = '"';
	while (s < end) {
		size_t n = utf8_len(s, (size_t)(end - s));

		if (n == 1 && (*s < 0x20 || *s == '"' || *s == '\\' || *s == 0x7f)) {
			p = put_escaped(p, *s);
		} else if (n) {
			memcpy(p, s, n);
			p += n;
		} else { /* U+FFFD for each byte that is no character */
			memcpy(p, "\xef\xbf\xbd", 3);
			p += 3;
			n = 1;
		}
		s += n;
	}
	*p++ = '"';
	return p;
}

int json__string(struct buf *out, const char *text, size_t len)
{
	int err = len > (SIZE_MAX - 2) / 6 ? -EMSGSIZE : buf__reserve(out, len * 6 + 2);
	char *p;

	if (err)
		return err;
	p = put_string(out->data + out->len, text, len);
	*p = '\0';
	out->len = (size_t)(p - out->data);
	return 0;
}

/* An integer that may have a name. */
static char *put_named(char *p, const struct field *f, const unsigned char *bytes)
{
	uint64_t value = layout__number(f, bytes);
	char ifname[IF_NAMESIZE];
	const char *name = NULL;
	size_t len = 0;

	switch (f->kind) {
	case FIELD_BOOL:
		return stpcpy(p, value ? "true" : "false");
	case FIELD_ENUM:
		name = layout__enum_name(f, (int64_t)value, &len);
		break;
	case FIELD_PROTOCOL:
		name = layout__protocol_name(value);
		break;
	case FIELD_IFINDEX:
		name = interface__name((unsigned int)value, ifname);
		break;
	default:
		break;
	}
	if (name)
		return put_string(p, name, len ? len : strlen(name));
	return p + (f->is_signed ? number__i64(p, (int64_t)value) : number__u64(p, value));
}

/* Text that needs no escapes. */
static char *put_plain(char *p, const struct field *f, const unsigned char *bytes)
{
	*p++ = '"';
	switch (f->kind) {
	case FIELD_ADDRESS:
		layout__address_text(bytes, p);
		p += strlen(p);
		break;
	case FIELD_IPV4:
		for (int i = 0; i < 4; i++) {
			p += number__u64(p, bytes[i]);
			*p++ = '.';
		}
		p--;
		break;
	case FIELD_TIME:
		layout__time_text(layout__number(f, bytes), p);
		p += strlen(p);
		break;
	case FIELD_POINTER:
		p += number__pointer(p, layout__number(f, bytes));
		break;
	case FIELD_FLAGS:
		p += number__flags(p, layout__number(f, bytes), f->size);
		break;
	default:
		p += number__hex(p, bytes, f->size);
	}
	*p++ = '"';
	return p;
}

static char *put_element(char *p, const struct field *f, const unsigned char *bytes)
{
	double value;

	switch (f->kind) {
	case FIELD_UINT:
	case FIELD_INT:
		if (f->size == 16)
			return p + number__wide(p, layout__wide_number(f, bytes), f->is_signed);
		return put_named(p, f, bytes);
	case FIELD_TEXT:
		return put_string(p, (const char *)bytes, strnlen((const char *)bytes, f->size));
	case FIELD_FLOAT:
		value = layout__float(f, bytes);
		if (!isfinite(value))
			return stpcpy(p, "null");
		return p + number__float(p, value, f->size == 4);
	case FIELD_ADDRESS:
	case FIELD_IPV4:
	case FIELD_TIME:
	case FIELD_POINTER:
	case FIELD_FLAGS:
	case FIELD_BYTES:
		return put_plain(p, f, bytes);
	default:
		return put_named(p, f, bytes);
	}
}

/* A field from dimension `dim` on: the elements of an array in brackets. */
static char *put_field(char *p, const struct field *f, uint32_t dim, const unsigned char *bytes)
{
	const struct field_dim *d = &f->dims[dim];

	if (dim == f->ndims)
		return put_element(p, f, bytes);
	*p++ = '[';
	for (uint32_t i = 0; i < d->count; i++) {
		if (i)
			*p++ = ',';
		p = put_field(p, f, dim + 1, bytes + (size_t)i * d->stride);
	}
	*p++ = ']';
	return p;
}

static char *run(const struct json_plan *plan, size_t from, size_t to, const unsigned char *base,
		 char *p)
{
	uint64_t number;

	for (size_t i = from; i < to; i++) {
		const struct json_step *s = &plan->steps[i];

		switch (s->kind) {
		case JSON_STEP_TEXT:
			for (size_t n = 0; n < s->len; n += JSON_BLOCK)
				memcpy(p + n, plan->text + s->at + n, JSON_BLOCK);
			p += s->len;
			break;
		case JSON_STEP_COUNTER:
			memcpy(&number, base + s->field->offset, sizeof(number));
			p += number__u64(p, number);
			break;
		case JSON_STEP_FIELD:
			p = put_field(p, s->field, s->dim, base + s->field->offset);
			break;
		case JSON_STEP_LOOP:
			for (uint32_t n = 0; n < s->count; n++) {
				if (n)
					*p++ = ',';
				p = run(plan, i + 1, s->end, base + (size_t)n * s->stride, p);
			}
			i = s->end - 1;
			break;
		}
	}
	return p;
}

/* What a record takes at most is reserved at once, so that nothing else has to look at the end of the buffer. */
static int put_record(struct buf *out, const struct json_plan *plan, const unsigned char *record)
{
	int err = buf__reserve(out, plan->most);
	char *p;

	if (err)
		return err;
	p = run(plan, 0, plan->count, record, out->data + out->len);
	*p = '\0';
	out->len = (size_t)(p - out->data);
	return 0;
}

int json__record(struct buf *out, const struct layout *layout, enum json_form form,
		 const unsigned char *record)
{
	const struct json_plan *plan;
	int err = json_plan__get(layout, form, &plan);

	return err ? err : put_record(out, plan, record);
}

int json__records(struct buf *out, const struct batch *batch, enum json_form form,
		  const uint32_t *indexes, size_t count)
{
	size_t start = out->len;
	const struct json_plan *plan;
	int err = json_plan__get(batch->layout, form, &plan);

	if (!err)
		err = buf__append(out, "[", 1);
	if (!indexes && count > batch->count)
		count = batch->count;
	for (size_t i = 0; !err && i < count; i++) {
		size_t at = indexes ? indexes[i] : i;

		if (at >= batch->count)
			err = -ERANGE;
		else if (i)
			err = buf__append(out, ",", 1);
		if (!err)
			err = put_record(out, plan, batch->records + at * batch->layout->stride);
	}
	if (!err)
		err = buf__append(out, "]", 1);
	if (err && out->data) { /* takes back what was written */
		out->len = start;
		out->data[start] = '\0';
	}
	return err;
}
