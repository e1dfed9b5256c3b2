/* Writes down every change that a process makes below one folder, in order, with its data.
 *
 * LD_PRELOAD it with POWERCUT_ROOT=/absolute/folder and POWERCUT_JOURNAL=/a/file/elsewhere;
 * powercut.py reads the journal. A mutex is held around each call and its record, so that the order
 * of the journal is the order of the changes, whichever threads made them. What it cannot follow
 * (sendfile, symlinks, ...) it writes down as an 'X', and the reader refuses the journal.
 * Only the process itself is recorded: its children neither inherit the library nor the journal.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define HANDLES 65536

/* The function behind ours, looked up once; a race looks it up twice, which does no harm. */
#define REAL(name)                                                                                \
    ({                                                                                            \
        static __typeof__(&name) behind;                                                          \
        if (!behind) behind = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                         \
        behind;                                                                                   \
    })

struct record { /* "<c3xiqII" */
    char kind;
    char padding[3];
    int32_t handle;
    int64_t number; /* an offset, a size or flags */
    uint32_t first; /* bytes that follow: a path or data, */
    uint32_t second; /* and a second path */
};

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char root[PATH_MAX];
static size_t root_length;
static unsigned char followed[HANDLES];

static void stop_recording(void) { journal = -1; }

__attribute__((constructor)) static void start_recording(void)
{
    const char *folder = getenv("POWERCUT_ROOT"), *file = getenv("POWERCUT_JOURNAL");
    if (!folder || !file) return;
    root_length = strlen(strncpy(root, folder, sizeof root - 1));
    int handle = REAL(open)(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    journal = fcntl(handle, F_DUPFD_CLOEXEC, 900); /* out of the way of the process's own */
    if (journal < 0) abort();
    REAL(close)(handle);
    pthread_atfork(NULL, NULL, stop_recording);
    unsetenv("LD_PRELOAD");
    unsetenv("POWERCUT_ROOT");
    unsetenv("POWERCUT_JOURNAL");
}

static void put(char kind, int handle, int64_t number, const void *first, size_t first_length,
                const void *second, size_t second_length)
{
    int kept = errno;
    struct record head = {kind, {0}, handle, number, first_length, second_length};
    struct iovec parts[] = {{&head, sizeof head},
                            {(void *)first, first_length},
                            {(void *)second, second_length}};
    ssize_t whole = sizeof head + first_length + second_length;
    if (REAL(writev)(journal, parts, 3) != whole) abort();
    errno = kept;
}

/* The path below the root, "" for the root itself; NULL where it is elsewhere. */
static const char *below(int folder, const char *path, char *full)
{
    char base[PATH_MAX] = "", link[64];
    if (journal < 0 || !path) return NULL;
    if (path[0] != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return NULL;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0) return NULL;
            base[length] = 0;
        }
    }
    int length = snprintf(full, PATH_MAX, "%s%s%s", base, *base ? "/" : "", path);
    while (length > 1 && full[length - 1] == '/') full[--length] = 0;
    if (strncmp(full, root, root_length)) return NULL;
    if (full[root_length] == 0) return "";
    if (full[root_length] != '/') return NULL;
    if (strstr(full, "/../") || strstr(full, "/./") || strstr(full, "//"))
        put('X', 0, 0, full, strlen(full), NULL, 0);
    return full + root_length + 1;
}

static int is_followed(int handle)
{
    return journal >= 0 && handle >= 0 && handle < HANDLES && followed[handle];
}

static int refused(const char *call)
{
    pthread_mutex_lock(&order);
    put('X', 0, 0, call, strlen(call), NULL, 0);
    pthread_mutex_unlock(&order);
    errno = EINVAL;
    return -1;
}

/* Files and folders by name. */

static int opened(int folder, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    const char *name = below(folder, path, full);
    if (!name) return REAL(openat)(folder, path, flags, mode);
    pthread_mutex_lock(&order);
    int handle = REAL(openat)(folder, path, flags, mode);
    if (handle >= HANDLES) abort();
    if (handle >= 0) {
        followed[handle] = 1;
        put('O', handle, flags, name, strlen(name), NULL, 0);
    }
    pthread_mutex_unlock(&order);
    return handle;
}

#define MODE_OF(flags)                                                                            \
    ({                                                                                            \
        mode_t mode = 0;                                                                          \
        if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                  \
            va_list rest;                                                                         \
            va_start(rest, flags);                                                                \
            mode = va_arg(rest, mode_t);                                                          \
            va_end(rest);                                                                         \
        }                                                                                         \
        mode;                                                                                     \
    })

int open(const char *path, int flags, ...) { return opened(AT_FDCWD, path, flags, MODE_OF(flags)); }
int open64(const char *path, int flags, ...)
{
    return opened(AT_FDCWD, path, flags, MODE_OF(flags));
}
int openat(int folder, const char *path, int flags, ...)
{
    return opened(folder, path, flags, MODE_OF(flags));
}
int openat64(int folder, const char *path, int flags, ...)
{
    return opened(folder, path, flags, MODE_OF(flags));
}
int creat(const char *path, mode_t mode)
{
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* One name changes: CALL runs with the mutex held and is written down where it succeeded. */
#define NAMED(kind, folder, path, CALL)                                                           \
    do {                                                                                          \
        char full[PATH_MAX];                                                                      \
        const char *name = below(folder, path, full);                                             \
        if (!name) return CALL;                                                                   \
        pthread_mutex_lock(&order);                                                               \
        int result = CALL;                                                                        \
        if (result == 0) put(kind, 0, 0, name, strlen(name), NULL, 0);                            \
        pthread_mutex_unlock(&order);                                                             \
        return result;                                                                            \
    } while (0)

int unlink(const char *path) { NAMED('U', AT_FDCWD, path, REAL(unlink)(path)); }
int rmdir(const char *path) { NAMED('U', AT_FDCWD, path, REAL(rmdir)(path)); }
int unlinkat(int folder, const char *path, int flags)
{
    NAMED('U', folder, path, REAL(unlinkat)(folder, path, flags));
}
int mkdir(const char *path, mode_t mode) { NAMED('M', AT_FDCWD, path, REAL(mkdir)(path, mode)); }
int mkdirat(int folder, const char *path, mode_t mode)
{
    NAMED('M', folder, path, REAL(mkdirat)(folder, path, mode));
}
int symlinkat(const char *target, int folder, const char *path)
{
    char full[PATH_MAX];
    if (below(folder, path, full)) return refused("symlink");
    return REAL(symlinkat)(target, folder, path);
}
int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

/* Two names change. */
#define MOVED(kind, from_folder, from, to_folder, to, CALL)                                       \
    do {                                                                                          \
        char full_from[PATH_MAX], full_to[PATH_MAX];                                              \
        const char *old = below(from_folder, from, full_from);                                    \
        const char *new = below(to_folder, to, full_to);                                          \
        if (!old && !new) return CALL;                                                            \
        if (!old || !new) return refused(#CALL);                                                  \
        pthread_mutex_lock(&order);                                                               \
        int result = CALL;                                                                        \
        if (result == 0) put(kind, 0, 0, old, strlen(old), new, strlen(new));                     \
        pthread_mutex_unlock(&order);                                                             \
        return result;                                                                            \
    } while (0)

int rename(const char *from, const char *to)
{
    MOVED('R', AT_FDCWD, from, AT_FDCWD, to, REAL(rename)(from, to));
}
int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    MOVED('R', from_folder, from, to_folder, to, REAL(renameat)(from_folder, from, to_folder, to));
}
int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    if (flags & RENAME_EXCHANGE) return refused("renameat2 that exchanges");
    MOVED('R', from_folder, from, to_folder, to,
          REAL(renameat2)(from_folder, from, to_folder, to, flags));
}
int link(const char *from, const char *to)
{
    MOVED('L', AT_FDCWD, from, AT_FDCWD, to, REAL(link)(from, to));
}
int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    MOVED('L', from_folder, from, to_folder, to,
          REAL(linkat)(from_folder, from, to_folder, to, flags));
}
int truncate(const char *path, off_t size)
{
    int handle = open(path, O_WRONLY | O_CLOEXEC);
    if (handle < 0) return -1;
    int result = ftruncate(handle, size), kept = errno;
    close(handle);
    errno = kept;
    return result;
}
int truncate64(const char *path, off64_t size) { return truncate(path, size); }

/* By handle: CALL runs with the mutex held; RECORD where it did not fail. */
#define HELD(handle, type, failed, CALL, RECORD)                                                  \
    do {                                                                                          \
        if (!is_followed(handle)) return CALL;                                                    \
        pthread_mutex_lock(&order);                                                               \
        type result = CALL;                                                                       \
        if (!(failed)) RECORD;                                                                    \
        pthread_mutex_unlock(&order);                                                             \
        return result;                                                                            \
    } while (0)

/* A write without an offset ends where the handle stands now, O_APPEND or not. */
static int64_t started(int handle, ssize_t written)
{
    int kept = errno;
    int64_t offset = lseek(handle, 0, SEEK_CUR) - written;
    errno = kept;
    return offset;
}

ssize_t write(int handle, const void *data, size_t length)
{
    HELD(handle, ssize_t, result <= 0, REAL(write)(handle, data, length),
         put('W', handle, started(handle, result), data, result, NULL, 0));
}
ssize_t pwrite64(int handle, const void *data, size_t length, off64_t offset)
{
    HELD(handle, ssize_t, result <= 0, REAL(pwrite64)(handle, data, length, offset),
         put('W', handle, offset, data, result, NULL, 0));
}
ssize_t pwrite(int handle, const void *data, size_t length, off_t offset)
{
    return pwrite64(handle, data, length, offset);
}
static void put_parts(int handle, const struct iovec *parts, ssize_t written)
{
    int64_t offset = started(handle, written);
    for (; written > 0; parts++) {
        size_t length = parts->iov_len < (size_t)written ? parts->iov_len : (size_t)written;
        put('W', handle, offset, parts->iov_base, length, NULL, 0);
        offset += length;
        written -= length;
    }
}
ssize_t writev(int handle, const struct iovec *parts, int count)
{
    HELD(handle, ssize_t, result <= 0, REAL(writev)(handle, parts, count),
         put_parts(handle, parts, result));
}
int ftruncate64(int handle, off64_t size)
{
    HELD(handle, int, result, REAL(ftruncate64)(handle, size),
         put('T', handle, size, NULL, 0, NULL, 0));
}
int ftruncate(int handle, off_t size) { return ftruncate64(handle, size); }
int posix_fallocate64(int handle, off64_t offset, off64_t length)
{
    HELD(handle, int, result, REAL(posix_fallocate64)(handle, offset, length),
         put('A', handle, offset + length, NULL, 0, NULL, 0));
}
int posix_fallocate(int handle, off_t offset, off_t length)
{
    return posix_fallocate64(handle, offset, length);
}
int fsync(int handle)
{
    HELD(handle, int, result, REAL(fsync)(handle), put('F', handle, 0, NULL, 0, NULL, 0));
}
int fdatasync(int handle)
{
    HELD(handle, int, result, REAL(fdatasync)(handle), put('F', handle, 0, NULL, 0, NULL, 0));
}
int close(int handle)
{
    HELD(handle, int, 0, REAL(close)(handle), {
        followed[handle] = 0;
        put('C', handle, 0, NULL, 0, NULL, 0);
    });
}

/* What would go past the record; Python's shutil falls back to plain writes. */
ssize_t pwritev64v2(int handle, const struct iovec *parts, int count, off64_t offset, int flags)
{
    if (is_followed(handle)) return refused("pwritev");
    return REAL(pwritev64v2)(handle, parts, count, offset, flags);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count);
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count)
{
    if (is_followed(out)) return errno = EINVAL, -1;
    return REAL(sendfile64)(out, in, offset, count);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags)
{
    if (is_followed(out)) return errno = EINVAL, -1;
    return REAL(copy_file_range)(in, from, out, to, count, flags);
}
int dup2(int from, int to)
{
    if (is_followed(from) || is_followed(to)) return refused("dup2");
    return REAL(dup2)(from, to);
}
int dup3(int from, int to, int flags)
{
    if (is_followed(from) || is_followed(to)) return refused("dup3");
    return REAL(dup3)(from, to, flags);
}
