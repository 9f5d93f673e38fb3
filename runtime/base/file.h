/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the process's own, and how they are written so that no reader and no crash ever finds half of one.
 *
 * All are made for their owner alone (directories 0700, files 0600). A file that belongs to somebody else, or that others may write, is
 * refused with -EACCES: whoever can write into the directory must not choose what a privileged process believes.
 */
#ifndef PERILUNE_FILE_H
#define PERILUNE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/error.h"

/* Makes a directory, and those it lies in. 0 when it is there. */
int file__make_dirs(const char *dir);

/* All of it, or -errno. */
int file__write_all(int fd, const void *bytes, size_t len);

/* Opens a regular file of our own for reading, links at its end not followed: a descriptor with *st filled, or -errno. */
int file__open_own(const char *path, struct stat *st);

/* Appends the whole of such a file to `out`, up to its ceiling (-EMSGSIZE). */
int file__read_own(const char *path, struct buf *out, struct error *error);

/*
 * Gives `path` new contents: a reader sees the old ones or all of the new ones, and after a crash of the machine too. Makes the
 * directory where it lacks.
 */
int file__replace(const char *path, const void *bytes, size_t len, struct error *error);

/* Whether a directory is our own. -EPERM: it is none, belongs to somebody else, or others may write into it. */
int file__check_own_dir(const char *path);

/* Makes a directory for its owner alone, or takes the one that is there, if it is our own. */
int file__make_own_dir(const char *path);

/*
 * Locks a directory for as long as the descriptor is open. -EBUSY: another process has it; -ENOENT: there is none; -ESTALE: another one
 * has taken its place meanwhile, to be tried again.
 */
int file__lock_dir(const char *path, int *out);

/* Removes every file of the directory `name`, of `dir` if it is no whole path. A link in its place is not followed. */
void file__empty(int dir, const char *name);

/* Removes what processes that are gone have left half written in a directory. */
void file__sweep(const char *dir);

/*
 * A file of lines that only grows. It is held by one process at a time (-EBUSY). A line that could not be written whole is taken back;
 * one that a crash left without its end is ended when the file is opened, so that the next one stands by itself.
 */
struct file_log;

int file_log__open(const char *path, struct file_log **out, struct error *error);
/* `text`: one line or several, the last with its newline. */
int file_log__write(struct file_log *log, const char *text, size_t len, struct error *error);
/* Waits until what was written is on the disk. */
int file_log__sync(struct file_log *log, struct error *error);
uint64_t file_log__size(const struct file_log *log);
void file_log__free(struct file_log *log);

/*
 * One process's claim to a name, for what several files or a rewritten one have to be kept by one process. It ends with the process.
 * -EBUSY: another has it. The file stays behind, empty.
 */
struct file_lock;

int file_lock__take(const char *path, struct file_lock **out, struct error *error);
void file_lock__free(struct file_lock *lock);

#endif
