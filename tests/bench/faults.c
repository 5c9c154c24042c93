/* A disk that fails on purpose, or forgets what was not synced. Loaded with LD_PRELOAD by kill9.py.

   Only files under one folder are concerned. `fault_arm` counts every write, truncation, fsync and rename there
   and lets the n-th fail. `fault_shadow` keeps, beside the real files, what a power cut would leave: the content
   of each file at its last fsync, and the names in the folder at the folder's last fsync. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { COUNT, ENOSPC_ONCE, EIO_ONCE, ENOSPC_FROM, SHORT };

static char folder[1024], shadow[1024];
static int armed, target, mode, counted, broken;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void fault_arm(const char *path, int n, int how) {
    strncpy(folder, path, sizeof folder - 1);
    armed = 1, target = n, mode = how, counted = 0, broken = 0;
}

void fault_shadow(const char *path, const char *copy) {
    strncpy(folder, path, sizeof folder - 1);
    strncpy(shadow, copy, sizeof shadow - 1);
}

int fault_count(void) { return counted; }

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, 1023);
    if (n < 0) return 0;
    path[n] = 0;
    return folder[0] && !strncmp(path, folder, strlen(folder));
}

/* Whether this operation fails; sets errno. `half` is set where a write does half of its work first. */
static int fails(int concerned, int *half) {
    if (!armed || !concerned) return 0;
    counted++;
    if (mode == COUNT) return 0;
    int hit = counted == target;
    if (hit && mode == SHORT) *half = broken = 1;
    else if (hit && mode == ENOSPC_FROM) broken = 1;
    else if (!hit && !broken) return 0;
    errno = mode == EIO_ONCE ? EIO : ENOSPC;
    return 1;
}

static void copy_file(int fd) {
    struct stat s;
    char name[1100], part[1200], bytes[65536];
    if (fstat(fd, &s)) return;
    snprintf(name, sizeof name, "%s/inode-%lu", shadow, (unsigned long)s.st_ino);
    snprintf(part, sizeof part, "%s.part", name);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int in = open(link, O_RDONLY), out = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n;
    while (in >= 0 && out >= 0 && (n = read(in, bytes, sizeof bytes)) > 0)
        if (REAL(write)(out, bytes, n) != n) break;
    close(in), close(out);
    REAL(rename)(part, name);
}

static void copy_names(const char *path) {
    char name[1100];
    snprintf(name, sizeof name, "%s/names", shadow);
    FILE *out = fopen(name, "w");
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && out && (e = readdir(dir));)
        if (e->d_name[0] != '.') fprintf(out, "%lu %s\n", (unsigned long)e->d_ino, e->d_name);
    if (dir) closedir(dir);
    if (out) fclose(out);
}

static int synced(int fd, int (*real)(int)) {
    char path[1024];
    int half = 0, ours = path_of(fd, path);
    if (fails(ours, &half)) return -1;
    int result = real(fd);
    struct stat s;
    if (!result && ours && shadow[0] && !fstat(fd, &s)) {
        if (S_ISDIR(s.st_mode)) copy_names(path);
        else copy_file(fd);
    }
    return result;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

#define WRITER(name, params, args, halved)                                                                   \
    ssize_t name params {                                                                                    \
        char path[1024];                                                                                     \
        int half = 0;                                                                                        \
        if (fails(path_of(fd, path), &half)) return half && size > 1 ? REAL(name) halved : -1;               \
        return REAL(name) args;                                                                              \
    }
WRITER(write, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, size / 2))
WRITER(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), (fd, data, size / 2, at))
WRITER(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), (fd, data, size / 2, at))

#define TRUNCATER(name, type)                                                                                \
    int name(int fd, type size) {                                                                            \
        char path[1024];                                                                                     \
        int half = 0;                                                                                        \
        return fails(path_of(fd, path), &half) ? -1 : REAL(name)(fd, size);                                  \
    }
TRUNCATER(ftruncate, off_t)
TRUNCATER(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
    int half = 0, ours = folder[0] && !strncmp(to, folder, strlen(folder));
    return fails(ours, &half) ? -1 : REAL(rename)(from, to);
}
