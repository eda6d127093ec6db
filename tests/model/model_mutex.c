/* Models of core/mutex.c, as it is: one at a time is inside, and nobody sleeps for ever. */
#include "core/mutex.h"

static Mutex *mutex;
static _Atomic int *inside; /* atomic only for the explorer to see it */
static int entered;

static void
lock_and_unlock(void *unused)
{
    (void)unused;
    mutex_lock(mutex);
    model_check(atomic_fetch_add_explicit(inside, 1, memory_order_relaxed) == 0);
    entered++;
    atomic_fetch_sub_explicit(inside, 1, memory_order_relaxed);
    mutex_unlock(mutex);
}

static void
twice(void *unused)
{
    lock_and_unlock(unused);
    lock_and_unlock(unused);
}

static void
begin(void)
{
    kernel_reset();
    mutex = model_memory(sizeof(*mutex), 4);
    inside = model_memory(sizeof(*inside), 4);
    entered = 0;
}

static void
start_two(void)
{
    begin();
    model_thread("first", twice, NULL);
    model_thread("second", twice, NULL);
}

static void
start_three(void)
{
    begin();
    model_thread("first", lock_and_unlock, NULL);
    model_thread("second", lock_and_unlock, NULL);
    model_thread("third", lock_and_unlock, NULL);
}

static void
finish_two(void)
{
    model_check(entered == 4 && mutex->word == 0);
}

static void
finish_three(void)
{
    model_check(entered == 3 && mutex->word == 0);
}

const Model models[] = {
    {"mutex: two threads, twice each", start_two, finish_two, NULL, MODEL_ALL, false, false},
    {"mutex: three threads", start_three, finish_three, NULL, MODEL_ALL, false, false},
    {0},
};
