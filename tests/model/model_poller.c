/* Models of core/poller.c: a wake-up ends the wait that is going on, or the next one; several count as one. */
#include "core/poller.h"

static Poller *poller;
static _Atomic int *given;
static int wakings;

static void
wake(void *unused)
{
    (void)unused;
    atomic_fetch_add_explicit(given, 1, memory_order_relaxed);
    poller_wake(poller);
}

static void
wait_for_all(void *unused)
{
    PollEvent events[POLLER_BATCH];

    (void)unused;
    while (atomic_load_explicit(given, memory_order_relaxed) < wakings) {
        model_check(poller_wait(poller, events, POLL_FOREVER) == 0);
    }
}

static void
start(void)
{
    kernel_reset();
    poller = model_memory(sizeof(*poller), 8);
    given = model_memory(sizeof(*given), 4);
    poller_open(poller);
    wakings = 2;
    model_thread("waits", wait_for_all, NULL);
    model_thread("first", wake, NULL);
    model_thread("second", wake, NULL);
}

const Model models[] = {
    {"poller: two wake-ups", start, NULL, NULL, MODEL_ALL, false, false},
    {0},
};
