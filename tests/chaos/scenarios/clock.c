/* Preloaded into a process: its time of day is ahead by the seconds in the first 8 bytes of the file
   CLOCK_FILE, at any moment. Replaces the functions of the vDSO, from which every program has the time,
   also one that does without those of the C library. CLOCK_MONOTONIC stays as it is. Whoever waits for a
   time of day waits until this clock shows it, also if it is set meanwhile. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead_sec;

static long clock_gettime_ahead(long clock, struct timespec *now)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_clock_gettime), "D"(clock), "S"(now)
                     : "rcx", "r11", "memory");
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        now->tv_sec += *ahead_sec;
    return result;
}

static long gettimeofday_ahead(struct timeval *now, void *zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime_ahead(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

static time_t time_ahead(time_t *where)
{
    struct timespec now;
    clock_gettime_ahead(CLOCK_REALTIME, &now);
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec now, limit = *until;
    if (!real)
        real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    if (condition->__data.__wrefs & 2) /* glibc: it waits by CLOCK_MONOTONIC */
        return real(condition, mutex, until);
    clock_gettime_ahead(CLOCK_REALTIME, &now);
    limit.tv_sec -= *ahead_sec;
    now.tv_sec += 1 - *ahead_sec; /* in a second: the clock may be set */
    if (limit.tv_sec < now.tv_sec)
        return real(condition, mutex, &limit);
    int result = real(condition, mutex, &now);
    return result == ETIMEDOUT ? 0 : result; /* as if woken for nothing, which may always happen */
}

static int is_writable(void) /* makes the vDSO so: all of it at once, Linux does not split it */
{
    unsigned long start, end;
    char line[256];
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "[vdso]") && sscanf(line, "%lx-%lx", &start, &end) == 2)
            return fclose(maps) == 0 &&
                   mprotect((void *)start, end - start, PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
    return 0;
}

static void replace(void *vdso, const char *name, void *function)
{
    unsigned char jump[] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0}; /* mov rax, ...; jmp rax */
    void *old = dlvsym(vdso, name, "LINUX_2.6");
    if (!old)
        abort();
    memcpy(jump + 2, &function, sizeof function);
    memcpy(old, jump, sizeof jump);
}

__attribute__((constructor)) static void begin(void)
{
    void *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
    int file = open(getenv("CLOCK_FILE"), O_RDONLY | O_CLOEXEC);
    ahead_sec = mmap(NULL, sizeof *ahead_sec, PROT_READ, MAP_SHARED, file, 0);
    if (!vdso || ahead_sec == MAP_FAILED || !is_writable())
        abort();
    close(file);
    replace(vdso, "__vdso_clock_gettime", clock_gettime_ahead);
    replace(vdso, "__vdso_gettimeofday", gettimeofday_ahead);
    replace(vdso, "__vdso_time", time_ahead);
}
