/* Shim: makes calls of the extension fail on purpose; see shim.c.
 *
 * `Faults` is memory that the driver (run.py) shares with the process under test, so that it can be read after a crash. Its
 * layout is repeated there.
 */
#ifndef TONIO_FAULTS_SHIM_H
#define TONIO_FAULTS_SHIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULTS_LOG 65536u /* calls whose symbol and place are remembered */
#define FAULTS_FIRED 16u  /* faults of one run that are remembered */

typedef struct FaultCall {
    uint32_t symbol;
    uint32_t caller; /* offset in the extension of what follows the call */
} FaultCall;

typedef struct FaultFired {
    uint32_t symbol;
    uint32_t caller;
    uint32_t variant;
    uint32_t call; /* its number */
} FaultFired;

typedef struct Faults {
    _Atomic uint64_t armed;       /* calls are counted, and fail */
    _Atomic uint64_t count;       /* calls so far */
    uint64_t fail_at;             /* the number of the call that fails, from 1; 0: none */
    uint64_t variant;             /* how, of the ways in which its function can fail */
    uint64_t one_in;              /* one of so many fails by chance, in any of its ways; 0: none */
    uint64_t seed;                /* of that chance */
    _Atomic uint64_t fired;       /* faults so far */
    _Atomic int64_t live_memory;  /* blocks that the extension has from malloc and its like */
    _Atomic int64_t live_objects; /* objects that it has allocated by name of their type */
    FaultFired first[FAULTS_FIRED];
    FaultCall log[FAULTS_LOG];
} Faults;

/* What can fail, and in which ways. An errno, or one of these; FAULT_MEMORY stands for NULL, or a MemoryError. */
enum {
    FAULT_MEMORY = 10000,
    FAULT_SHORT,  /* the call does less than it was asked for */
    FAULT_THREAD, /* what the interpreter says when a thread cannot be started */
    FAULT_WOKEN,  /* a futex wait that ends for no reason */
    FAULT_GAI,    /* + 100 + a code of getaddrinfo */
};

#define FAULTS_API __attribute__((visibility("default")))

FAULTS_API void faults_attach(Faults *shared);
FAULTS_API void faults_write_coverage(void);
FAULTS_API const char *faults_symbol(int symbol);       /* NULL: there are no more */
FAULTS_API int faults_variant(int symbol, int variant); /* 0: there are no more */

/* Shall this call fail? 0: no; else how. */
int fault_here(int symbol, void *caller);
void fault_memory_taken(void *memory);
void fault_memory_given(void *memory);
void fault_object_taken(void *object);
void fault_object_given(void *object);

#endif
