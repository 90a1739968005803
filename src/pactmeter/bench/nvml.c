/* The emulated machine's libnvidia-ml.so.1: NVML's calls, answered from the true P(t) of each GPU.
 *
 * Build: gcc -O2 -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 nvml.c -lm
 *
 * P(t) lies ahead of time in a file (environment: PACTMETER_BENCH_NVML), whose layout nvml.py has
 * too. Every call finds its figures there by its own clock: they are exact however late the
 * process is that writes the file. Signatures and numbers are those of nvml.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DRIVER "560.35 pactmeter-bench" /* what is measured here says so itself */
#define LIBRARY "12.560.35"
#define MAGIC 0x4c4d564e54434150ULL /* "PACTNVML" */

enum { LAYOUT = 1, GPUS = 16, FAULTS = 1024, PIDS = 16 };
enum { CUDA_VERSION = 12060, SAMPLES = 100, UNREACHED = 4096, PATIENCE = 2000 };

enum {
    OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4,
    NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, FUNCTION_NOT_FOUND = 13,
    GPU_IS_LOST = 15, RESET_REQUIRED = 16, VERSION_MISMATCH = 18, UNKNOWN = 999
};
enum {
    LOST = 1, RESET, DENIED, FAILS, HANG, UNSUPPORTED, ENERGY_RESET, FROZEN, GARBAGE, NO_DRIVER,
    NO_FUNCTION, GONE
};
enum { FIELD_ENERGY = 83, FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186 };
enum { TYPE_UINT = 1, TYPE_ULONGLONG = 3 };

static const double UTILISATION_S = 1.0 / 6, HEATING_S = 20.0, GARBAGE_MW = 4e9;
static const uint64_t MIB = 1 << 20;

/* ---- the file ---- */

struct fault {
    int32_t gpu, code;
    double value, from_s, until_s;
    _Atomic int64_t strikes; /* how often it may still strike; negative: without end */
    char text[64]; /* what is not supported; which function is missing */
};

struct gpu {
    char name[96], uuid[64], bus[32];
    uint32_t pci_bus, pci_id, major, minor, architecture;
    uint32_t counts_energy, has_fan, is_server, sm_mhz, memory_mhz;
    uint32_t pid_count, pids[PIDS];
    uint32_t spare;
    uint64_t memory_b;
    _Atomic uint64_t pieces; /* written so far; the ring holds the last of them */
    double idle_w, busy_w, limit_w;
    double window_s, average_window_s, update_period_s, energy_period_s, offset_j;
};

struct state {
    uint64_t magic;
    uint32_t layout, gpu_count;
    uint64_t capacity, rings_at;          /* pieces in a ring; bytes from the file's start */
    _Atomic uint64_t sequence;            /* odd while pieces are being rewritten */
    _Atomic uint64_t fault_count, sets;   /* sets: how often something was to be set */
    double zero_s, epoch_s, virtual_s;    /* CLOCK_MONOTONIC and CLOCK_REALTIME at t = 0 */
    struct fault faults[FAULTS];
    struct gpu gpus[GPUS];
};

_Static_assert(sizeof(struct fault) == 104, "as in nvml.py");
_Static_assert(sizeof(struct gpu) == 384, "as in nvml.py");
_Static_assert(sizeof(struct state) == 80 + FAULTS * 104 + GPUS * 384, "as in nvml.py");

struct handle { int index; };

static struct handle handles[GPUS] = {
    {0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}, {10}, {11}, {12}, {13}, {14}, {15}
};
static struct state *_Atomic state; /* never unmapped: another thread may be inside a call */
static int is_writable;
static _Atomic int users;

static int attach(void)
{
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    static dev_t device;
    static ino_t inode;
    const char *path = getenv("PACTMETER_BENCH_NVML");
    struct stat found;
    int code = DRIVER_NOT_LOADED, writable = 1, fd;

    if (!path) return code;
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        writable = 0;
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) return code;
    while (atomic_flag_test_and_set(&busy)) {}
    if (!fstat(fd, &found) && found.st_size >= (off_t)sizeof(struct state)) {
        struct state *mapped = state;
        if (!mapped || found.st_dev != device || found.st_ino != inode) {
            int rights = writable ? PROT_READ | PROT_WRITE : PROT_READ;
            mapped = mmap(NULL, (size_t)found.st_size, rights, MAP_SHARED | MAP_NORESERVE, fd, 0);
        }
        if (mapped != MAP_FAILED && mapped->magic == MAGIC) {
            code = mapped->layout == LAYOUT ? OK : VERSION_MISMATCH;
            if (code == OK) {
                device = found.st_dev;
                inode = found.st_ino;
                is_writable = writable;
                state = mapped;
            }
        }
    }
    atomic_flag_clear(&busy);
    close(fd);
    return code;
}

static double now_s(const struct state *s)
{
    struct timespec now;
    double virtual_s = *(const volatile double *)&s->virtual_s;
    if (virtual_s >= 0.0) return virtual_s;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec - s->zero_s;
}

/* ---- faults ---- */

/* Return whether a fault that strikes a number of times may do so once more. */
static int strikes(struct fault *f)
{
    int64_t left = atomic_load(&f->strikes);
    while (left > 0 && is_writable)
        if (atomic_compare_exchange_weak(&f->strikes, &left, left - 1)) return 1;
    return left != 0;
}

/* Return the fault of a kind that holds for a GPU (negative: any), and use one strike up. */
static const struct fault *struck(struct state *s, int code, int gpu, double t_s, const char *text)
{
    uint64_t count = atomic_load_explicit(&s->fault_count, memory_order_acquire);
    for (uint64_t i = 0; i < count; i++) {
        struct fault *f = &s->faults[i];
        if (f->code != code || (gpu >= 0 && f->gpu != gpu)) continue;
        if (t_s < f->from_s || t_s >= *(volatile double *)&f->until_s) continue;
        if (text) { /* a name without its version stands for all of them */
            size_t length = strlen(f->text);
            if (strncmp(text, f->text, length)) continue;
            if (text[length] && strncmp(text + length, "_v", 2)) continue;
        }
        if (strikes(f)) return f;
    }
    return NULL;
}

static void nap(double seconds)
{
    struct timespec left = {(time_t)seconds, 0};
    left.tv_nsec = (long)(1e9 * (seconds - (double)left.tv_sec));
    while (nanosleep(&left, &left) && errno == EINTR) {}
}

static int enter(const char *function)
{
    struct state *s = state;
    if (s && struck(s, NO_FUNCTION, -1, now_s(s), function)) return FUNCTION_NOT_FOUND;
    return users > 0 ? OK : UNINITIALIZED;
}

/* A GPU as a call sees it. */
struct view {
    struct state *s;
    const struct gpu *gpu;
    int index;
    double now_s; /* of the call: what faults go by */
    double t_s;   /* what its figures are of: now, or when a fault froze them */
};

static int look(struct view *v, int index)
{
    static const struct { int fault, code; } failures[] = {
        {LOST, GPU_IS_LOST}, {RESET, RESET_REQUIRED}, {DENIED, NO_PERMISSION}, {FAILS, UNKNOWN},
        {GONE, GPU_IS_LOST} /* for who still has its handle */
    };
    struct state *s = state;
    const struct fault *fault;

    if (index < 0 || (uint32_t)index >= s->gpu_count) return INVALID_ARGUMENT;
    *v = (struct view){.s = s, .gpu = &s->gpus[index], .index = index, .now_s = now_s(s)};
    v->t_s = v->now_s;
    if (!atomic_load_explicit(&s->fault_count, memory_order_relaxed)) return OK;
    fault = struck(s, HANG, index, v->now_s, NULL);
    if (fault) {
        nap(fault->value);
        v->t_s = v->now_s = now_s(s);
    }
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        if (struck(s, failures[i].fault, index, v->now_s, NULL)) return failures[i].code;
    fault = struck(s, FROZEN, index, v->now_s, NULL);
    if (fault) v->t_s = fault->from_s;
    return OK;
}

static int look_at(struct view *v, const struct handle *handle, const char *function)
{
    int code = enter(function);
    if (code) return code;
    if (handle < handles || handle >= handles + GPUS) return INVALID_ARGUMENT;
    return look(v, (int)(handle - handles));
}

#define ENTER() do { int code_ = enter(__func__); if (code_) return code_; } while (0)
#define LOOK(v, handle) \
    do { int code_ = look_at(&(v), handle, __func__); if (code_) return code_; } while (0)
#define NEED(argument) do { if (!(argument)) return INVALID_ARGUMENT; } while (0)

static int has(const struct view *v, const char *quantity)
{
    return !struck(v->s, UNSUPPORTED, v->index, v->now_s, quantity);
}

/* ---- P(t) ---- */

static double joules_once(const struct view *v, double t_s)
{
    uint64_t capacity = v->s->capacity;
    const double *start = (const double *)((const char *)v->s + v->s->rings_at)
                          + 4 * capacity * (uint64_t)v->index;
    const double *from = start + capacity, *to = from + capacity, *done = to + capacity;
    uint64_t end = atomic_load_explicit(&v->gpu->pieces, memory_order_acquire);
    uint64_t kept = capacity - UNREACHED; /* what may be overwritten next is left alone */
    uint64_t low = end > kept ? end - kept : 0;
    double stop_s, length_s, into_s, slope, beyond_s;

    if (!end) return 0.0;
    while (end - low > 1) {
        uint64_t middle = low + (end - low) / 2;
        if (start[middle % capacity] <= t_s) low = middle;
        else end = middle;
    }
    stop_s = start[(low + 1) % capacity]; /* of the last piece too: there its end is written */
    low %= capacity;
    into_s = t_s - start[low];
    if (into_s <= 0.0) return done[low] + into_s * from[low];
    length_s = stop_s - start[low];
    beyond_s = fmax(0.0, into_s - length_s); /* nobody wrote on: the last power holds */
    into_s -= beyond_s;
    slope = length_s > 0.0 ? (to[low] - from[low]) / length_s : 0.0;
    return done[low] + into_s * (from[low] + slope * into_s / 2) + beyond_s * to[low];
}

/* Return the joules from t = 0 to each of two times, both of the same P(t). */
static void joules(const struct view *v, const double t_s[2], double done_j[2])
{
    for (int tries = 0;; tries++) {
        uint64_t before = atomic_load_explicit(&v->s->sequence, memory_order_acquire);
        done_j[0] = joules_once(v, t_s[0]);
        done_j[1] = joules_once(v, t_s[1]);
        atomic_thread_fence(memory_order_acquire);
        uint64_t after = atomic_load_explicit(&v->s->sequence, memory_order_relaxed);
        /* Whoever writes may have died over it; then what is there must do. */
        if ((before == after && !(before & 1)) || tries == PATIENCE) return;
        nap(1e-5);
    }
}

/* Return the last time that a sensor was updated; ticks fall on multiples of its period. */
static double tick_s(double t_s, double period_s)
{
    return floor(t_s / period_s + 1e-9) * period_s;
}

static double mean_w(const struct view *v, double until_s, double window_s)
{
    double done_j[2];
    joules(v, (double[2]){until_s - window_s, until_s}, done_j);
    return (done_j[1] - done_j[0]) / window_s;
}

static unsigned power_mw(const struct view *v, double window_s)
{
    if (struck(v->s, GARBAGE, v->index, v->now_s, NULL)) return (unsigned)GARBAGE_MW;
    return (unsigned)lround(1e3 * mean_w(v, tick_s(v->t_s, v->gpu->update_period_s), window_s));
}

static unsigned long long energy_mj(const struct view *v)
{
    uint64_t count = atomic_load_explicit(&v->s->fault_count, memory_order_acquire);
    double at_s = tick_s(v->t_s, v->gpu->energy_period_s), reset_s = INFINITY, done_j[2];
    for (uint64_t i = 0; i < count; i++) {
        const struct fault *f = &v->s->faults[i];
        if (f->code != ENERGY_RESET || f->gpu != v->index || f->until_s <= f->from_s) continue;
        if (f->from_s <= v->t_s && (isinf(reset_s) || f->from_s > reset_s)) reset_s = f->from_s;
    }
    joules(v, (double[2]){fmin(reset_s, at_s), at_s}, done_j);
    if (isinf(reset_s)) done_j[0] = -v->gpu->offset_j;
    return (unsigned long long)(1e3 * fmax(0.0, done_j[1] - done_j[0]) + 1e-6);
}

/* Return how busy the GPU is at a time, by its power between idle and busy. */
static unsigned busy_pct(const struct view *v, double t_s)
{
    double above_w = mean_w(v, tick_s(t_s, UTILISATION_S), UTILISATION_S) - v->gpu->idle_w;
    double span_w = v->gpu->busy_w - v->gpu->idle_w;
    return span_w > 0.0 ? (unsigned)lround(100 * fmin(1.0, fmax(0.0, above_w / span_w))) : 0;
}

static unsigned long long epoch_us(const struct view *v, double t_s)
{
    return (unsigned long long)(1e6 * (v->s->epoch_s + t_s) + 0.5);
}

/* Older names of the same function. */
#define ALSO(older, name) extern __typeof__(name) older __attribute__((alias(#name)));

/* ---- the library and the system ---- */

int nvmlInitWithFlags(unsigned flags)
{
    const struct fault *fault;
    struct state *s;
    int code = attach();
    (void)flags;
    if (code) return code;
    s = state;
    if (struck(s, NO_FUNCTION, -1, now_s(s), __func__)) return FUNCTION_NOT_FOUND;
    fault = struck(s, NO_DRIVER, -1, now_s(s), NULL);
    if (fault) return (int)fault->value;
    users++;
    return OK;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
ALSO(nvmlInit, nvmlInit_v2)

int nvmlShutdown(void)
{
    ENTER();
    users--;
    return OK;
}

const char *nvmlErrorString(int code)
{
    static const char *const texts[] = {
        "The operation was successful", "Uninitialized", "Invalid Argument", "Not Supported",
        "Insufficient Permissions", "Already Initialized", "Not Found", "Insufficient Size",
        "Insufficient External Power", "Driver Not Loaded", "Timeout", "Interrupt Request Issue",
        "NVML Shared Library Not Found", "Function Not Found", "Corrupted infoROM", "GPU is lost",
        "GPU requires restart", "The operating system has blocked the request.",
        "RM has detected an NVML/RM version mismatch.", "GPU is currently in use",
        "Insufficient Memory", "No data"
    };
    if (code < 0 || (size_t)code >= sizeof texts / sizeof *texts) return "Unknown Error";
    return texts[code];
}

static int write_text(char *to, unsigned length, const char *text)
{
    NEED(to);
    if (length <= strlen(text)) return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return OK;
}

int nvmlSystemGetDriverVersion(char *text, unsigned length)
{
    ENTER();
    return write_text(text, length, DRIVER);
}

int nvmlSystemGetNVMLVersion(char *text, unsigned length)
{
    ENTER();
    return write_text(text, length, LIBRARY);
}

int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    ENTER();
    NEED(version);
    *version = CUDA_VERSION;
    return OK;
}
ALSO(nvmlSystemGetCudaDriverVersion, nvmlSystemGetCudaDriverVersion_v2)

/* ---- which GPU ---- */

int nvmlDeviceGetCount_v2(unsigned *count)
{
    ENTER();
    NEED(count);
    *count = state->gpu_count;
    for (int i = 0; i < (int)state->gpu_count; i++)
        if (struck(state, GONE, i, now_s(state), NULL)) --*count;
    return OK;
}
ALSO(nvmlDeviceGetCount, nvmlDeviceGetCount_v2)

static int give(int index, struct handle **handle)
{
    struct view v;
    int code = look(&v, index);
    if (index >= 0 && index < GPUS && struck(state, GONE, index, now_s(state), NULL)) return NOT_FOUND;
    if (!code) *handle = &handles[index];
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct handle **handle)
{
    ENTER();
    NEED(handle && index < GPUS);
    return give((int)index, handle);
}
ALSO(nvmlDeviceGetHandleByIndex, nvmlDeviceGetHandleByIndex_v2)

int nvmlDeviceGetHandleByUUID(const char *uuid, struct handle **handle)
{
    ENTER();
    NEED(uuid && handle);
    for (uint32_t i = 0; i < state->gpu_count; i++)
        if (!strcmp(uuid, state->gpus[i].uuid)) return give((int)i, handle);
    return NOT_FOUND;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *text, struct handle **handle)
{
    unsigned domain = 0, bus, device, function = 0;
    ENTER();
    NEED(text && handle);
    if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &device, &function) < 3) {
        domain = 0;
        if (sscanf(text, "%x:%x.%x", &bus, &device, &function) < 2) return INVALID_ARGUMENT;
    }
    for (uint32_t i = 0; i < state->gpu_count; i++)
        if (!domain && !device && !function && bus == state->gpus[i].pci_bus)
            return give((int)i, handle);
    return NOT_FOUND;
}
ALSO(nvmlDeviceGetHandleByPciBusId, nvmlDeviceGetHandleByPciBusId_v2)

int nvmlDeviceGetName(struct handle *handle, char *text, unsigned length)
{
    struct view v;
    LOOK(v, handle);
    return write_text(text, length, v.gpu->name);
}

int nvmlDeviceGetUUID(struct handle *handle, char *text, unsigned length)
{
    struct view v;
    LOOK(v, handle);
    return write_text(text, length, v.gpu->uuid);
}

struct pci_info {
    char legacy[16];
    uint32_t domain, bus, device, pci_id, subsystem_id;
    char bus_id[32];
};

int nvmlDeviceGetPciInfo_v3(struct handle *handle, struct pci_info *info)
{
    struct view v;
    LOOK(v, handle);
    NEED(info);
    *info = (struct pci_info){.bus = v.gpu->pci_bus, .pci_id = v.gpu->pci_id << 16 | 0x10de};
    memcpy(info->legacy, v.gpu->bus + 4, 13); /* a domain of four digits, not of eight */
    memcpy(info->bus_id, v.gpu->bus, sizeof info->bus_id);
    return OK;
}

static int divides(const struct gpu *gpu) { return gpu->is_server && gpu->major >= 8; }

/* Functions that give numbers; `v` is the GPU as the call sees it. */
#define GETTER(name, type, supported, value) \
    int name(struct handle *handle, type *number) \
    { \
        struct view v; \
        LOOK(v, handle); \
        NEED(number); \
        if (!(supported)) return NOT_SUPPORTED; \
        *number = (type)(value); \
        return OK; \
    }
#define PAIR(name, type, supported, first, second) \
    int name(struct handle *handle, type *one, type *other) \
    { \
        struct view v; \
        LOOK(v, handle); \
        NEED(one && other); \
        if (!(supported)) return NOT_SUPPORTED; \
        *one = (type)(first); \
        *other = (type)(second); \
        return OK; \
    }
#define OF_KIND(name, kinds, value) \
    int name(struct handle *handle, int kind, unsigned *number) \
    { \
        struct view v; \
        LOOK(v, handle); \
        NEED(number && kind >= 0 && kind < (kinds)); \
        *number = (unsigned)(value); \
        return OK; \
    }

GETTER(nvmlDeviceGetIndex, unsigned, 1, v.index)
GETTER(nvmlDeviceGetMinorNumber, unsigned, 1, v.index)
GETTER(nvmlDeviceGetArchitecture, unsigned, 1, v.gpu->architecture)
PAIR(nvmlDeviceGetCudaComputeCapability, int, 1, v.gpu->major, v.gpu->minor)
GETTER(nvmlDeviceGetPersistenceMode, int, 1, 1)
GETTER(nvmlDeviceGetComputeMode, int, 1, 0)
GETTER(nvmlDeviceGetDisplayMode, int, 1, 0)
GETTER(nvmlDeviceGetDisplayActive, int, 1, 0)
GETTER(nvmlDeviceIsMigDeviceHandle, unsigned, 1, 0)
GETTER(nvmlDeviceGetMaxMigDeviceCount, unsigned, 1, divides(v.gpu) ? 7 : 0)
PAIR(nvmlDeviceGetMigMode, unsigned, divides(v.gpu), 0, 0)

/* ---- power, energy, utilisation ---- */

GETTER(nvmlDeviceGetPowerUsage, unsigned, has(&v, "power"),
       power_mw(&v, v.gpu->average_window_s > 0.0 ? v.gpu->average_window_s : v.gpu->window_s))
GETTER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long,
       v.gpu->counts_energy && has(&v, "energy"), energy_mj(&v))
GETTER(nvmlDeviceGetPowerManagementLimit, unsigned, 1, lround(1e3 * v.gpu->limit_w))
GETTER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, 1, lround(1e3 * v.gpu->limit_w))
GETTER(nvmlDeviceGetEnforcedPowerLimit, unsigned, 1, lround(1e3 * v.gpu->limit_w))
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, unsigned, 1, lround(500 * v.gpu->limit_w),
     lround(1e3 * v.gpu->limit_w))
/* The structure of two numbers that this one gives is taken as an array of two. */
int nvmlDeviceGetUtilizationRates(struct handle *handle, unsigned rates_pct[2])
{
    struct view v;
    LOOK(v, handle);
    NEED(rates_pct);
    if (!has(&v, "utilisation")) return NOT_SUPPORTED;
    rates_pct[0] = busy_pct(&v, v.t_s);
    rates_pct[1] = rates_pct[0] / 2;
    return OK;
}
PAIR(nvmlDeviceGetEncoderUtilization, unsigned, has(&v, "utilisation"), 0, 1e6 * UTILISATION_S)
PAIR(nvmlDeviceGetDecoderUtilization, unsigned, has(&v, "utilisation"), 0, 1e6 * UTILISATION_S)
GETTER(nvmlDeviceGetPerformanceState, int, 1, busy_pct(&v, v.t_s) ? 0 : 8)

union value { double d; unsigned u; unsigned long ul; unsigned long long ull; };

struct field {
    uint32_t id, scope;
    int64_t timestamp_us, latency_us;
    int type, code;
    union value value;
};

static int fill(const struct view *v, struct field *f)
{
    const struct gpu *gpu = v->gpu;
    int is_average = f->id == FIELD_POWER_AVERAGE;
    if (f->scope) return NOT_SUPPORTED; /* a module's or the memory's power */
    if (f->id == FIELD_ENERGY) {
        if (!gpu->counts_energy || !has(v, "energy")) return NOT_SUPPORTED;
        f->type = TYPE_ULONGLONG;
        f->value.ull = energy_mj(v);
        return OK;
    }
    if (!is_average && f->id != FIELD_POWER_INSTANT) return NOT_SUPPORTED;
    if ((is_average && gpu->average_window_s <= 0.0) || !has(v, "power")) return NOT_SUPPORTED;
    f->type = TYPE_UINT;
    f->value.u = power_mw(v, is_average ? gpu->average_window_s : gpu->window_s);
    return OK;
}

int nvmlDeviceGetFieldValues(struct handle *handle, int count, struct field *fields)
{
    struct view v;
    LOOK(v, handle);
    NEED(fields && count > 0);
    for (int i = 0; i < count; i++) {
        fields[i].timestamp_us = (int64_t)epoch_us(&v, v.t_s);
        fields[i].latency_us = 0;
        fields[i].value.ull = 0;
        fields[i].code = fill(&v, &fields[i]);
    }
    return OK;
}

struct sample { unsigned long long timestamp_us; union value value; };

/* The driver's ring of samples: those after a time, oldest first. */
int nvmlDeviceGetSamples(struct handle *handle, int kind, unsigned long long after_us, int *type,
                         unsigned *count, struct sample *samples)
{
    struct view v;
    unsigned found = 0;
    double period_s;
    LOOK(v, handle);
    NEED(type && count);
    if (kind < 0 || kind > 2 || !has(&v, kind ? "utilisation" : "power")) return NOT_SUPPORTED;
    *type = TYPE_UINT;
    if (!samples) {
        *count = SAMPLES;
        return OK;
    }
    period_s = kind ? UTILISATION_S : v.gpu->update_period_s;
    for (int back = SAMPLES - 1; back >= 0; back--) {
        struct view then = v;
        then.t_s = tick_s(v.t_s, period_s) - back * period_s;
        unsigned long long at_us = epoch_us(&v, then.t_s);
        if (at_us <= after_us || found == *count) continue;
        samples[found].timestamp_us = at_us;
        samples[found].value.ull = 0;
        samples[found++].value.u = !kind ? power_mw(&then, v.gpu->window_s)
                                         : busy_pct(&then, then.t_s) / kind;
    }
    *count = found;
    return found ? OK : NOT_FOUND;
}

struct process_use {
    unsigned pid;
    unsigned long long timestamp_us;
    unsigned sm, memory, encoder, decoder;
};

int nvmlDeviceGetProcessUtilization(struct handle *handle, struct process_use *uses,
                                    unsigned *count, unsigned long long after_us)
{
    struct view v;
    unsigned share, pids, room;
    double at_s;
    LOOK(v, handle);
    NEED(count);
    if (!has(&v, "utilisation")) return NOT_SUPPORTED;
    pids = v.gpu->pid_count;
    at_s = tick_s(v.t_s, UTILISATION_S);
    if (!pids || epoch_us(&v, at_s) <= after_us) return NOT_FOUND;
    room = *count;
    *count = pids;
    if (!uses || room < pids) return INSUFFICIENT_SIZE;
    share = busy_pct(&v, v.t_s) / pids;
    for (unsigned i = 0; i < pids; i++)
        uses[i] = (struct process_use){v.gpu->pids[i], epoch_us(&v, at_s), share, share / 2, 0, 0};
    return OK;
}

/* ---- memory, heat, clocks ---- */

static uint64_t reserved_b(const struct view *v) { return v->gpu->memory_b / 64; }

static uint64_t used_b(const struct view *v)
{
    uint64_t used = 1024 * MIB * v->gpu->pid_count, most = v->gpu->memory_b - reserved_b(v);
    return used < most ? used : most;
}

struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo(struct handle *handle, struct memory *memory)
{
    struct view v;
    LOOK(v, handle);
    NEED(memory);
    memory->total = v.gpu->memory_b;
    memory->used = used_b(&v) + reserved_b(&v);
    memory->free = memory->total - memory->used;
    return OK;
}

int nvmlDeviceGetMemoryInfo_v2(struct handle *handle, struct memory_v2 *memory)
{
    struct view v;
    LOOK(v, handle);
    NEED(memory);
    memory->total = v.gpu->memory_b;
    memory->reserved = reserved_b(&v);
    memory->used = used_b(&v);
    memory->free = memory->total - memory->used - memory->reserved;
    return OK;
}

int nvmlDeviceGetBAR1MemoryInfo(struct handle *handle, struct memory *memory)
{
    struct view v;
    LOOK(v, handle);
    NEED(memory);
    *memory = (struct memory){256 * MIB, 254 * MIB, 2 * MIB};
    return OK;
}

static int celsius(const struct view *v)
{
    return (int)lround(30.0 + 50.0 * mean_w(v, v->t_s, HEATING_S) / v->gpu->limit_w);
}

struct temperature { unsigned version; int sensor, temperature; };

int nvmlDeviceGetTemperatureV(struct handle *handle, struct temperature *temperature)
{
    struct view v;
    LOOK(v, handle);
    NEED(temperature && !temperature->sensor);
    temperature->temperature = celsius(&v);
    return OK;
}

/* Clocks: graphics, SM, memory, video. */
static unsigned clock_mhz(const struct view *v, int kind)
{
    if (kind == 2) return v->gpu->memory_mhz;
    return 210 + (v->gpu->sm_mhz - 210) * busy_pct(v, v->t_s) / 100;
}

OF_KIND(nvmlDeviceGetTemperature, 1, celsius(&v))
OF_KIND(nvmlDeviceGetClockInfo, 4, clock_mhz(&v, kind))
OF_KIND(nvmlDeviceGetMaxClockInfo, 4, kind == 2 ? v.gpu->memory_mhz : v.gpu->sm_mhz)
GETTER(nvmlDeviceGetFanSpeed, unsigned, v.gpu->has_fan, celsius(&v)) /* it follows the heat */

int nvmlDeviceGetTotalEccErrors(struct handle *handle, int error, int counter,
                                unsigned long long *count)
{
    struct view v;
    (void)error;
    (void)counter;
    LOOK(v, handle);
    NEED(count);
    if (!v.gpu->is_server) return NOT_SUPPORTED;
    *count = 0;
    return OK;
}

/* ---- processes ---- */

struct process { unsigned pid; unsigned long long memory_b; };
struct process_v2 { unsigned pid; unsigned long long memory_b; unsigned gpu_instance, instance; };

static int processes(struct handle *handle, unsigned *count, void *to, int is_v2,
                     const char *function)
{
    struct view v;
    unsigned room, found;
    int code = look_at(&v, handle, function);
    if (code) return code;
    NEED(count);
    room = *count;
    found = strstr(function, "Compute") && !strstr(function, "MPS") ? v.gpu->pid_count : 0;
    *count = found;
    if (room < found) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < found; i++) {
        unsigned pid = v.gpu->pids[i];
        if (is_v2) ((struct process_v2 *)to)[i] = (struct process_v2){pid, 1024 * MIB, ~0u, ~0u};
        else ((struct process *)to)[i] = (struct process){pid, 1024 * MIB};
    }
    return OK;
}

#define PROCESSES(name, is_v2) \
    int name(struct handle *handle, unsigned *count, void *to) \
    { \
        return processes(handle, count, to, is_v2, __func__); \
    }

PROCESSES(nvmlDeviceGetComputeRunningProcesses, 0)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, 1)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, 1)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, 0)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, 1)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, 1)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, 0)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, 1)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, 1)

/* ---- what these GPUs do not have, and what nobody may set ---- */

#define LACKING(name) \
    int name(struct handle *handle) \
    { \
        struct view v; \
        LOOK(v, handle); \
        return NOT_SUPPORTED; \
    }

LACKING(nvmlDeviceGetC2cModeInfoV)
LACKING(nvmlDeviceGetConfComputeMemSizeInfo)
LACKING(nvmlDeviceGetDeviceHandleFromMigDeviceHandle)
LACKING(nvmlDeviceGetDriverModel)
LACKING(nvmlDeviceGetDriverModel_v2)
LACKING(nvmlDeviceGetMigDeviceHandleByIndex)
LACKING(nvmlDeviceGetGpuInstanceId)
LACKING(nvmlDeviceGetComputeInstanceId)
LACKING(nvmlDeviceGetPcieThroughput)
LACKING(nvmlDeviceGetRunningProcessDetailList)
LACKING(nvmlDeviceGetSerial)
LACKING(nvmlDeviceGetSupportedGraphicsClocks)
LACKING(nvmlDeviceGetSupportedMemoryClocks)

#define SETTER(name) \
    int name(struct handle *handle) \
    { \
        struct view v; \
        LOOK(v, handle); \
        if (is_writable) atomic_fetch_add(&v.s->sets, 1); \
        return NOT_SUPPORTED; \
    }

SETTER(nvmlDeviceSetPowerManagementLimit)
SETTER(nvmlDeviceSetPersistenceMode)
SETTER(nvmlDeviceSetComputeMode)
SETTER(nvmlDeviceSetEccMode)
SETTER(nvmlDeviceSetMigMode)
SETTER(nvmlDeviceSetFanSpeed_v2)
SETTER(nvmlDeviceSetApplicationsClocks)
SETTER(nvmlDeviceResetApplicationsClocks)
SETTER(nvmlDeviceSetGpuLockedClocks)
SETTER(nvmlDeviceResetGpuLockedClocks)
SETTER(nvmlDeviceSetMemoryLockedClocks)
SETTER(nvmlDeviceResetMemoryLockedClocks)
