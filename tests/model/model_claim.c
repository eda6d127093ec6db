/* Models of coroutine_claim(), as it is: of all who spawn one coroutine one gets it, and those who do not leave it alone.
 *
 * The coroutine itself is a model: what the interpreter writes when it resumes and suspends one, in its order.
 */
#include "compat.h"

#define EXECUTING 0
#define SUSPENDED (-2)
#define COMPLETED 1

static PyGenObject *gen;
static struct _err_stackitem below; /* what the one who resumes it has as its exception state */
static int won;

static _Atomic(struct _err_stackitem *) *
link_of(void)
{
    return (void *)&gen->gi_exc_state.previous_item;
}

static void
resume(int8_t state_afterwards)
{
    atomic_store_explicit(link_of(), &below, memory_order_relaxed);
    atomic_store_explicit((_Atomic int8_t *)&gen->gi_frame_state, EXECUTING, memory_order_relaxed);
    atomic_store_explicit((_Atomic int8_t *)&gen->gi_frame_state, state_afterwards,
                          memory_order_relaxed);
    /* without it the thread goes on with no exception state, and crashes */
    model_check(atomic_load_explicit(link_of(), memory_order_relaxed) == &below);
    atomic_store_explicit(link_of(), NULL, memory_order_relaxed);
}

static void
claims(void *unused)
{
    (void)unused;
    if (coroutine_claim((PyObject *)gen)) {
        won++;
        resume(SUSPENDED);
        resume(COMPLETED);
    }
}

static void
begin(void)
{
    kernel_reset();
    gen = model_memory(sizeof(*gen), 16);
    gen->gi_frame_state = COROUTINE_FRAME_CREATED;
    won = 0;
    model_thread("first", claims, NULL);
    model_thread("second", claims, NULL);
}

static void
begin_three(void)
{
    begin();
    model_thread("third", claims, NULL);
}

static void
finish(void)
{
    model_check(won == 1);
    model_check(gen->gi_frame_state == COMPLETED && gen->gi_exc_state.previous_item == NULL);
}

const Model models[] = {
    {"claim: two spawn one coroutine", begin, finish, NULL, MODEL_ALL, false, false},
    {"claim: three spawn one coroutine", begin_three, finish, NULL, MODEL_ALL, false, false},
    {0},
};
