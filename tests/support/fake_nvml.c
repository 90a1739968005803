/* A libnvidia-ml.so.1 for tests: real nvidia-ml-py calls it, the test sets what it answers.
 *
 * Build: gcc -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c
 * The test loads it through ctypes first; pynvml then finds the library of that SONAME loaded.
 * Signatures and numbers are those of nvml.h.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };
enum { DEVICES = 4 };

/* What the test sets through fake_set. */
enum {
    INIT_ERROR, COUNT, COUNT_ERROR, DRIVER_EMULATED,          /* of the machine */
    ENERGY_MJ, POWER_MW, INSTANT_MW, AVERAGE_MW, SM, MEMORY,  /* of one device */
    ENERGY_ERROR, POWER_ERROR, FIELD_ERROR, UTIL_ERROR, HANDLE_ERROR,
    CAPABILITY, VALUE_TYPE, PRODUCT, KEYS
};

struct device { int index; };

static struct device devices[DEVICES] = {{0}, {1}, {2}, {3}};
static long long state[DEVICES][KEYS];
static int initialised;
static int init_calls, shutdown_calls, handle_calls[DEVICES];

void fake_set(int device, int key, long long value) { state[device][key] = value; }
int fake_init_calls(void) { return init_calls; }
int fake_shutdown_calls(void) { return shutdown_calls; }
int fake_handle_calls(int device) { return handle_calls[device]; }

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    if (state[0][INIT_ERROR]) return (int)state[0][INIT_ERROR];
    init_calls++;
    initialised++;
    return OK;
}

int nvmlShutdown(void)
{
    if (!initialised) return UNINITIALIZED;
    shutdown_calls++;
    initialised--;
    return OK;
}

const char *nvmlErrorString(int code) { (void)code; return "fake error"; }

int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    snprintf(version, length, "%s", state[0][DRIVER_EMULATED] ? "560.35 pactmeter-bench" : "560.35");
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    if (!initialised) return UNINITIALIZED;
    *count = (unsigned)state[0][COUNT];
    return (int)state[0][COUNT_ERROR];
}

static int handle(int index, struct device **device)
{
    if (!initialised) return UNINITIALIZED;
    if (index < 0 || index >= state[0][COUNT]) return NOT_FOUND;
    handle_calls[index]++;
    if (state[index][HANDLE_ERROR]) return (int)state[index][HANDLE_ERROR];
    *device = &devices[index];
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **device)
{
    return handle((int)index, device);
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, struct device **device)
{
    int index;
    if (sscanf(bus, "0000:%x:00.0", &index) != 1) return INVALID_ARGUMENT;
    return handle(index - 1, device);
}

/* UUIDs differ in their first digits: GPU-0a..., GPU-1a..., so that one digit is a prefix. */
static void uuid_of(int index, char *text, unsigned length)
{
    snprintf(text, length, "GPU-%da000000-0000-0000-0000-000000000000", index);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **device)
{
    char own[80];
    int index;
    if (sscanf(uuid, "MIG-%d", &index) == 1) return handle(index, device);
    for (index = 0; index < state[0][COUNT]; index++) {
        uuid_of(index, own, sizeof own);
        if (!strcmp(own, uuid)) return handle(index, device);
    }
    return NOT_FOUND;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(struct device *slice, struct device **device)
{
    *device = slice;
    return OK;
}

int nvmlDeviceGetIndex(struct device *device, unsigned *index)
{
    *index = (unsigned)device->index;
    return OK;
}

int nvmlDeviceGetUUID(struct device *device, char *text, unsigned length)
{
    uuid_of(device->index, text, length);
    return OK;
}

int nvmlDeviceGetName(struct device *device, char *text, unsigned length)
{
    snprintf(text, length, "NVIDIA Fake %lld", state[device->index][PRODUCT]);
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(struct device *device, int *major, int *minor)
{
    long long capability = state[device->index][CAPABILITY];
    if (!capability) return NOT_SUPPORTED;
    *major = (int)(capability / 10);
    *minor = (int)(capability % 10);
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(struct device *device, unsigned long long *energy_mj)
{
    *energy_mj = (unsigned long long)state[device->index][ENERGY_MJ];
    return (int)state[device->index][ENERGY_ERROR];
}

int nvmlDeviceGetPowerUsage(struct device *device, unsigned *power_mw)
{
    *power_mw = (unsigned)state[device->index][POWER_MW];
    return (int)state[device->index][POWER_ERROR];
}

int nvmlDeviceGetUtilizationRates(struct device *device, unsigned *rates)
{
    rates[0] = (unsigned)state[device->index][SM];
    rates[1] = (unsigned)state[device->index][MEMORY];
    return (int)state[device->index][UTIL_ERROR];
}

struct field {
    uint32_t id, scope;
    int64_t timestamp, latency;
    int type, result;
    union { double d; uint32_t u32; unsigned long ul; uint64_t u64; } value;
};

int nvmlDeviceGetFieldValues(struct device *device, int count, struct field *fields)
{
    long long *own = state[device->index];
    for (int i = 0; i < count; i++) {
        struct field *f = &fields[i];
        long long value = f->id == 186 ? own[INSTANT_MW] : f->id == 185 ? own[AVERAGE_MW] : 0;
        f->result = value ? (int)own[FIELD_ERROR] : NOT_SUPPORTED;
        f->type = own[VALUE_TYPE] ? (int)own[VALUE_TYPE] : 1;
        f->value.u64 = (uint64_t)value;
    }
    return OK;
}
