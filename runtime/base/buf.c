/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf__init(struct buf *buf, size_t ceiling)
{
	*buf = (struct buf){.ceiling = ceiling};
}

int buf__reserve(struct buf *buf, size_t len)
{
	size_t need, cap;
	char *data;

	if (len > buf->ceiling || buf->len > buf->ceiling - len)
		return -EMSGSIZE;
	need = buf->len + len + 1;
	if (need <= buf->cap)
		return 0;
	cap = buf->cap ? buf->cap : 256;
	while (cap < need)
		cap *= 2;
	data = realloc(buf->data, cap);
	if (!data)
		return -ENOMEM;
	buf->data = data;
	buf->cap = cap;
	return 0;
}

int buf__append(struct buf *buf, const void *bytes, size_t len)
{
	int err = buf__reserve(buf, len);

	if (err)
		return err;
	if (len)
		memcpy(buf->data + buf->len, bytes, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
	return 0;
}

int buf__puts(struct buf *buf, const char *text)
{
	return buf__append(buf, text, strlen(text));
}

int buf__printf(struct buf *buf, const char *format, ...)
{
	va_list args, again;
	int len, err;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	err = len < 0 ? -EINVAL : buf__reserve(buf, (size_t)len);
	if (!err) {
		vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
		buf->len += (size_t)len;
	}
	va_end(again);
	return err;
}

void buf__clear(struct buf *buf)
{
	buf->len = 0;
	if (buf->data)
		buf->data[0] = '\0';
}

void buf__free(struct buf *buf)
{
	if (!buf)
		return;
	free(buf->data);
	*buf = (struct buf){.ceiling = buf->ceiling};
}
