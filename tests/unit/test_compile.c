/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "compile/compile.h"
#include "compile/compile_now.h"
#include "compile/compile_text.h"

#define GOOD                                                                                                \
	"#include <linux/bpf.h>\n__attribute__((section(\"socket\"), used)) int f(struct __sk_buff *skb)\n" \
	"{\n\treturn (int)skb->len;\n}\n"

static struct loop *loop;
static char root[64], cache[96], header[96], include[96];

static int setup(void **state)
{
	(void)state;
	unsetenv("PERILUNE_CLANG");
	strcpy(root, "/tmp/perilune-test-compile-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(cache, sizeof(cache), "%s/cache", root);
	snprintf(header, sizeof(header), "%s/own.h", root);
	snprintf(include, sizeof(include), "-I%s", root);
	setenv("PERILUNE_CACHE", cache, 1);
	return loop__new(&loop);
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	loop__free(loop);
	loop = NULL;
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

/* Returns once the clock of file times has gone on, for a file changed in the same tick is not yet
 * one to be trusted.
 */
static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *file = fopen(path, "w");
	struct timespec now;
	struct stat st;

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fchmod(fileno(file), mode), 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(stat(path, &st), 0);
	do {
		sched_yield();
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	} while (now.tv_sec < st.st_ctim.tv_sec ||
		 (now.tv_sec == st.st_ctim.tv_sec && now.tv_nsec <= st.st_ctim.tv_nsec));
}

struct outcome {
	int calls, code;
	struct error error;
	bool cached;
	double seconds;
	size_t len;
	char magic[4];
};

static void on_compiled(const struct compile_result *result, void *arg)
{
	struct outcome *o = arg;

	o->calls++;
	o->code = result->code;
	o->error = result->error;
	o->cached = result->cached;
	o->seconds = result->seconds;
	o->len = result->object_len;
	if (result->object)
		memcpy(o->magic, result->object, 4);
}

static struct outcome compile_as(const char *name, const char *source, const char *dir)
{
	const char *const args[] = {include, NULL};
	struct compile_request request = {.name = name,
					  .source = source,
					  .args = args,
					  .cache = dir};
	struct compile *compile;
	struct outcome o = {0};

	assert_int_equal(compile__start(loop, &request, on_compiled, &o, &compile), 0);
	assert_int_equal(o.calls, 0); /* never from within */
	assert_int_equal(loop__run(loop), 0);
	assert_int_equal(o.calls, 1);
	return o;
}

static void compiles_and_remembers(void **state)
{
	struct outcome first, again;

	(void)state;
	first = compile_as("<policy p>", GOOD, cache);
	assert_string_equal(first.error.message, "");
	assert_int_equal(first.code, 0);
	assert_false(first.cached);
	assert_memory_equal(first.magic, "\177ELF", 4);
	assert_true(first.seconds > 0);
	again = compile_as("<policy p>", GOOD, cache);
	assert_int_equal(again.code, 0);
	assert_true(again.cached);
	assert_int_equal(again.len, first.len);
	assert_false(compile_as("<policy q>", GOOD, cache).cached);
	assert_false(compile_as("<policy p>", GOOD "\n", cache).cached);
	assert_false(compile_as("<policy p>", GOOD, "").cached);
}

static void changed_header_compiles_again(void **state)
{
	const char *source = "#include \"own.h\"\nint a = OWN;\n";
	struct outcome o;

	(void)state;
	write_file(header, "#define OWN 1\n", 0600);
	assert_false(compile_as("p", source, cache).cached);
	assert_true(compile_as("p", source, cache).cached);
	write_file(header, "#define OWN 2\n", 0600);
	assert_false(compile_as("p", source, cache).cached);
	assert_true(compile_as("p", source, cache).cached);
	write_file(header, "#define OWM 2\n", 0600);
	o = compile_as("p", source, cache);
	assert_int_equal(o.code, -EINVAL);
	assert_string_equal(o.error.message, "p:2: use of undeclared identifier 'OWN'");
	unlink(header);
	assert_int_equal(compile_as("p", source, cache).code, -EINVAL);
}

static void errors_say_where(void **state)
{
	struct outcome o;

	(void)state;
	o = compile_as("<policy \"x\\y\">",
		       "int a;\nint f(void) { return b; }\nint g(int c) { return 1; }\n", cache);
	assert_int_equal(o.code, -EINVAL);
	assert_non_null(
		strstr(o.error.message, "<policy \"x\\y\">:2: use of undeclared identifier 'b'\n"));
	assert_ptr_equal(strstr(o.error.message, "<policy"), o.error.message);
	assert_non_null(strstr(o.error.message, "<policy \"x\\y\">:3: unused parameter 'c'"));
	write_file(header, "int fine;\nint a broken;\n", 0600);
	o = compile_as("p", "#include \"own.h\"\n", cache);
	assert_int_equal(strncmp(o.error.message, header, strlen(header)), 0);
	assert_int_equal(strncmp(o.error.message + strlen(header), ":2: expected ';'", 16), 0);
	o = compile_as("p", "#include <linux/nothing-like-it.h>\n", cache);
	assert_string_equal(o.error.message, "p:1: 'linux/nothing-like-it.h' file not found");
	assert_string_equal(o.error.hint, "apt-get install linux-libc-dev");
	o = compile_as(NULL, "#line 7 \"user.c\"\n#error no\n", NULL);
	assert_string_equal(o.error.message, "user.c:7: no");
}

static void works_without_a_writable_cache(void **state)
{
	(void)state;
	write_file(cache, "a file in its place", 0600);
	assert_int_equal(compile_as("p", GOOD, cache).code, 0);
	assert_int_equal(compile_as("p", GOOD, cache).code, 0);
}

static void fake_clang(const char *script)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/fake", root);
	write_file(path, script, 0700);
	setenv("PERILUNE_CLANG", path, 1);
}

static void strange_compilers_are_survived(void **state)
{
	struct outcome o;

	(void)state;
	fake_clang("#!/bin/sh\ncat >/dev/null; echo hello\n");
	o = compile_as("p", GOOD, cache);
	assert_int_equal(o.code, -EIO);
	assert_non_null(strstr(o.error.message, "did not write an object"));
	fake_clang("#!/bin/sh\nexit 3\n");
	o = compile_as("p", GOOD, cache);
	assert_int_equal(o.code, -EINVAL);
	assert_string_equal(o.error.message, "clang failed without a word");
	fake_clang("#!/bin/sh\nkill -SEGV $$\n");
	o = compile_as("p", GOOD, cache);
	assert_int_equal(o.code, -EIO);
	assert_string_equal(o.error.message, "clang was ended by signal 11 (Segmentation fault)");
	fake_clang("#!/bin/sh\nexec cat /dev/zero\n");
	assert_int_equal(compile_as("p", GOOD, cache).code, -EMSGSIZE);
	fake_clang("#!/nonexistent/interpreter\n");
	assert_int_equal(compile_as("p", GOOD, cache).code, -ENOENT);
}

static void cancel(void *arg)
{
	compile__cancel(*(struct compile **)arg);
}

static void cancelling_kills_the_compiler(void **state)
{
	struct compile_request request = {.source = GOOD, .cache = ""};
	struct compile *compile;
	struct loop_timer *timer;
	struct outcome o = {0};

	(void)state;
	fake_clang("#!/bin/sh\nsleep 1000\n");
	assert_int_equal(loop_timer__new(loop, cancel, &compile, &timer), 0);
	assert_int_equal(compile__start(loop, &request, on_compiled, &o, &compile), 0);
	assert_int_equal(loop_timer__start(timer, loop__now() + 20000000), 0);
	assert_int_equal(loop__run(loop), 0);
	assert_int_equal(o.calls, 1);
	assert_int_equal(o.code, -ECANCELED);
	assert_int_equal(compile__start(loop, &request, on_compiled, &o, &compile), 0);
	compile__cancel(compile); /* before anything was started */
	assert_int_equal(o.calls, 1);
	assert_int_equal(loop__run(loop), 0);
	assert_int_equal(o.calls, 2);
	assert_int_equal(o.code, -ECANCELED);
}

static void stop(void *arg)
{
	loop__stop(arg);
}

static void end_of_the_loop_kills_the_compiler(void **state)
{
	struct compile_request request = {.source = GOOD, .cache = ""};
	struct compile *compile;
	struct loop_timer *timer;
	struct outcome o = {0};

	(void)state;
	fake_clang("#!/bin/sh\nsleep 1000\n");
	assert_int_equal(loop_timer__new(loop, stop, loop, &timer), 0);
	assert_int_equal(compile__start(loop, &request, on_compiled, &o, &compile), 0);
	assert_int_equal(loop_timer__start(timer, loop__now() + 20000000), 0);
	assert_int_equal(loop__run(loop), 0);
	assert_int_equal(o.calls, 0);
	loop__free(loop);
	loop = NULL;
	assert_int_equal(o.calls, 1);
	assert_true(o.code < 0);
}

static void the_newest_clang_is_found(void **state)
{
	char path[256], wanted[128], *old = strdup(getenv("PATH"));
	struct error error;
	struct outcome o;

	(void)state;
	setenv("PATH", root, 1);
	assert_int_equal(compile__clang(path, sizeof(path), &error), -ENOENT);
	assert_non_null(strstr(error.hint, "apt-get install clang"));
	o = compile_as("p", GOOD, cache);
	assert_int_equal(o.code, -ENOENT);
	assert_string_equal(o.error.message, error.message);

	static const char *const names[] = {"clang", "clang-13", "clang-14", "clang-9", "clang-17"};
	static const char *const found[] = {"clang", "clang", "clang-14", "clang-14", "clang-17"};

	for (int i = 0; i < 5; i++) {
		snprintf(wanted, sizeof(wanted), "%s/%s", root, names[i]);
		write_file(wanted, "#!/bin/sh\n", 0700);
		assert_int_equal(compile__clang(path, sizeof(path), &error), 0);
		snprintf(wanted, sizeof(wanted), "%s/%s", root, found[i]);
		assert_string_equal(path, wanted);
	}
	snprintf(wanted, sizeof(wanted), "%s/clang-18", root);
	assert_int_equal(mkdir(wanted, 0700), 0); /* not a program */
	setenv("PERILUNE_CLANG", "", 1);
	assert_int_equal(compile__clang(path, sizeof(path), &error), 0);
	assert_non_null(strstr(path, "/clang-17"));
	setenv("PERILUNE_CLANG", "clang-9", 1);
	assert_int_equal(compile__clang(path, sizeof(path), &error), 0);
	assert_non_null(strstr(path, "/clang-9"));
	setenv("PERILUNE_CLANG", wanted, 1);
	assert_int_equal(compile__clang(path, sizeof(path), &error), -ENOENT);
	assert_non_null(strstr(error.message, wanted));
	assert_int_equal(compile__clang(path, 4, NULL), -ENOENT);
	setenv("PATH", old, 1);
	free(old);
}

static void the_cache_directory_is_named(void **state)
{
	char path[256];
	char *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;

	(void)state;
	setenv("PERILUNE_CACHE", "/a", 1);
	setenv("XDG_CACHE_HOME", "/b", 1);
	setenv("HOME", "/c", 1);
	assert_int_equal(compile__cache_dir(path, sizeof(path)), 0);
	assert_string_equal(path, "/a");
	unsetenv("PERILUNE_CACHE");
	assert_int_equal(compile__cache_dir(path, sizeof(path)), 0);
	assert_string_equal(path, "/b/perilune");
	setenv("XDG_CACHE_HOME", "relative", 1);
	assert_int_equal(compile__cache_dir(path, sizeof(path)), 0);
	assert_string_equal(path, "/c/.cache/perilune");
	assert_int_equal(compile__cache_dir(path, 5), -ENAMETOOLONG);
	unsetenv("HOME");
	assert_int_equal(compile__cache_dir(path, sizeof(path)), -ENOENT);
	unsetenv("XDG_CACHE_HOME");
	if (home)
		setenv("HOME", home, 1);
	free(home);
}

static void diagnostics_are_told_in_our_order(void **state)
{
	static char many[40 * 120];
	struct error error;

	(void)state;
	compile_text__errors(
		"In file included from <policy p>:4:\n"
		"/t/flows/template.bpf.h:12:7: warning: odd [-Wodd]\n"
		"/t/flows/template.bpf.h:30:5: error: no member named 'x' in 'struct packet'\n"
		"  30 | p->x\n"
		"<policy p>:9:1: note: expanded from macro 'Y'\n"
		"1 warning and 1 error generated.\n",
		"", &error);
	assert_string_equal(error.message,
			    "/t/flows/template.bpf.h:30: no member named 'x' in 'struct packet'\n"
			    "/t/flows/template.bpf.h:12: warning: odd [-Wodd]\n"
			    "<policy p>:9: note: expanded from macro 'Y'");
	compile_text__errors("clang: error: unknown argument: '-Q'\n", "", &error);
	assert_string_equal(error.message, "clang: unknown argument: '-Q'");
	compile_text__errors("error: <unknown>:0:0: in function f: too much stack", "", &error);
	assert_string_equal(error.message, "clang: <unknown>:0:0: in function f: too much stack");
	compile_text__errors("a.c:3: fatal error: 'x: error: y' file not found", "", &error);
	assert_string_equal(error.message, "a.c:3: 'x: error: y' file not found");
	compile_text__errors("sh: 1: no\n\n", "", &error);
	assert_string_equal(error.message, "clang failed: sh: 1: no");
	compile_text__errors("", "nothing", &error);
	assert_string_equal(error.message, "nothing");
	compile_text__errors(
		"error: unable to create target: 'No available targets are compatible'\n", "",
		&error);
	assert_non_null(strstr(error.hint, "BPF target"));
	for (int i = 0; i < 40; i++)
		strcat(many,
		       "some/file.c:1:2: error: a message that is long enough to fill what there is of room soon\n");
	compile_text__errors(many, "", &error);
	assert_true(strlen(error.message) > 1800);
	assert_string_equal(error.message + strlen(error.message) - 5, " soon"); /* whole lines */
	memset(many, 'x', sizeof(many) - 1);
	memcpy(many, "a.c:1: error: ", 14);
	compile_text__errors(many, "", &error);
	assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
}

struct within {
	struct compile_now now;
	int code;
};

static void compile_within(void *arg)
{
	const char *const args[] = {include, NULL};
	struct compile_request request = {.name = "<now>",
					  .source = GOOD,
					  .args = args,
					  .cache = cache};
	struct within *within = arg;
	struct error error = {0};

	within->code = compile__now(&request, &within->now, &error);
	assert_string_equal(error.message, "");
}

/* Also from a callback of the loop, which is not entered again. */
static void the_caller_can_wait(void **state)
{
	const char *const args[] = {include, NULL};
	struct compile_request bad = {.name = "<bad>",
				      .source = "int x\n",
				      .args = args,
				      .cache = cache};
	struct within first = {.code = 1}, again = {.code = 1};
	struct compile_now now;
	struct loop_timer *timer;
	struct error error = {0};

	(void)state;
	compile_within(&first);
	assert_int_equal(first.code, 0);
	assert_false(first.now.cached);
	assert_memory_equal(first.now.object.data, "\177ELF", 4);
	assert_int_equal(loop_timer__new(loop, compile_within, &again, &timer), 0);
	assert_int_equal(loop_timer__start(timer, loop__now()), 0);
	assert_int_equal(loop__run(loop), 0);
	loop_timer__free(timer);
	assert_int_equal(again.code, 0);
	assert_true(again.now.cached);
	assert_int_equal(again.now.object.len, first.now.object.len);
	buf__free(&first.now.object);
	buf__free(&again.now.object);
	assert_int_equal(compile__now(&bad, &now, &error), -EINVAL);
	assert_non_null(strstr(error.message, "<bad>:1: "));
	assert_int_equal(now.object.len, 0);
	buf__free(&now.object);
}

static void dependencies_are_read(void **state)
{
	char rule[] =
		"-: /usr/include/a.h \\\n  /with\\ space/b.h /dollar$$.h \\\n /hash\\#.h - <stdin>\n",
	     none[] = "-:\n";
	char **names;

	(void)state;
	assert_int_equal(compile_text__headers(rule, &names), 0);
	assert_string_equal(names[0], "/usr/include/a.h");
	assert_string_equal(names[1], "/with space/b.h");
	assert_string_equal(names[2], "/dollar$.h");
	assert_string_equal(names[3], "/hash#.h");
	assert_null(names[4]);
	free(names);
	assert_int_equal(compile_text__headers(none, &names), 0);
	assert_null(names[0]);
	free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(compiles_and_remembers, setup, teardown),
		cmocka_unit_test_setup_teardown(changed_header_compiles_again, setup, teardown),
		cmocka_unit_test_setup_teardown(errors_say_where, setup, teardown),
		cmocka_unit_test_setup_teardown(works_without_a_writable_cache, setup, teardown),
		cmocka_unit_test_setup_teardown(strange_compilers_are_survived, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelling_kills_the_compiler, setup, teardown),
		cmocka_unit_test_setup_teardown(end_of_the_loop_kills_the_compiler, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_newest_clang_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(the_cache_directory_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(the_caller_can_wait, setup, teardown),
		cmocka_unit_test(diagnostics_are_told_in_our_order),
		cmocka_unit_test(dependencies_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
