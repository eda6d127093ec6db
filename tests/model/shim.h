/* Shim: included in front of each file of src/ that is explored (gcc -include). What other threads could see of the file -
 * atomic operations, mutexes, the clock, system calls - goes to the explorer (explore.h) and its kernel (kernel.h).
 *
 * MODEL_REAL_MUTEX leaves core/mutex.h as it is; elsewhere a mutex is one step, and who waits for it simply cannot run.
 */
#ifndef TONIO_MODEL_SHIM_H
#define TONIO_MODEL_SHIM_H

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "explore.h"
#include "kernel.h"

/* ---- atomic operations ----------------------------------------------------------------------------------- */

/* The type of an atomic object without the qualifier. */
#define MODEL_PLAIN(p) __typeof__((void)0, *(p))

#undef atomic_init
#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_exchange_explicit
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak
#undef atomic_compare_exchange_weak_explicit
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and
#undef atomic_fetch_and_explicit
#undef atomic_thread_fence

#define atomic_init(p, v) ((void)(*(MODEL_PLAIN(p) *)(void *)(p) = (v)))

#define atomic_load_explicit(p, order)                                                             \
    ({                                                                                             \
        __auto_type p_ = (p);                                                                      \
        MODEL_PLAIN(p_) v_;                                                                        \
        model_load((const void *)p_, &v_, sizeof(v_), order, MODEL_WHERE " " #p);                  \
        v_;                                                                                        \
    })
#define atomic_load(p) atomic_load_explicit(p, memory_order_seq_cst)

#define atomic_store_explicit(p, v, order)                                                         \
    ({                                                                                             \
        __auto_type p_ = (p);                                                                      \
        MODEL_PLAIN(p_) v_ = (v);                                                                  \
        model_store((void *)p_, &v_, sizeof(v_), order, MODEL_WHERE " " #p " = " #v);              \
    })
#define atomic_store(p, v) atomic_store_explicit(p, v, memory_order_seq_cst)

/* The old value; the new one is computed from `old_`. */
#define MODEL_UPDATE(p, text, new)                                                                 \
    ({                                                                                             \
        MODEL_PLAIN(p) *p_ = (void *)(p);                                                          \
        model_change(p_, MODEL_WHERE " " text " " #p);                                             \
        MODEL_PLAIN(p) old_ = *p_;                                                                 \
        *p_ = (new);                                                                               \
        old_;                                                                                      \
    })
#define atomic_exchange_explicit(p, v, order) MODEL_UPDATE(p, "exchange", v)
#define atomic_fetch_add_explicit(p, v, order) MODEL_UPDATE(p, "add", old_ + (v))
#define atomic_fetch_sub_explicit(p, v, order) MODEL_UPDATE(p, "subtract", old_ - (v))
#define atomic_fetch_or_explicit(p, v, order) MODEL_UPDATE(p, "or", old_ | (v))
#define atomic_fetch_and_explicit(p, v, order) MODEL_UPDATE(p, "and", old_ &(v))
#define atomic_exchange(p, v) atomic_exchange_explicit(p, v, memory_order_seq_cst)
#define atomic_fetch_add(p, v) atomic_fetch_add_explicit(p, v, memory_order_seq_cst)
#define atomic_fetch_sub(p, v) atomic_fetch_sub_explicit(p, v, memory_order_seq_cst)
#define atomic_fetch_or(p, v) atomic_fetch_or_explicit(p, v, memory_order_seq_cst)
#define atomic_fetch_and(p, v) atomic_fetch_and_explicit(p, v, memory_order_seq_cst)

#define atomic_compare_exchange_strong_explicit(p, expected, desired, success, failure)            \
    ({                                                                                             \
        MODEL_PLAIN(p) *p_ = (void *)(p);                                                          \
        MODEL_PLAIN(p) *e_ = (expected);                                                           \
        bool equal_ = model_compare(p_, e_, sizeof(*p_), MODEL_WHERE " " #p);                      \
        if (equal_) {                                                                              \
            *p_ = (desired);                                                                       \
        }                                                                                          \
        else {                                                                                     \
            *e_ = *p_;                                                                             \
        }                                                                                          \
        equal_;                                                                                    \
    })
/* It never fails without a reason here: that would only make a loop go round once more. */
#define atomic_compare_exchange_weak_explicit atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_strong(p, expected, desired)                                       \
    atomic_compare_exchange_strong_explicit(p, expected, desired, memory_order_seq_cst,            \
                                            memory_order_seq_cst)

#define atomic_thread_fence(order) ((order) == memory_order_seq_cst ? model_fence() : (void)0)

/* ---- core/mutex.h ---------------------------------------------------------------------------------------- */

#ifndef MODEL_REAL_MUTEX
#define TONIO_CORE_MUTEX_H

typedef struct Mutex {
    _Atomic uint32_t word;
} Mutex;

extern _Thread_local uint32_t mutex_contention;
#define mutex_lock(m) model_lock((void *)&(m)->word, MODEL_WHERE " " #m)
#define mutex_try_lock(m) model_try_lock((void *)&(m)->word, MODEL_WHERE " " #m)
#define mutex_unlock(m) model_unlock((void *)&(m)->word, MODEL_WHERE " " #m)
#endif

/* ---- core/clock.h ---------------------------------------------------------------------------------------- */

#define TONIO_CORE_CLOCK_H

#define clock_now_ns() model_clock()
#define clock_now_us() (model_clock() / 1000u)

/* ---- the system ------------------------------------------------------------------------------------------ */

#define syscall(...) kernel_syscall(MODEL_WHERE, __VA_ARGS__)
#define sched_yield() model_yield(MODEL_WHERE)
#define epoll_create1(flags) kernel_epoll_create()
#define epoll_ctl(poll, operation, fd, event) kernel_epoll_ctl(poll, operation, fd, event)
#define epoll_wait(poll, events, most, timeout)                                                    \
    kernel_epoll_wait(poll, events, most, timeout, MODEL_WHERE)
#define eventfd(value, flags) kernel_eventfd()
#define close(fd) kernel_close(fd, MODEL_WHERE)
#define write(fd, data, size) kernel_write(fd, data, size, MODEL_WHERE)
#define send(fd, data, size, flags) kernel_write(fd, data, size, MODEL_WHERE)
#define read(fd, data, size) kernel_read(fd, data, size, MODEL_WHERE)
#define recv(fd, data, size, flags) kernel_read(fd, data, size, MODEL_WHERE)
#define accept4(fd, address, length, flags) kernel_accept(fd, length, MODEL_WHERE)

/* Memory is the explorer's, and gone with the run. */
#define malloc(size) model_memory_used(size, 16)
#define calloc(count, size) model_memory((count) * (size), 16)
#define realloc(memory, size) kernel_realloc(memory, size)
#define posix_memalign(memory, alignment, size)                                                    \
    ((*(memory) = model_memory_used(size, alignment)) == NULL)
#define free(memory) ((void)(memory))

#endif
