/* SPDX-License-Identifier: Apache-2.0 */
#include "map/map_out.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define WORTH_WRITING (64UL << 10) /* what a pipe takes */
#define ROW_MAX (1UL << 30)	   /* of one record, as JSON */

void map_out__init(struct map_out *out, int fd, bool json, bool endless)
{
	*out = (struct map_out){.fd = fd, .json = json, .endless = endless};
	buf__init(&out->buf, ROW_MAX + 2 * WORTH_WRITING);
}

void map_out__free(struct map_out *out)
{
	buf__free(&out->buf);
}

int map_out__row(struct map_out *out)
{
	bool first = !out->rows++;

	if (!out->json || (out->endless && first))
		return 0;
	if (out->endless)
		return buf__append(&out->buf, "\n", 1);
	return buf__append(&out->buf, first ? "[\n" : ",\n", 2);
}

static int write_all(int fd, const char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, bytes + done, len - done);

		if (n < 0 && errno == EAGAIN) { /* somebody made it non-blocking */
			struct pollfd ready = {.fd = fd, .events = POLLOUT};

			poll(&ready, 1, 1000);
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int map_out__rows(struct map_out *out, char *rows, size_t len, uint64_t count)
{
	if (out->json && len >= 2 && !out->rows)
		rows[0] = '[';
	out->rows += count;
	return write_all(out->fd, rows, len);
}

int map_out__end(struct map_out *out)
{
	int err = 0;

	if (out->json && !out->endless)
		err = buf__puts(&out->buf, out->rows ? "\n]\n" : "[]\n");
	else if (out->json && out->rows)
		err = buf__puts(&out->buf, "\n");
	return err ? err : map_out__flush(out);
}

int map_out__flush(struct map_out *out)
{
	int err = write_all(out->fd, out->buf.data, out->buf.len);

	if (!err)
		buf__clear(&out->buf);
	return err;
}

int map_out__spill(struct map_out *out)
{
	return out->buf.len < WORTH_WRITING ? 0 : map_out__flush(out);
}

int map_out__wait(const struct map_out *out, int ms)
{
	struct pollfd gone = {.fd = out->fd};
	int n = poll(&gone, 1, ms);

	if (n < 0 && errno != EINTR)
		return -errno;
	return n > 0 && (gone.revents & (POLLERR | POLLNVAL)) ? -EPIPE : 0;
}
