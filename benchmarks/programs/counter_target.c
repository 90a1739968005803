/* What the counter benchmarks measure: four threads and a process tree, in C so that they are cheap.

   counter_target busy SECONDS          arithmetic with bursts of page faults
   counter_target work UNITS [wait]     the same, so many units a thread: always the same work; its
                                        threads wait for a byte on its input
   counter_target bursty ROUNDS SEED    30-60 ms of CPU with 1 500-3 000 faults, then 25-40 ms asleep
   counter_target tree SECONDS          a thread every ms, and children that exec
   counter_target hog SECONDS           four spinning threads; ends with its parent
   counter_target churn SECONDS         four threads that start and join others, as fast as they can
   counter_target switch ROUNDS         two pairs of threads, each on one CPU, that wake each other
   counter_target leaf DESCRIPTOR       touches some pages; adds its switches to what is in a file

   Prints one JSON object: its times on CLOCK_MONOTONIC, its CPU time, and getrusage at both ends;
   the children it has waited for, and how many of their switches were part of their ending.  */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, PAGE = 4096, ARENA = 4096, BURST = 64 };

static double end_s;
static long units;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* shut until the work may begin */
static int rounds, children, pipes[THREADS][2];
static long *own_switches; /* of the children, by themselves: without those of their ending */
static unsigned seed;
static volatile uint64_t sink;

static double now_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void nap(double s)
{
    struct timespec t = {(time_t)s, (long)((s - (time_t)s) * 1e9)};
    nanosleep(&t, NULL);
}

static void arithmetic(long steps)
{
    uint64_t x = sink | 1;
    for (long i = 0; i < steps; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        x ^= x >> 29;
    }
    sink = x;
}

static char *arena(void)
{
    char *p = mmap(NULL, (size_t)ARENA * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        exit(3);
    madvise(p, (size_t)ARENA * PAGE, MADV_NOHUGEPAGE);
    return p;
}

static void touch(char *p, long from, long pages)
{
    for (long i = from; i < from + pages; i++)
        p[i * PAGE] = 1;
}

static void forget(char *p, long pages)
{
    madvise(p, (size_t)pages * PAGE, MADV_DONTNEED);
}

static void unit(char *p)
{
    arithmetic(2000000); /* about 3 ms */
    touch(p, 0, BURST);
    forget(p, BURST);
}

static void *busy(void *unused)
{
    char *p = arena();
    while (now_s(CLOCK_MONOTONIC) < end_s)
        unit(p);
    return unused;
}

static void *work(void *unused)
{
    char *p = arena();
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    for (long i = 0; i < units; i++)
        unit(p);
    return unused;
}

static void *hog(void *unused)
{
    while (now_s(CLOCK_MONOTONIC) < end_s)
        arithmetic(100000);
    return unused;
}

static void *bursty(void *index)
{
    unsigned state = seed * THREADS + (unsigned)(uintptr_t)index + 1;
    char *p = arena();
    for (int round = 0; round < rounds; round++) {
        long faults = 1500 + rand_r(&state) % 1501, done = 0;
        long spins = 75 + rand_r(&state) % 76; /* of 0.4 ms: 30-60 ms */
        for (long spin = 1; spin <= spins; spin++) {
            double until_s = now_s(CLOCK_THREAD_CPUTIME_ID) + 0.0004;
            while (now_s(CLOCK_THREAD_CPUTIME_ID) < until_s)
                arithmetic(1000);
            long goal = faults * spin / spins;
            touch(p, done, goal - done);
            done = goal;
        }
        forget(p, faults);
        nap(0.025 + (rand_r(&state) % 15001) * 1e-6);
    }
    return NULL;
}

static void *pair(void *index)
{
    int own = (int)(uintptr_t)index, other = own ^ 1;
    cpu_set_t cpus;
    char byte = 0;
    CPU_ZERO(&cpus);
    CPU_SET(own / 2 % sysconf(_SC_NPROCESSORS_ONLN), &cpus);
    pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
    for (int round = 0; round < rounds; round++)
        if (write(pipes[other][1], &byte, 1) != 1 || read(pipes[own][0], &byte, 1) != 1)
            exit(6);
    return NULL;
}

static void *short_lived(void *unused)
{
    char stack[8 * PAGE]; /* pages that the thread before has left, mostly: few faults */
    memset(stack, 1, sizeof stack);
    sink += (uint64_t)stack[sink % sizeof stack];
    return unused;
}

static void start_and_join(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, short_lived, NULL))
        exit(4);
    pthread_join(thread, NULL);
}

static void *churn(void *unused)
{
    while (now_s(CLOCK_MONOTONIC) < end_s)
        start_and_join();
    return unused;
}

static void usage(long *faults, long *switches, int children_too)
{
    struct rusage own, others;
    getrusage(RUSAGE_SELF, &own);
    *faults = own.ru_minflt + own.ru_majflt;
    *switches = own.ru_nvcsw + own.ru_nivcsw;
    if (children_too) {
        getrusage(RUSAGE_CHILDREN, &others);
        *faults += others.ru_minflt + others.ru_majflt;
        *switches += others.ru_nvcsw + others.ru_nivcsw;
    }
}

static long *shared(int descriptor)
{
    long *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (p == MAP_FAILED)
        exit(3);
    ((volatile long *)p)[1] = 1; /* its fault is now, and not in what is counted last */
    return p;
}

static void leaf(int descriptor)
{
    long faults, switches, *sum = shared(descriptor);
    char *p = arena();
    touch(p, 0, 2000);
    munmap(p, (size_t)ARENA * PAGE); /* now, as it takes time in which it may be switched out */
    usage(&faults, &switches, 0);
    *sum += switches; /* one leaf at a time */
    _exit(0);
}

static void start_child(char *self, char *p, int descriptor)
{
    char text[16];
    snprintf(text, sizeof text, "%d", descriptor);
    pid_t child = fork();
    if (child == 0) {
        touch(p, 0, 500);
        execle(self, self, "leaf", text, (char *)NULL, (char *[]){NULL});
        _exit(5);
    }
    waitpid(child, NULL, 0);
    children++;
}

static void tree(char *self)
{
    char *p = arena();
    int descriptor = memfd_create("switches", 0);
    if (descriptor < 0 || ftruncate(descriptor, PAGE))
        exit(5);
    own_switches = shared(descriptor);
    double next_s = now_s(CLOCK_MONOTONIC);
    for (long i = 0; now_s(CLOCK_MONOTONIC) < end_s; i++) {
        start_and_join();
        touch(p, 0, 2 * BURST);
        forget(p, 2 * BURST);
        if (i % 100 == 99)
            start_child(self, p, descriptor);
        next_s += 0.001;
        double left_s = next_s - now_s(CLOCK_MONOTONIC);
        if (left_s > 0)
            nap(left_s);
    }
}

int main(int argc, char **argv)
{
    long faults[2], switches[2], waited_faults, waited, all;
    double start_s = now_s(CLOCK_MONOTONIC);
    double before_s = now_s(CLOCK_PROCESS_CPUTIME_ID); /* what it took to become this program */
    usage(&faults[0], &switches[0], 1);
    char *mode = argc > 1 ? argv[1] : "";
    double amount = argc > 2 ? atof(argv[2]) : 0;
    end_s = start_s + amount;
    units = (long)amount;
    rounds = (int)amount;
    seed = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
    int waits = argc > 3 && !strcmp(argv[3], "wait");
    void *(*body)(void *) = NULL;
    if (!strcmp(mode, "leaf")) {
        leaf((int)amount);
    }
    if (!strcmp(mode, "busy"))
        body = busy;
    else if (!strcmp(mode, "work"))
        body = work;
    else if (!strcmp(mode, "bursty"))
        body = bursty;
    else if (!strcmp(mode, "hog"))
        body = hog;
    else if (!strcmp(mode, "switch"))
        body = pair;
    else if (!strcmp(mode, "churn"))
        body = churn;
    else if (strcmp(mode, "tree"))
        return 2;
    for (int i = 0; i < THREADS; i++)
        if (body == pair && pipe(pipes[i]))
            return 7;
    if (body == hog)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (body) {
        pthread_t threads[THREADS];
        if (waits)
            pthread_mutex_lock(&gate);
        for (uintptr_t i = 0; i < THREADS; i++)
            if (pthread_create(&threads[i], NULL, body, (void *)i))
                return 4;
        if (waits) {
            getchar();
            pthread_mutex_unlock(&gate);
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    } else {
        tree("/proc/self/exe");
    }
    double cpu_s = now_s(CLOCK_PROCESS_CPUTIME_ID) - before_s;
    usage(&waited_faults, &all, 1);
    usage(&waited_faults, &waited, 0);
    usage(&faults[1], &switches[1], 1);
    waited = all - waited; /* of the children */
    printf("{\"pid\": %d, \"start_s\": %.9f, \"end_s\": %.9f, \"cpu_s\": %.9f,"
           " \"faults\": [%ld, %ld], \"switches\": [%ld, %ld], \"children\": %d, \"ending\": %ld}\n",
           (int)getpid(), start_s, now_s(CLOCK_MONOTONIC), cpu_s,
           faults[0], faults[1], switches[0], switches[1], children, own_switches ? waited - *own_switches : 0);
    return 0;
}
