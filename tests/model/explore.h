/* Explorer: runs a small concurrent program again and again, each time with another interleaving, until all are done.
 *
 * The program is the real code of src/, compiled with shim.h, which turns each atomic operation, mutex and system call into a
 * call of this file. The threads of the program are coroutines of one thread, so every run is decided by the explorer alone
 * and can be repeated. Interleavings are sequentially consistent; with `store_buffers` stores that are not sequentially
 * consistent may also be delayed past later loads of their thread, as x86 does it (weaker machines are not looked at).
 */
#ifndef TONIO_MODEL_EXPLORE_H
#define TONIO_MODEL_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_FOREVER UINT64_MAX
#define MODEL_ALL 1000 /* preemptions: as many as there can be, every interleaving is tried */

typedef enum ModelQuiet {
    QUIET_GO_ON, /* time passes; if nobody waits for that, it is a deadlock */
    QUIET_DONE,  /* this is how the program is to end */
} ModelQuiet;

typedef struct Model {
    const char *name;
    void (*start)(void); /* makes what is shared, and the threads */
    void (*finish)(
        void); /* every thread has ended, or QUIET_DONE: looks at the outcome. May be NULL */
    ModelQuiet (*quiet)(void); /* nothing can happen any more but that time passes. May be NULL */
    int preemptions; /* how often a thread that could go on is interrupted, at most, in one run */
    bool store_buffers;
    bool
        time_passes; /* also while threads could go on (counts as a preemption), not only when all wait */
} Model;

/* What a program has to explore, ended by one without a name. */
extern const Model models[];

/* ---- for models ------------------------------------------------------------------------------------------ */

/* In `start`: a thread of the program. */
void model_thread(const char *name, void (*function)(void *), void *argument);

/* In `start`: a thread-local variable, of which each thread has its own value. */
void model_local(void *variable, size_t size);

/* Something is wrong in this run: it is reported with all its steps, and the program ends with status 1. */
_Noreturn void model_fail(const char *what, const char *where);

#define MODEL_TEXT_OF(x) #x
#define MODEL_TEXT(x) MODEL_TEXT_OF(x)
#define MODEL_WHERE __FILE__ ":" MODEL_TEXT(__LINE__)
#define model_check(condition)                                                                     \
    ((condition) ? (void)0 : model_fail("not so: " #condition, MODEL_WHERE))

/* 0 ... count - 1; all are tried. */
unsigned model_choose(unsigned count);

/* Memory that is taken back when the run ends; zeroed, or as an earlier run has left it. */
void *model_memory(size_t size, size_t alignment);
void *model_memory_used(size_t size, size_t alignment);

/* ---- for shim.h and kernel.c ----------------------------------------------------------------------------- */

void model_load(const void *address, void *value, size_t size, int order, const char *where);
void model_store(void *address, const void *value, size_t size, int order, const char *where);

/* Before a read-modify-write, which then is the caller's to do. */
void model_change(const void *address, const char *where);

/* The same for a compare-and-swap: is it to be done? */
bool model_compare(const void *address, const void *expected, size_t size, const char *where);

/* A further location is changed by the step that was just made. */
void model_touch(const void *address);

/* Makes the thread's delayed stores visible. */
void model_fence(void);

void model_lock(uint32_t *word, const char *where);
bool model_try_lock(uint32_t *word, const char *where);
void model_unlock(uint32_t *word, const char *where);

/* The thread waits until ready(argument) says so, at most until `deadline` (nanoseconds of model_clock). False: the time is
 * up. `address` stands for what is waited for: it counts as changed when the wait ends. */
bool model_wait(bool (*ready)(void *), void *argument, uint64_t deadline, const void *address,
                const char *where);

/* Lets others run: each that can makes a step. */
int model_yield(const char *where);

uint64_t model_clock(void);
void model_pass_time(uint64_t nanoseconds);

#endif
