/* Shim: counts the calls that the extension makes of the system, the allocators and the interpreter, and makes some fail.
 *
 * Only in the build with -Dfaults=true. The linker sends every call of a function in symbols.h from the extension's own code
 * to `__wrap_NAME` (--wrap), which asks here. So the interpreter and the libraries around it are never touched, and the
 * sources know nothing of this. Which call fails, and how, the driver (run.py) writes into memory that it shares.
 */
#include "shim.h"

#include <errno.h>
#include <netdb.h>

extern const char __ehdr_start[]
    __attribute__((visibility("hidden"))); /* where the extension was mapped */

static Faults *faults;

enum {
#define SYMBOL(name, ...) SYMBOL_##name,
#include "symbols.h"
#undef SYMBOL
    SYMBOLS,
};

#define MOST_VARIANTS 8

static const struct {
    const char *name;
    int variants[MOST_VARIANTS + 1];
} symbols[] = {
#define SYMBOL(name, ...) {#name, {__VA_ARGS__, 0}},
#include "symbols.h"
#undef SYMBOL
    {NULL, {0}},
};

const char *
faults_symbol(int symbol)
{
    return symbols[symbol].name;
}

int
faults_variant(int symbol, int variant)
{
    return symbols[symbol].variants[variant];
}

void
faults_attach(Faults *shared)
{
    faults = shared;
}

/* Writes down which lines have run, where that is counted: a forked process ends without doing so. */
void
faults_write_coverage(void)
{
#ifdef FAULTS_COVERAGE
    extern void __gcov_dump(void);
    __gcov_dump();
#endif
}

static unsigned
variant_count(int symbol)
{
    unsigned count = 0;
    while (symbols[symbol].variants[count] != 0) {
        count++;
    }
    return count;
}

/* A number that depends on the seed and on the number of the call only. */
static uint64_t
chance(uint64_t seed, uint64_t call)
{
    uint64_t x = (seed + 1) * 0x9E3779B97F4A7C15u + call * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

int
fault_here(int symbol, void *caller)
{
    if (faults == NULL || !atomic_load_explicit(&faults->armed, memory_order_relaxed)) {
        return 0;
    }
    uint64_t call = atomic_fetch_add_explicit(&faults->count, 1, memory_order_relaxed) + 1;
    uint32_t place = (uint32_t)((uintptr_t)caller - (uintptr_t)__ehdr_start);
    if (call <= FAULTS_LOG) {
        faults->log[call - 1] = (FaultCall){(uint32_t)symbol, place};
    }
    uint64_t variant = faults->variant;
    if (faults->one_in != 0) {
        uint64_t drawn = chance(faults->seed, call);
        if (drawn % faults->one_in != 0) {
            return 0;
        }
        variant = drawn >> 32;
    }
    else if (call != faults->fail_at) {
        return 0;
    }
    variant %= variant_count(symbol);
    uint64_t fired = atomic_fetch_add_explicit(&faults->fired, 1, memory_order_relaxed);
    if (fired < FAULTS_FIRED) {
        faults->first[fired] =
            (FaultFired){(uint32_t)symbol, place, (uint32_t)variant, (uint32_t)call};
    }
    return symbols[symbol].variants[variant];
}

void
fault_memory_taken(void *memory)
{
    if (faults != NULL && memory != NULL) {
        atomic_fetch_add_explicit(&faults->live_memory, 1, memory_order_relaxed);
    }
}

void
fault_memory_given(void *memory)
{
    if (faults != NULL && memory != NULL) {
        atomic_fetch_sub_explicit(&faults->live_memory, 1, memory_order_relaxed);
    }
}

void
fault_object_taken(void *object)
{
    if (faults != NULL && object != NULL) {
        atomic_fetch_add_explicit(&faults->live_objects, 1, memory_order_relaxed);
    }
}

void
fault_object_given(void *object)
{
    if (faults != NULL && object != NULL) {
        atomic_fetch_sub_explicit(&faults->live_objects, 1, memory_order_relaxed);
    }
}
