/* A disk that fails when it is told to, for a process that was not built for it: LD_PRELOAD this. The file named by TORTURE_FAULTS
 * is mapped; while its first byte is 1 every sync fails with EIO, while its second is 1 every write finds the disk full, while its
 * third is n every sync takes n * 10 ms longer. Only regular files, and not standard output and error: what a process says of it
 * shall be read. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { kSyncFails, kDiskFull, kSlow, kBytes };

static volatile unsigned char* control;

__attribute__((constructor)) static void map_control(void) {
  const char* path = getenv("TORTURE_FAULTS");
  const int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void* mapped = mmap(NULL, kBytes, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) control = mapped;
  close(file);
}

static int told(int which) { return control ? control[which] : 0; }

static int on_disk(int file) {
  struct stat about;
  return file > STDERR_FILENO && fstat(file, &about) == 0 && S_ISREG(about.st_mode);
}

static int full(int file) {
  if (!told(kDiskFull) || !on_disk(file)) return 0;
  errno = ENOSPC;
  return 1;
}

static int sync_fails(void) {
  const int slow = told(kSlow);
  if (slow) {
    const struct timespec pause = {slow / 100, slow % 100 * 10000000L};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
  }
  if (!told(kSyncFails)) return 0;
  errno = EIO;
  return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int file) { return sync_fails() ? -1 : NEXT(fsync)(file); }
int fdatasync(int file) { return sync_fails() ? -1 : NEXT(fdatasync)(file); }
ssize_t write(int file, const void* from, size_t size) { return full(file) ? -1 : NEXT(write)(file, from, size); }
ssize_t pwrite(int file, const void* from, size_t size, off_t at) { return full(file) ? -1 : NEXT(pwrite)(file, from, size, at); }
ssize_t pwrite64(int file, const void* from, size_t size, off64_t at) {
  return full(file) ? -1 : NEXT(pwrite64)(file, from, size, at);
}
ssize_t writev(int file, const struct iovec* from, int count) { return full(file) ? -1 : NEXT(writev)(file, from, count); }
ssize_t pwritev(int file, const struct iovec* from, int count, off_t at) {
  return full(file) ? -1 : NEXT(pwritev)(file, from, count, at);
}
int posix_fallocate(int file, off_t at, off_t size) {
  if (told(kDiskFull)) return ENOSPC;
  return NEXT(posix_fallocate)(file, at, size);
}
int fallocate(int file, int mode, off_t at, off_t size) { return full(file) ? -1 : NEXT(fallocate)(file, mode, at, size); }
