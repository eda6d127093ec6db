/* Everything that differs between CPython versions, and every look into the interpreter's insides.
 *
 * 3.13 is the version this is written for; 3.14 moved the generator object's fields into an internal
 * header, which is why that one is included here and nowhere else. All functions are called by a
 * thread that is attached to the interpreter, unless they say otherwise.
 */
#ifndef TONIO_COMPAT_H
#define TONIO_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdatomic.h>
#include <stdbool.h>

#if PY_VERSION_HEX >= 0x030E0000
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#define TONIO_UNDEF_BUILD_CORE
#endif
#include <internal/pycore_interpframe_structs.h> /* struct _PyGenObject */
#ifdef TONIO_UNDEF_BUILD_CORE
#undef Py_BUILD_CORE
#undef TONIO_UNDEF_BUILD_CORE
#endif
#endif

/* A coroutine here is what the runtime can resume: a generator or an `async def` coroutine. Both are the
 * same C structure. */
static inline bool
coroutine_check(PyObject *object)
{
    return PyGen_CheckExact(object) || PyCoro_CheckExact(object);
}

#if PY_VERSION_HEX < 0x030F0000
#define COROUTINE_FRAME_CREATED (-3)
#else
#define COROUTINE_FRAME_CREATED 0
#endif

/* Claims a coroutine for one task: true for the first caller, false for everybody after it.
 *
 * Two threads that resume one generator crash the process, because its frame state is a plain byte. So a
 * coroutine is claimed before it is handed to the scheduler. While it has not started, the link of its
 * exception state is NULL and nobody reads it; the first send overwrites it. It serves as the claim. */
static inline bool
coroutine_claim(PyObject *coroutine)
{
    PyGenObject *gen = (PyGenObject *)coroutine;
    _Atomic(struct _err_stackitem *) *link = (void *)&gen->gi_exc_state.previous_item;
    _Atomic int8_t *state = (void *)&gen->gi_frame_state;
    struct _err_stackitem *expected = NULL;

    /* relaxed: the exchange decides */
    if (atomic_load_explicit(state, memory_order_relaxed) != COROUTINE_FRAME_CREATED) {
        return false;
    }
    /* acq_rel: of two claimants one sees the other's token; the state is looked at again because the
     * generator may have been started, and its link reset to NULL, since it was read above */
    if (!atomic_compare_exchange_strong_explicit(link, &expected, &gen->gi_exc_state,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        return false;
    }
    if (atomic_load_explicit(state, memory_order_relaxed) != COROUTINE_FRAME_CREATED) {
        /* unless whose task it is has resumed it meanwhile, and made the link its own: without that link it would
         * come back to no exception state at all */
        expected = &gen->gi_exc_state;
        atomic_compare_exchange_strong_explicit(link, &expected, NULL, memory_order_release,
                                                memory_order_relaxed);
        return false;
    }
    return true;
}

/* Takes a claim back; the coroutine was not resumed in between. */
static inline void
coroutine_unclaim(PyObject *coroutine)
{
    PyGenObject *gen = (PyGenObject *)coroutine;
    atomic_store_explicit(
        (_Atomic(struct _err_stackitem *) *)(void *)&gen->gi_exc_state.previous_item, NULL,
        memory_order_release);
}

/* Where a coroutine that is not running stands; it differs when it has been resumed and has ended. */
static inline int
coroutine_state(PyObject *coroutine)
{
    return *(volatile int8_t *)&((PyGenObject *)coroutine)->gi_frame_state;
}

/* The name that a task of this coroutine goes by. Borrowed. */
static inline PyObject *
coroutine_qualname(PyObject *coroutine)
{
    return ((PyGenObject *)coroutine)->gi_qualname;
}

/* Makes an object immortal: its count of references stands still. Only while no other thread can have it. */
static inline void
object_immortalize(PyObject *object)
{
#ifdef Py_GIL_DISABLED
    object->ob_tid = 0;
    object->ob_ref_local = UINT32_MAX;
    object->ob_ref_shared = 0;
#else
    (void)object;
#endif
}

/* Moves one of the caller's references to where other threads count theirs, because another one is going to drop it.
 *
 * A thread counts the references to objects that it made without locked instructions. Who drops one of these in another
 * thread must leave that to the owner: it queues the object, under a lock, and interrupts the owner, or wakes it.
 * A reference that was lent costs two locked instructions and nothing else. */
static inline void
object_lend(PyObject *object)
{
#ifdef Py_GIL_DISABLED
    if (_Py_IsImmortal(object) || !_Py_IsOwnedByCurrentThread(object)) {
        return;
    }
    _Py_atomic_add_ssize(&object->ob_ref_shared, 1 << _Py_REF_SHARED_SHIFT);
    uint32_t local = _Py_atomic_load_uint32_relaxed(&object->ob_ref_local) - 1;
    _Py_atomic_store_uint32_relaxed(&object->ob_ref_local, local);
    if (local == 0) {
        _Py_MergeZeroLocalRefcount(object);
    }
#else
    (void)object;
#endif
}

/* Does the interpreter want something of this thread state (a stop, a merge of reference counts, a signal, a
 * collection)? Any attached thread may ask, also about another thread's state while that thread is kept alive. */
static inline bool
thread_state_has_requests(PyThreadState *tstate)
{
    /* relaxed: a hint that is looked at again and again */
    uintptr_t breaker =
        atomic_load_explicit((_Atomic uintptr_t *)&tstate->eval_breaker, memory_order_relaxed);
    return (breaker & 0xff) != 0;
}

/* The same, for a thread that is detached from the interpreter. When that ends, it frees the states of all other threads,
 * while daemons that run a runtime may still sleep and wake; nobody wants anything of them any more. It says that it
 * ends, then stops whoever is attached, and only then frees: long after a look that began before. */
static inline bool
detached_state_has_requests(PyThreadState *tstate)
{
    return !Py_IsFinalizing() && thread_state_has_requests(tstate);
}

/* A bottom of its own for the thread's stack of handled exceptions: what runs above it does not see the
 * exception that the caller of `run` may be handling. Looking for the handled exception walks down until an
 * item has no predecessor, so the new bottom has none. Returns what exception_stack_leave is to put back. */
static inline _PyErr_StackItem *
exception_stack_enter(PyThreadState *tstate, _PyErr_StackItem *bottom)
{
    _PyErr_StackItem *before = tstate->exc_info;
    bottom->exc_value = NULL;
    bottom->previous_item = NULL;
    tstate->exc_info = bottom;
    return before;
}

/* Puts hooks for asynchronous generators in (stolen, NULL for none) and gives those that were there. As
 * sys.set_asyncgen_hooks(), but it cannot fail: what was there must come back. */
static inline void
async_generator_hooks_swap(PyThreadState *tstate, PyObject **begun, PyObject **dropped)
{
    PyObject *begun_before = tstate->async_gen_firstiter;
    PyObject *dropped_before = tstate->async_gen_finalizer;

    tstate->async_gen_firstiter = *begun;
    tstate->async_gen_finalizer = *dropped;
    *begun = begun_before;
    *dropped = dropped_before;
}

static inline void
exception_stack_leave(PyThreadState *tstate, _PyErr_StackItem *before)
{
    tstate->exc_info = before;
}

#endif
