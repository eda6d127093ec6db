/* Perturbation: random numbers of the workers, and what is done with them. See perturb.h. */
#include "runtime/perturb.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define LONGEST_DELAY 60000 /* nanoseconds that a worker sleeps, if it does */

/* Spreads a number over all bits; different numbers stay different. */
static uint64_t
scramble(uint64_t number)
{
    number += 0x9e3779b97f4a7c15u;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
    return number ^ (number >> 31);
}

int
perturb_begin(Runtime *runtime)
{
    const char *text = getenv("TONIO_SCHEDULE_SEED");
    char *end;

    if (text == NULL || *text == '\0') {
        return 0;
    }
    errno = 0;
    uint64_t seed = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0) {
        PyErr_Format(PyExc_ValueError, "TONIO_SCHEDULE_SEED must be a number, not %.100s", text);
        return -1;
    }
    for (int i = 0; i < runtime->worker_count && runtime->worker_count > 1; i++) {
        runtime->workers[i].perturbation = scramble(scramble(seed) + (uint64_t)i) | 1;
    }
    return 0;
}

uint32_t
perturb_choose(Worker *worker, uint32_t count)
{
    uint64_t number = worker->perturbation; /* xorshift64*, which never gets to 0 */

    number ^= number >> 12;
    number ^= number << 25;
    number ^= number >> 27;
    worker->perturbation = number;
    return (uint32_t)((number * 0x2545f4914f6cdd1du) >> 32) % count;
}

void
perturb_delay(Worker *worker)
{
    uint32_t choice = perturb_choose(worker, 32);

    if (choice == 0) {
        struct timespec pause = {0, (long)perturb_choose(worker, LONGEST_DELAY)};
        nanosleep(&pause, NULL);
    }
    else if (choice < 6) {
        sched_yield();
    }
}

void
perturb_chain(Worker *worker, TaskChain *chain)
{
    RunNode *node = &chain->first->run;
    RunNode *halves[2] = {NULL, NULL};
    RunNode **ends[2] = {&halves[0], &halves[1]};

    if (chain->count < 2) {
        return;
    }
    /* dealt out to two hands, one of which is put behind the other */
    while (node != NULL) {
        RunNode *next = node->next;
        uint32_t hand = perturb_choose(worker, 2);
        node->next = NULL;
        *ends[hand] = node;
        ends[hand] = &node->next;
        node = next;
    }
    *chain = (TaskChain)TASK_CHAIN_EMPTY;
    for (int hand = 1; hand >= 0; hand--) {
        for (node = halves[hand]; node != NULL;) {
            RunNode *next = node->next;
            task_chain_append(chain, LIST_ENTRY(node, Task, run));
            node = next;
        }
    }
}
