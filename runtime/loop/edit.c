/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "loop/edit.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "base/buf.h"

#define LINE_MAX_BYTES (1 << 20) /* of one line that is no terminal's */
#define READ_BYTES 4096
#define ESCAPE 0x1b
#define KEY_NS 100000000 /* how long the rest of a key may take */
#define CTRL_D '\004'	 /* libedit's way to say that it was typed on an empty line */

struct edit {
	struct loop *loop;
	struct edit_spec spec;
	EditLine *el; /* NULL: lines are read as they come */
	History *history;
	char *history_file, *prompt;
	struct loop_watch *watch; /* while a line is asked for */
	struct loop_timer
		*again;	    /* keeps the loop running meanwhile, and reads what cannot be watched */
	struct buf pending; /* of input that is no terminal: what follows the last line */
	bool reading;
	bool busy,
		freed; /* in a callback of ours: who frees it then is heard when that has returned */
};

static void on_input(void *arg);

/* libedit asks for its owner's data by this. */
static struct edit *owner(EditLine *el)
{
	struct edit *edit = NULL;

	el_get(el, EL_CLIENTDATA, &edit);
	return edit;
}

static const char *show_prompt(EditLine *el)
{
	return owner(el)->prompt;
}

static void complete(struct edit *edit)
{
	const LineInfo *line = el_line(edit->el);

	edit->spec.complete(line->buffer, (size_t)(line->cursor - line->buffer), edit->spec.arg);
	if (edit->reading)
		el_set(edit->el, EL_REFRESH);
}

/* Bytes that the first key of these is made of; 0 when it is not whole yet: nobody must wait for the rest of it. */
static size_t key_length(const unsigned char *bytes, size_t len)
{
	size_t i = 2;

	if (!len)
		return 0;
	if (bytes[0] >= 0xc2 && bytes[0] <= 0xf4) /* UTF-8 */
		i = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
	else if (bytes[0] != ESCAPE)
		return 1;
	else if (len > 1 && (bytes[1] == '[' || bytes[1] == 'O'))
		do { /* ECMA-48: parameters, then a final byte */
			if (i == len)
				return 0;
		} while (bytes[i++] < 0x40);
	return i <= len ? i : 0;
}

static void drop(struct edit *edit, size_t bytes)
{
	edit->pending.len -= bytes;
	memmove(edit->pending.data, edit->pending.data + bytes, edit->pending.len);
}

/* libedit asks for a character: there is one, or it is a command that wants more than its key, and gets none. */
static int get_char(EditLine *el, wchar_t *out)
{
	struct edit *edit = owner(el);
	mbstate_t state = {0};
	size_t used;

	if (!edit->pending.len)
		return 0;
	used = mbrtowc(out, edit->pending.data, edit->pending.len, &state);
	if (!used || used > edit->pending.len) {
		*out = L'?';
		used = 1;
	}
	drop(edit, used);
	return 1;
}

static void open_history(struct edit *edit)
{
	HistEvent event;

	edit->history = history_init();
	if (!edit->history)
		return;
	history(edit->history, &event, H_SETSIZE, edit->spec.history_most);
	history(edit->history, &event, H_SETUNIQUE, 1);
	if (edit->history_file)
		history(edit->history, &event, H_LOAD, edit->history_file);
	el_set(edit->el, EL_HIST, history, edit->history);
}

/* What terminals send that libedit's own table may lack: home, end, delete, and a word back and forth. */
static const char *const keys[][2] = {
	{"\033[H", "ed-move-to-beg"},	    {"\033OH", "ed-move-to-beg"},
	{"\033[1~", "ed-move-to-beg"},	    {"\033[F", "ed-move-to-end"},
	{"\033OF", "ed-move-to-end"},	    {"\033[4~", "ed-move-to-end"},
	{"\033[3~", "ed-delete-next-char"}, {"\033[1;5D", "ed-prev-word"},
	{"\033[1;5C", "em-next-word"},
};

/* Only what a person sits at is edited. */
static void open_editor(struct edit *edit)
{
	const char *term = getenv("TERM");

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || !term || !strcmp(term, "dumb"))
		return;
	if (!strcmp(setlocale(LC_CTYPE, ""), "C"))
		setlocale(LC_CTYPE, "C.UTF-8"); /* what a terminal of today speaks */
	edit->el = el_init(edit->spec.program, stdin, stdout, stderr);
	if (!edit->el)
		return;
	el_set(edit->el, EL_CLIENTDATA, edit);
	el_set(edit->el, EL_PROMPT, show_prompt);
	el_set(edit->el, EL_GETCFN, get_char);
	el_set(edit->el, EL_EDITOR, "emacs");
	el_set(edit->el, EL_SIGNAL, 0);
	open_history(edit);
	el_source(edit->el, NULL);
	el_set(edit->el, EL_BIND, "^R", "ed-search-prev-history", NULL);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		el_set(edit->el, EL_BIND, keys[i][0], keys[i][1], NULL);
}

int edit__new(struct loop *loop, const struct edit_spec *spec, struct edit **out,
	      struct error *error)
{
	struct edit *edit = calloc(1, sizeof(*edit));
	int err = edit ? loop_timer__new(loop, on_input, edit, &edit->again) : -ENOMEM;

	if (err) {
		free(edit);
		return error__set(error, err, "cannot read lines: %s", strerror(-err));
	}
	edit->loop = loop;
	edit->spec = *spec;
	edit->history_file = spec->history ? strdup(spec->history) : NULL;
	edit->spec.history = NULL; /* the caller's */
	buf__init(&edit->pending, LINE_MAX_BYTES);
	open_editor(edit);
	*out = edit;
	return 0;
}

static void stop_reading(struct edit *edit)
{
	edit->reading = false;
	loop_watch__free(edit->watch);
	edit->watch = NULL;
	loop_timer__stop(edit->again);
	if (edit->el)
		el_set(edit->el, EL_UNBUFFERED, 0); /* also puts the terminal as it was */
}

static void destroy(struct edit *edit)
{
	if (edit->history)
		history_end(edit->history);
	if (edit->el)
		el_end(edit->el);
	loop_timer__free(edit->again);
	buf__free(&edit->pending);
	free(edit->history_file);
	free(edit->prompt);
	free(edit);
}

void edit__free(struct edit *edit)
{
	if (!edit)
		return;
	if (edit->reading)
		stop_reading(edit);
	edit->freed = true;
	if (!edit->busy)
		destroy(edit);
}

bool edit__is_tty(const struct edit *edit)
{
	return edit->el;
}

static void give(struct edit *edit, const char *text, size_t len)
{
	stop_reading(edit);
	edit->spec.line(text, len, edit->spec.arg);
}

/* libedit takes one key, and hands out the line when it is whole. */
static void take_key(struct edit *edit)
{
	int count = 0;
	const char *text = el_gets(edit->el, &count);

	if (!text || count <= 0) /* the line is empty */
		return;
	if (text[count - 1] == '\n' || text[count - 1] == '\r') {
		char *line = strndup(text, (size_t)count - 1);

		give(edit, line ? line : "", line ? (size_t)count - 1 : 0);
		free(line);
	} else if (count == 1 && text[0] == CTRL_D) {
		give(edit, NULL, 0);
	}
}

static bool input_waits(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static void take_keys(struct edit *edit)
{
	unsigned char bytes[READ_BYTES];
	ssize_t n = 0;

	if (input_waits()) {
		n = read(STDIN_FILENO, bytes, sizeof(bytes));
		if (!n || (n < 0 && errno != EINTR && errno != EAGAIN))
			return give(edit, NULL, 0); /* the terminal is gone */
	}
	if (n > 0 && buf__append(&edit->pending, bytes, (size_t)n))
		buf__clear(&edit->pending);
	if (n <= 0 && edit->pending.len && edit->pending.data[0] == ESCAPE)
		drop(edit, 1); /* a key by itself, which means nothing */
	while (edit->reading &&
	       key_length((unsigned char *)edit->pending.data, edit->pending.len)) {
		if (edit->pending.data[0] == '\t') {
			drop(edit, 1);
			complete(edit);
		} else {
			take_key(edit);
		}
	}
}

/* The first line of what is pending, if it is whole (or the last of all). */
static bool give_pending(struct edit *edit, bool last)
{
	char *end = edit->pending.len ? memchr(edit->pending.data, '\n', edit->pending.len) : NULL;
	size_t len = end ? (size_t)(end - edit->pending.data) : edit->pending.len;
	char *line;

	if (!end && !(last && len))
		return false;
	line = strndup(edit->pending.data, len);
	drop(edit, end ? len + 1 : len);
	give(edit, line ? line : "", line ? strlen(line) : 0);
	free(line);
	return true;
}

static void read_more(struct edit *edit)
{
	char bytes[READ_BYTES];
	ssize_t n;

	if (give_pending(edit, false))
		return;
	n = read(STDIN_FILENO, bytes, sizeof(bytes));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0 && !buf__append(&edit->pending, bytes, (size_t)n)) {
		give_pending(edit, false);
		return;
	}
	if (!give_pending(edit, true))
		give(edit, NULL, 0);
}

/* When to look again without being told that there is input. */
static uint64_t next_look(const struct edit *edit)
{
	if (edit->el)
		return edit->pending.len ? loop__now() + KEY_NS : UINT64_MAX / 2;
	return edit->watch ? UINT64_MAX / 2 : loop__now();
}

static void on_input(void *arg)
{
	struct edit *edit = arg;

	edit->busy = true;
	if (edit->el)
		take_keys(edit);
	else
		read_more(edit);
	edit->busy = false;
	if (edit->freed)
		destroy(edit);
	else if (edit->reading)
		loop_timer__start(edit->again, next_look(edit));
}

int edit__prompt(struct edit *edit, const char *prompt)
{
	char *copy = strdup(prompt);

	if (!copy)
		return -ENOMEM;
	free(edit->prompt);
	edit->prompt = copy;
	edit->reading = true;
	/* A file is always ready, and the kernel refuses to watch it; so is what has been read already. */
	if (edit->el || !edit->pending.len)
		loop_watch__new(edit->loop, STDIN_FILENO, on_input, edit, &edit->watch);
	if (edit->el) {
		fflush(stdout);
		el_set(edit->el, EL_UNBUFFERED, 1);
	}
	return loop_timer__start(edit->again, edit->pending.len ? loop__now() : next_look(edit));
}

void edit__discard(struct edit *edit)
{
	if (!edit->reading)
		return;
	if (edit->el) {
		el_reset(edit->el);
		buf__clear(&edit->pending);
	}
	stop_reading(edit);
}

/* Columns and rows do not matter: the line being typed is cleared from its first row on, written over, and drawn anew. */
void edit__above(struct edit *edit, const char *text, size_t len)
{
	bool shown = edit->el && edit->reading;

	if (shown)
		fputs("\r\033[J", stdout);
	fwrite(text, 1, len, stdout);
	fflush(stdout);
	if (shown) {
		el_set(edit->el, EL_REFRESH);
		fflush(stdout);
	}
}

void edit__insert(struct edit *edit, const char *text)
{
	if (edit->el && edit->reading)
		el_insertstr(edit->el, text);
}

void edit__resize(struct edit *edit)
{
	if (edit->el)
		el_resize(edit->el);
}

static void save_history(History *lines, const char *path)
{
	HistEvent event;
	mode_t mask = umask(0177); /* what somebody typed is nobody else's */

	history(lines, &event, H_SAVE, path);
	umask(mask);
}

void edit__remember(struct edit *edit, const char *line)
{
	HistEvent event;

	if (!edit->history)
		return;
	history(edit->history, &event, H_ENTER, line);
	if (edit->history_file)
		save_history(edit->history, edit->history_file);
}
