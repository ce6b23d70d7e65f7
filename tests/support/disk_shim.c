/* Between the service and its disk: records what is written, synced, received and acknowledged,
   in one order, and refuses writes or syncs on request.

   SHIM_DIR   files below it are watched
   SHIM_PORT  connections to this port of any host are watched
   SHIM_LOG   where the records go
   SHIM_MODE  a file of one byte: 0 nothing, 1 ENOSPC on write, 2 EIO on write, 3 EIO on sync

   A record is { char kind; int32 file; int64 offset; int32 length } and `length` bytes:
   O opened (path), W written, T truncated (to offset), S synced, U unlinked (path),
   N renamed (old path, 0, new path),
   C connected, R received, P sent. The lock is held over the real call, so the order of the records
   is the order of the calls. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define FDS 4096
static char watched[FDS];            /* 0 no, 1 a file, 2 a connection */
static int number[FDS];              /* of the file or connection */
static int names, log_fd = -1, port;
static const char *dir;
static volatile char *mode = "";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define IS(fd, what) ((fd) >= 0 && (fd) < FDS && watched[fd] == (what))

__attribute__((constructor)) static void start(void) {
    dir = getenv("SHIM_DIR");
    port = atoi(getenv("SHIM_PORT") ? getenv("SHIM_PORT") : "0");
    const char *log_path = getenv("SHIM_LOG"), *mode_path = getenv("SHIM_MODE");
    if (log_path) log_fd = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (mode_path) {
        int fd = syscall(SYS_openat, AT_FDCWD, mode_path, O_RDONLY | O_CLOEXEC);
        void *page = mmap(0, 1, PROT_READ, MAP_SHARED, fd, 0);
        if (page != MAP_FAILED) mode = page;
    }
}

static void record(char kind, int file, int64_t offset, const void *data, int32_t length) {
    if (log_fd < 0) return;
    char head[17];
    int32_t id = file;
    head[0] = kind;
    memcpy(head + 1, &id, 4);
    memcpy(head + 5, &offset, 8);
    memcpy(head + 13, &length, 4);
    syscall(SYS_write, log_fd, head, 17);
    if (length) syscall(SYS_write, log_fd, data, length);
}

static void opened(int fd, const char *path) {
    if (fd < 0 || fd >= FDS || !dir || strncmp(path, dir, strlen(dir))) return;
    pthread_mutex_lock(&lock);
    watched[fd] = 1;
    number[fd] = ++names;
    record('O', number[fd], 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
}

#define OPEN(name)                                                         \
    int name(const char *path, int flags, ...) {                           \
        va_list rest;                                                      \
        va_start(rest, flags);                                             \
        int fd = REAL(name)(path, flags, va_arg(rest, int));               \
        va_end(rest);                                                      \
        opened(fd, path);                                                  \
        return fd;                                                         \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                       \
    int name(int at, const char *path, int flags, ...) {                   \
        va_list rest;                                                      \
        va_start(rest, flags);                                             \
        int fd = REAL(name)(at, path, flags, va_arg(rest, int));           \
        va_end(rest);                                                      \
        opened(fd, path);                                                  \
        return fd;                                                         \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    if (fd >= 0 && fd < FDS) watched[fd] = 0;
    return REAL(close)(fd);
}

static int refused(int fd) {
    if (!IS(fd, 1) || (*mode != 1 && *mode != 2)) return 0;
    errno = *mode == 1 ? ENOSPC : EIO;
    return 1;
}

#define PWRITE(name, off)                                                  \
    ssize_t name(int fd, const void *data, size_t n, off offset) {         \
        if (refused(fd)) return -1;                                        \
        if (!IS(fd, 1)) return REAL(name)(fd, data, n, offset);            \
        pthread_mutex_lock(&lock);                                         \
        ssize_t done = REAL(name)(fd, data, n, offset);                    \
        if (done > 0) record('W', number[fd], offset, data, done);         \
        pthread_mutex_unlock(&lock);                                       \
        return done;                                                       \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t n) {
    if (refused(fd)) return -1;
    if (!IS(fd, 1)) return REAL(write)(fd, data, n);
    pthread_mutex_lock(&lock);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = REAL(write)(fd, data, n);
    if (done > 0) record('W', number[fd], offset, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

#define SYNC(name)                                                         \
    int name(int fd) {                                                     \
        if (!IS(fd, 1)) return REAL(name)(fd);                             \
        if (*mode == 3) {                                                  \
            errno = EIO;                                                   \
            return -1;                                                     \
        }                                                                  \
        pthread_mutex_lock(&lock);                                         \
        int done = REAL(name)(fd);                                         \
        if (done == 0) record('S', number[fd], 0, "", 0);                  \
        pthread_mutex_unlock(&lock);                                       \
        return done;                                                       \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name, off)                                                \
    int name(int fd, off length) {                                         \
        if (!IS(fd, 1)) return REAL(name)(fd, length);                     \
        pthread_mutex_lock(&lock);                                         \
        int done = REAL(name)(fd, length);                                 \
        if (done == 0) record('T', number[fd], length, "", 0);             \
        pthread_mutex_unlock(&lock);                                       \
        return done;                                                       \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int unlink(const char *path) {
    pthread_mutex_lock(&lock);
    int done = REAL(unlink)(path);
    if (done == 0 && dir && !strncmp(path, dir, strlen(dir))) record('U', 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    int done = REAL(rename)(from, to);
    if (done == 0 && dir && !strncmp(from, dir, strlen(dir))) {
        char both[8192];
        int n = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
        record('N', 0, 0, both, n);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int connect(int fd, const struct sockaddr *to, socklen_t n) {
    if (port && to->sa_family == AF_INET && fd < FDS &&
        ntohs(((const struct sockaddr_in *)to)->sin_port) == port) {
        pthread_mutex_lock(&lock);
        watched[fd] = 2;
        number[fd] = ++names;
        record('C', number[fd], 0, "", 0);
        pthread_mutex_unlock(&lock);
    }
    return REAL(connect)(fd, to, n);
}

ssize_t send(int fd, const void *data, size_t n, int flags) {
    if (!IS(fd, 2)) return REAL(send)(fd, data, n, flags);
    pthread_mutex_lock(&lock);
    ssize_t done = REAL(send)(fd, data, n, flags);
    if (done > 0) record('P', number[fd], 0, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t recv(int fd, void *data, size_t n, int flags) {
    ssize_t done = REAL(recv)(fd, data, n, flags);
    if (done > 0 && IS(fd, 2)) {
        pthread_mutex_lock(&lock);
        record('R', number[fd], 0, data, done);
        pthread_mutex_unlock(&lock);
    }
    return done;
}
