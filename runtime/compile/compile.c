/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "compile/compile.h"

#include <errno.h>
#include <limits.h>
#include <sha256.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "compile/cache.h"
#include "compile/compile_text.h"

#define OUTPUT_MAX (16UL << 20) /* of an object; they are some 100 kB */
#define SOURCE_MAX (16UL << 20)
#define KEY_VERSION "perilune compile 2"

/*
 * Debian's multiarch directory, where <asm/types.h> is and where a clang for the BPF target does
 * not look.
 */
#if defined(__x86_64__)
#define MULTIARCH "/usr/include/x86_64-linux-gnu"
#elif defined(__aarch64__)
#define MULTIARCH "/usr/include/aarch64-linux-gnu"
#elif defined(__riscv)
#define MULTIARCH "/usr/include/riscv64-linux-gnu"
#elif defined(__powerpc64__)
#define MULTIARCH "/usr/include/powerpc64le-linux-gnu"
#elif defined(__s390x__)
#define MULTIARCH "/usr/include/s390x-linux-gnu"
#else
#define MULTIARCH "/usr/include/arm-linux-gnueabihf"
#endif

static const char *const first_args[] = {
	"-target",
	"bpf",
	"-mcpu=v3",
	"-O2",
	"-g",
	"-Wall",
	"-Wextra",
	"-Werror",
	"-fno-color-diagnostics",
	"-fno-caret-diagnostics",
	"-fno-crash-diagnostics",    /* they would be temporary files */
	"-fdebug-compilation-dir=/", /* the same object from wherever it is compiled */
	"-idirafter",
	MULTIARCH,
	NULL,
};
static const char *const last_args[] = {"-MD", "-MF", "/dev/fd/3", "-c", "-x",
					"c",   "-o",  "-",	   "-",	 NULL};

/*
 * lookup (worker) → clang (child) → store (worker) → finish; each may be left out and begins on the
 * loop.
 */
struct compile {
	struct loop *loop;
	compile_fn fn;
	void *arg;
	char **argv;
	struct buf source; /* with a #line that gives it its name */
	char *cache;	   /* NULL: none */
	char key[CACHE_KEY_LEN + 1];
	char any_key[CACHE_KEY_LEN + 1]; /* whatever compiler it was: holds the last one's key */
	struct error no_clang;		 /* why there is none, if so */
	uint64_t started;		 /* monotonic, ns */
	struct timespec started_on;	 /* by the clock of the file systems */
	bool cancelled;
	struct loop_child *child; /* while it runs */
	struct buf object, headers;
	struct compile_result result;
};

static void compile__free(struct compile *compile)
{
	for (char **arg = compile->argv; arg && *arg; arg++)
		free(*arg);
	free(compile->argv);
	free(compile->cache);
	buf__free(&compile->source);
	buf__free(&compile->object);
	buf__free(&compile->headers);
	free(compile);
}

static void finish(struct compile *compile)
{
	struct compile_result *result = &compile->result;

	if (compile->cancelled)
		result->code = error__set(&result->error, -ECANCELED, "compiling was cancelled");
	if (!result->code) {
		result->object = compile->object.data;
		result->object_len = compile->object.len;
	}
	result->seconds = (double)(loop__now() - compile->started) / 1e9;
	compile->fn(result, compile->arg);
	compile__free(compile);
}

/*
 * A header that changed while clang ran may have been read before or after: there is nothing to
 * keep then.
 */
static bool changed_since(const char *path, const struct timespec *then)
{
	struct stat st;

	if (stat(path, &st))
		return true;
	return st.st_ctim.tv_sec > then->tv_sec ||
	       (st.st_ctim.tv_sec == then->tv_sec && st.st_ctim.tv_nsec >= then->tv_nsec);
}

static void store(void *arg)
{
	struct compile *compile = arg;
	char **headers = NULL;
	bool changed = false;

	/* Nothing of this can fail a compilation; at worst the next one takes as long. */
	if (!compile->headers.data || compile_text__headers(compile->headers.data, &headers))
		return;
	for (char **path = headers; *path && !changed; path++)
		changed = changed_since(*path, &compile->started_on);
	if (!changed &&
	    !cache__put(compile->cache, compile->key, (const char *const *)headers,
			compile->object.data, compile->object.len) &&
	    !cache__put(compile->cache, compile->any_key, NULL, compile->key, CACHE_KEY_LEN))
		cache__trim(compile->cache, CACHE_MAX_BYTES);
	free(headers);
}

static void on_stored(void *arg)
{
	finish(arg);
}

static int judge(const struct compile *compile, const struct loop_child_result *child,
		 struct error *error)
{
	const char *text = child->errors.data ? child->errors.data : "";

	if (child->overflow)
		return error__set(error, -EMSGSIZE, "clang wrote more than %lu MB",
				  OUTPUT_MAX >> 20);
	if (child->signal)
		return error__set(error, -EIO, "clang was ended by signal %d (%s)", child->signal,
				  strsignal(child->signal));
	if (child->status) {
		compile_text__errors(text, "clang failed without a word", error);
		return -EINVAL;
	}
	if (child->output.len < 4 || memcmp(child->output.data, "\177ELF", 4) != 0)
		return error__set(error, -EIO, "%s did not write an object", compile->argv[0]);
	return 0;
}

static void on_clang(struct loop_child_result *child, void *arg)
{
	struct compile *compile = arg;

	compile->child = NULL;
	if (!compile->cancelled)
		compile->result.code = judge(compile, child, &compile->result.error);
	if (compile->cancelled || compile->result.code) {
		finish(compile);
		return;
	}
	compile->object = child->output; /* taken, not copied */
	compile->headers = child->extra;
	child->output = child->extra = (struct buf){0};
	if (!compile->cache || loop__work(compile->loop, store, on_stored, compile))
		finish(compile);
}

static void run_clang(struct compile *compile)
{
	struct loop_child_spec spec = {
		.argv = (const char *const *)compile->argv,
		.input = compile->source.data,
		.input_len = compile->source.len,
		.ceiling = OUTPUT_MAX,
		.extra = true,
	};
	int err;

	clock_gettime(CLOCK_REALTIME_COARSE, &compile->started_on);
	err = loop_child__start(compile->loop, &spec, on_clang, compile, &compile->child);
	if (!err)
		return;
	compile->result.code = error__set(&compile->result.error, err, "cannot run %s: %s",
					  compile->argv[0], strerror(-err));
	finish(compile);
}

/* Where there is no clang, under the key of the last one that compiled it. */
static int look(struct compile *compile, bool without)
{
	char key[CACHE_KEY_LEN + 1] = "";
	struct buf last;
	int err;

	if (!without)
		return cache__get(compile->cache, compile->key, &compile->object);
	buf__init(&last, CACHE_KEY_LEN);
	err = cache__get(compile->cache, compile->any_key, &last);
	if (!err && last.len == CACHE_KEY_LEN)
		memcpy(key, last.data, last.len);
	buf__free(&last);
	return err ? err : cache__get(compile->cache, key, &compile->object);
}

static void lookup(void *arg)
{
	struct compile *compile = arg;
	bool without = compile->no_clang.message[0];

	if (compile->result.code)
		return;
	if (compile->cache)
		compile->result.cached = !look(compile, without);
	if (without && !compile->result.cached) {
		compile->result.code = -ENOENT;
		compile->result.error = compile->no_clang;
	}
}

static void on_looked_up(void *arg)
{
	struct compile *compile = arg;

	if (compile->cancelled || compile->result.code || compile->result.cached)
		finish(compile);
	else
		run_clang(compile);
}

static int make_argv(struct compile *compile, const char *clang, const char *const *args)
{
	const char *const clangs[] = {clang, NULL};
	const char *const *parts[] = {clangs, first_args, args, last_args};
	size_t count = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		for (const char *const *arg = parts[i]; arg && *arg; arg++)
			count++;
	compile->argv = calloc(count + 1, sizeof(*compile->argv));
	if (!compile->argv)
		return -ENOMEM;
	count = 0;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		for (const char *const *arg = parts[i]; arg && *arg; arg++)
			if (!(compile->argv[count++] = strdup(*arg)))
				return -ENOMEM;
	return 0;
}

static int make_source(struct compile *compile, const char *name, const char *source)
{
	int err = buf__puts(&compile->source, "#line 1 \"");

	for (name = name ? name : "<source>"; *name && !err; name++) {
		if (*name == '"' || *name == '\\')
			err = buf__append(&compile->source, "\\", 1);
		if (!err)
			err = buf__append(&compile->source, *name == '\n' ? " " : name, 1);
	}
	if (!err)
		err = buf__puts(&compile->source, "\"\n");
	return err ? err : buf__puts(&compile->source, source);
}

static void hash(SHA256_CTX *sha, const void *bytes, size_t len)
{
	uint64_t prefix = len; /* so that no two lists of parts look alike */

	SHA256_Update(sha, (const uint8_t *)&prefix, sizeof(prefix));
	SHA256_Update(sha, bytes, len);
}

/* Whatever the object depends on, except for what the headers hold; of the compiler, if it is given. */
static void make_key(const struct compile *compile, const struct stat *clang,
		     char key[CACHE_KEY_LEN + 1])
{
	static const char *const variables[] = {"CPATH", "C_INCLUDE_PATH", NULL};
	SHA256_CTX sha;

	SHA256_Init(&sha);
	hash(&sha, KEY_VERSION, strlen(KEY_VERSION));
	if (clang) {
		hash(&sha, &clang->st_size, sizeof(clang->st_size));
		hash(&sha, &clang->st_mtim.tv_sec, sizeof(clang->st_mtim.tv_sec));
		hash(&sha, &clang->st_mtim.tv_nsec, sizeof(clang->st_mtim.tv_nsec));
	}
	for (const char *const *name = variables; *name; name++) {
		const char *value = getenv(*name);

		hash(&sha, value ? value : "", value ? strlen(value) : 0);
	}
	for (char **arg = compile->argv + !clang; *arg; arg++)
		hash(&sha, *arg, strlen(*arg));
	hash(&sha, compile->source.data, compile->source.len);
	SHA256_End(&sha, key);
}

static int make_keys(struct compile *compile)
{
	struct stat st;

	make_key(compile, NULL, compile->any_key);
	if (compile->no_clang.message[0])
		return 0;
	if (stat(compile->argv[0], &st))
		return -errno;
	make_key(compile, &st, compile->key);
	return 0;
}

static int prepare(struct compile *compile, const struct compile_request *request)
{
	struct error *error = &compile->result.error;
	char path[PATH_MAX] = "clang";
	int err;

	/* What was compiled before needs none. */
	compile__clang(path, sizeof(path), &compile->no_clang);
	err = make_argv(compile, path, request->args);
	if (!err)
		err = make_source(compile, request->name, request->source);
	if (!err)
		err = make_keys(compile);
	if (err)
		return error__set(error, err, "cannot compile: %s", strerror(-err));
	if (request->cache ? *request->cache != '\0' : !compile__cache_dir(path, sizeof(path)))
		compile->cache = strdup(request->cache ? request->cache : path);
	return 0;
}

int compile__start(struct loop *loop, const struct compile_request *request, compile_fn fn,
		   void *arg, struct compile **out)
{
	struct compile *compile = calloc(1, sizeof(*compile));
	int err;

	if (!compile)
		return -ENOMEM;
	compile->loop = loop;
	compile->fn = fn;
	compile->arg = arg;
	compile->started = loop__now();
	buf__init(&compile->source, SOURCE_MAX);
	buf__init(&compile->object, OUTPUT_MAX);
	compile->result.code = prepare(compile, request);
	err = loop__work(loop, lookup, on_looked_up, compile);
	if (err)
		compile__free(compile);
	else
		*out = compile;
	return err;
}

void compile__cancel(struct compile *compile)
{
	compile->cancelled = true;
	if (compile->child)
		loop_child__kill(compile->child);
}
