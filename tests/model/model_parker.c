/* Models of core/parker.c: no unpark is lost, and a park takes over what was written before the unpark. */
#include "core/parker.h"

static Parker *parker;
static _Atomic int *given; /* by those who unpark */
static int unparkings;

static void
unpark(void *unused)
{
    (void)unused;
    atomic_fetch_add_explicit(given, 1, memory_order_relaxed);
    parker_unpark(parker);
}

/* Sleeps until everything has been given: one lost unpark, and it sleeps for ever. */
static void
park(void *unused)
{
    (void)unused;
    while (atomic_load_explicit(given, memory_order_relaxed) < unparkings) {
        model_check(parker_park(parker, PARK_FOREVER) == PARK_UNPARKED);
    }
}

/* A park that times out leaves nothing behind that makes the next one sleep. */
static void
park_for_a_while(void *unused)
{
    (void)unused;
    while (atomic_load_explicit(given, memory_order_relaxed) < unparkings) {
        if (parker_park(parker, 1000) == PARK_TIMED_OUT) {
            park(NULL);
        }
    }
}

static void
begin(int count, void (*function)(void *))
{
    kernel_reset();
    parker = model_memory(sizeof(*parker), 4);
    given = model_memory(sizeof(*given), 4);
    parker_init(parker);
    unparkings = count;
    model_thread("parker", function, NULL);
    for (int i = 0; i < count; i++) {
        model_thread(i == 0 ? "first" : "second", unpark, NULL);
    }
}

static void
start_park(void)
{
    begin(2, park);
}

static void
start_timeout(void)
{
    begin(2, park_for_a_while);
}

const Model models[] = {
    {"parker: two unparks", start_park, NULL, NULL, MODEL_ALL, false, false},
    {"parker: a time-out and two unparks", start_timeout, NULL, NULL, MODEL_ALL, false, true},
    {0},
};
