/* The date jumps by CLOCK_JUMP seconds once a process has run for CLOCK_AFTER seconds; what counts the time
   since the machine was started goes on as before. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static int (*kernel_time)(clockid_t, struct timespec *);
static time_t begun;

static time_t number(const char *name)
{
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

__attribute__((constructor)) static void begin(void)
{
    struct timespec now;
    kernel_time = dlsym(RTLD_NEXT, "clock_gettime");
    kernel_time(CLOCK_MONOTONIC, &now);
    begun = now.tv_sec;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    struct timespec now;
    if (!kernel_time) begin();
    int status = kernel_time(clock, time);
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return status;
    kernel_time(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - begun >= number("CLOCK_AFTER")) time->tv_sec += number("CLOCK_JUMP");
    return status;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}
