/*
 * Faults of a disk, for one process: preloaded, it stands between a program and the calls that write its files. What it does is said by a
 * file that the test maps as well, so that faults begin and end while the program runs. Files whose path has ARCP_FAULT_FILE in it alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { NONE = 0, FULL = 1, NO_SYNC = 2, READ_ONLY = 3, DIE = 4 };

/* Of whole words that are read and written as such: 0 what it does, 1 calls before it does, 2 calls that came, 3 calls that failed. */
static volatile int32_t *control;
static const char *wanted;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("ARCP_FAULT_CONTROL");
  wanted = getenv("ARCP_FAULT_FILE");
  int fd = path == NULL ? -1 : open(path, O_RDWR);
  if (fd < 0) return;
  void *mapped = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped != MAP_FAILED) control = mapped;
  close(fd);
}

static int is_ours(int fd) {
  char link[64], path[4096];
  if (control == NULL || wanted == NULL) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return strstr(path, wanted) != NULL;
}

/* 0, or the errno of the fault that is to be made now. */
static int fault(int fd, int is_sync) {
  if (!is_ours(fd)) return 0;
  __sync_fetch_and_add(&control[2], 1);
  int mode = control[0];
  if (mode == NONE || (mode == NO_SYNC && !is_sync) || (mode == FULL && is_sync)) return 0;
  if (control[1] > 0) {
    __sync_fetch_and_sub(&control[1], 1);
    return 0;
  }
  __sync_fetch_and_add(&control[3], 1);
  if (mode == DIE) kill(getpid(), SIGKILL);
  return mode == FULL ? ENOSPC : mode == NO_SYNC ? EIO : EROFS;
}

#define REAL(name) static __typeof__(name) *real; if (real == NULL) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define FAIL(fd, is_sync) do { int e = fault(fd, is_sync); if (e != 0) { errno = e; return -1; } } while (0)

ssize_t write(int fd, const void *data, size_t size) { REAL(write); FAIL(fd, 0); return real(fd, data, size); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { REAL(pwrite); FAIL(fd, 0); return real(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { REAL(pwrite64); FAIL(fd, 0); return real(fd, data, size, at); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); FAIL(fd, 0); return real(fd, size); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); FAIL(fd, 0); return real(fd, size); }
int fsync(int fd) { REAL(fsync); FAIL(fd, 1); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); FAIL(fd, 1); return real(fd); }
