/* A program of known work: target MILLIONS [THREADS [wait]]
 *
 * Each thread executes MILLIONS million instructions of user code in a loop of two, then touches
 * fresh pages. With "wait" it reads a byte of standard input before and after the work, so that
 * counters can be opened first and read last. Prints what it did, as JSON.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGES = 200, PAGE = 4096 };

static uint64_t rounds;

static void *work(void *unused)
{
    uint64_t left = rounds;
    __asm__ volatile("1: subs %0, %0, #1\n\tb.ne 1b" : "+r"(left) : : "cc");
    char *memory =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int page = 0; memory != MAP_FAILED && page < PAGES; page++)
        memory[page * PAGE] = 1;
    return unused;
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv)
{
    uint64_t millions = argc > 1 ? strtoull(argv[1], NULL, 10) : 200;
    int threads = argc > 2 ? atoi(argv[2]) : 1, wait = argc > 3;
    char byte;
    pthread_t ids[64];
    if (threads < 1 || threads > 64)
        return 2;
    rounds = millions * 1000000u / 2;
    if (wait && read(0, &byte, 1) != 1)
        return 3;
    for (int i = 1; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, NULL))
            return 4;
    work(NULL);
    for (int i = 1; i < threads; i++)
        pthread_join(ids[i], NULL);
    printf("{\"instructions\": %llu, \"pages\": %d, \"cpu_ns\": %llu}\n",
           (unsigned long long)(rounds * 2 * (uint64_t)threads), PAGES * threads,
           (unsigned long long)now_ns(CLOCK_PROCESS_CPUTIME_ID));
    fflush(stdout);
    if (wait && read(0, &byte, 1) != 1)
        return 3;
    return 0;
}
