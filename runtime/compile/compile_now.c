/* SPDX-License-Identifier: Apache-2.0 */
#include "compile/compile_now.h"

#include <string.h>

#define OBJECT_MAX (16UL << 20)

struct waiting {
	struct compile_now *out;
	struct error *error;
	int code;
};

static void on_compiled(const struct compile_result *result, void *arg)
{
	struct waiting *waiting = arg;

	waiting->code = result->code;
	waiting->out->cached = result->cached;
	waiting->out->seconds = result->seconds;
	if (result->code) {
		*waiting->error = result->error;
		return;
	}
	waiting->code = buf__append(&waiting->out->object, result->object, result->object_len);
	if (waiting->code)
		error__set(waiting->error, waiting->code, "cannot keep the object: %s",
			   strerror(-waiting->code));
}

int compile__now(const struct compile_request *request, struct compile_now *out,
		 struct error *error)
{
	struct waiting waiting = {.out = out, .error = error};
	struct compile *compile;
	struct loop *loop;
	int err = loop__new(&loop);

	buf__init(&out->object, OBJECT_MAX);
	if (err)
		return error__set(error, err, "cannot start compiling: %s", strerror(-err));
	err = compile__start(loop, request, on_compiled, &waiting, &compile);
	if (!err)
		err = loop__run(loop);
	if (err)
		error__set(error, err, "cannot start compiling: %s", strerror(-err));
	loop__free(loop);
	return err ? err : waiting.code;
}
