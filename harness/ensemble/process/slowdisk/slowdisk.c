/*
 * A slow disk that records how much it has stored. It is loaded into a server with LD_PRELOAD. The
 * variable ZKCOORD_DISK names a directory. The file "control" in this directory has three 64-bit
 * numbers: the additional microseconds of each sync, the number of slowed syncs, and the number of
 * all syncs. After each sync of a transaction log, a file with the log's name contains the stored
 * length.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct control {
    int64_t delay, slowed, syncs;
};

static struct control *control;
static const char *directory;

__attribute__((constructor)) static void start(void)
{
    char path[PATH_MAX];
    int fd;

    directory = getenv("ZKCOORD_DISK");
    if (directory == NULL)
        return;
    snprintf(path, sizeof path, "%s/control", directory);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED)
        control = NULL;
    close(fd);
}

/* name_of returns the name of an open transaction log, or NULL for another file. */
static const char *name_of(int fd, char *path, size_t size)
{
    char link[64];
    char *name;
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, size - 1);
    if (n <= 0)
        return NULL;
    path[n] = 0;
    name = strrchr(path, '/');
    return name != NULL && strncmp(name, "/log.", 5) == 0 ? name + 1 : NULL;
}

static void record(const char *name, int64_t length)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (pwrite(fd, &length, sizeof length, 0) != sizeof length)
        unlink(path);
    close(fd);
}

static int sync_slowly(const char *call, int fd)
{
    int (*next)(int) = dlsym(RTLD_NEXT, call);
    char path[PATH_MAX];
    const char *name;
    int64_t length, delay;
    int failed;

    if (control == NULL)
        return next(fd);
    length = lseek(fd, 0, SEEK_CUR); /* later writes are not part of this sync */
    delay = __atomic_load_n(&control->delay, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
    if (delay > 0) {
        struct timespec rest = {delay / 1000000, delay % 1000000 * 1000};
        while (nanosleep(&rest, &rest) != 0)
            ;
        __atomic_add_fetch(&control->slowed, 1, __ATOMIC_SEQ_CST);
    }
    failed = next(fd);
    name = name_of(fd, path, sizeof path);
    if (failed == 0 && name != NULL && length >= 0)
        record(name, length);
    return failed;
}

int fsync(int fd) { return sync_slowly("fsync", fd); }

int fdatasync(int fd) { return sync_slowly("fdatasync", fd); }
