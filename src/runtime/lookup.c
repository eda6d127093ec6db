/* Lookup: names are looked up by threads of their own, which know no Python.
 *
 * The system's resolver blocks, for many seconds if a name server does not answer, and cannot be interrupted. On the blocking
 * pool it would stand behind the program's own jobs, hold their threads, and keep a run from ending. So each lookup gets a
 * plain thread, up to LOOKUP_THREADS of them in the process; a thread that has answered takes the next question from the
 * queue, or ends. Who asks waits like for anything else, and may go away at any time: the question belongs to both, and the
 * one who lets go last frees it. At the end of a run nobody waits for these threads.
 *
 * Locks: `queue_mutex` guards the queue and the count of threads, a lookup's `mutex` its waiters; neither is held while the
 * other is taken. A thread is a visitor of the runtime while it wakes somebody, so the runtime outlives the wake-up; if
 * there is no such runtime any more there are no waiters either. A forked child has none of the threads: its queue starts
 * empty.
 */
#include "runtime/lookup.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/runtime.h"
#include "runtime/scheduler.h"

static Mutex queue_mutex; /* guards the next two */
static List queue;
static size_t threads;

static PyObject *gaierror; /* owned for ever: socket.gaierror */

/* ---- the threads ----------------------------------------------------------------------------------------- */

static void
lookup_work(Lookup *lookup)
{
    TaskChain chain = TASK_CHAIN_EMPTY;
    Runtime *runtime;

    /* relaxed: only saves the work if nobody wants the answer any more */
    if (atomic_load_explicit(&lookup->references, memory_order_relaxed) > 1) {
        errno = 0;
        lookup->error =
            lookup->by_address
                ? getnameinfo((struct sockaddr *)&lookup->address, lookup->length,
                              lookup->host_name, sizeof(lookup->host_name), lookup->service_name,
                              sizeof(lookup->service_name), lookup->flags)
                : getaddrinfo(lookup->host, lookup->service, &lookup->hints, &lookup->found);
        lookup->system_error = errno;
        runtime = runtime_find(lookup->serial);
        mutex_lock(&lookup->mutex);
        /* release: pairs with the acquire in lookup_is_done */
        atomic_store_explicit(&lookup->done, true, memory_order_release);
        mutex_unlock(&lookup->mutex);
        if (runtime != NULL) {
            lookup_disturb(lookup, &chain);
            scheduler_wake_chain(&chain);
            runtime_leave(runtime);
        }
    }
    lookup_release(lookup);
}

static void *
lookup_thread(void *first)
{
    Lookup *lookup = first;

    while (lookup != NULL) {
        lookup_work(lookup);
        mutex_lock(&queue_mutex);
        ListNode *node = list_pop_head(&queue);
        lookup = node == NULL ? NULL : LIST_ENTRY(node, Lookup, queued);
        if (lookup == NULL) {
            threads--;
        }
        mutex_unlock(&queue_mutex);
    }
    return NULL;
}

/* 0 or an errno. The thread takes no signals: those are for the interpreter's own threads. */
static int
thread_begin(Lookup *lookup)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    int error = pthread_attr_init(&attributes);

    if (error != 0) {
        return error;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    error = pthread_create(&thread, &attributes, lookup_thread, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

static void
forked_child(void)
{
    queue_mutex = (Mutex){0};
    list_init(&queue);
    threads = 0;
}

/* ---- asking ---------------------------------------------------------------------------------------------- */

Lookup *
lookup_new(const char *host, const char *service)
{
    Lookup *lookup = calloc(1, sizeof(Lookup));

    if (lookup == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    atomic_init(&lookup->references, 1);
    list_init(&lookup->waiters);
    list_node_init(&lookup->queued);
    list_node_init(&lookup->owned);
    if ((host != NULL && (lookup->host = strdup(host)) == NULL) ||
        (service != NULL && (lookup->service = strdup(service)) == NULL)) {
        lookup_release(lookup);
        PyErr_NoMemory();
        return NULL;
    }
    return lookup;
}

void
lookup_release(Lookup *lookup)
{
    /* acq_rel: the last one to let go sees what the other did */
    if (atomic_fetch_sub_explicit(&lookup->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (lookup->found != NULL) {
        freeaddrinfo(lookup->found);
    }
    free(lookup->host);
    free(lookup->service);
    free(lookup);
}

int
lookup_start(Lookup *lookup, uint64_t serial)
{
    bool begin;
    int error;

    lookup->serial = serial;
    lookup->started = true;
    /* relaxed: the caller has one already */
    atomic_fetch_add_explicit(&lookup->references, 1, memory_order_relaxed);
    mutex_lock(&queue_mutex);
    begin = threads < LOOKUP_THREADS;
    if (begin) {
        threads++;
    }
    else {
        list_push_tail(&queue, &lookup->queued);
    }
    mutex_unlock(&queue_mutex);
    if (!begin) {
        return 0;
    }
    error = thread_begin(lookup);
    if (error == 0) {
        return 0;
    }
    /* Without a thread of its own it waits for one that there is. */
    mutex_lock(&queue_mutex);
    bool others = --threads > 0;
    if (others) {
        list_push_tail(&queue, &lookup->queued);
    }
    mutex_unlock(&queue_mutex);
    if (others) {
        return 0;
    }
    lookup_release(lookup);
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

bool
lookup_is_done(Lookup *lookup)
{
    /* acquire: pairs with the release in lookup_work */
    return atomic_load_explicit(&lookup->done, memory_order_acquire);
}

bool
lookup_arm(Lookup *lookup, Task *task)
{
    mutex_lock(&lookup->mutex);
    /* relaxed: stored under the mutex */
    bool parked = !atomic_load_explicit(&lookup->done, memory_order_relaxed);
    if (parked) {
        list_push_tail(&lookup->waiters, &task->wait);
    }
    mutex_unlock(&lookup->mutex);
    return parked;
}

void
lookup_detach(Lookup *lookup, Task *task)
{
    mutex_lock(&lookup->mutex);
    list_remove(&task->wait);
    mutex_unlock(&lookup->mutex);
}

void
lookup_disturb(Lookup *lookup, TaskChain *chain)
{
    ListNode *node;

    mutex_lock(&lookup->mutex);
    while ((node = list_pop_head(&lookup->waiters)) != NULL) {
        task_claim(LIST_ENTRY(node, Task, wait), TASK_COMPLETED, chain);
    }
    mutex_unlock(&lookup->mutex);
}

void
lookup_set_error_code(int error, int system_error)
{
    if (error == EAI_SYSTEM) {
        errno = system_error;
        PyErr_SetFromErrno(PyExc_OSError);
        return;
    }
    if (error == EAI_MEMORY) {
        PyErr_NoMemory();
        return;
    }
    PyObject *arguments = Py_BuildValue("(is)", error, gai_strerror(error));
    if (arguments != NULL) {
        PyErr_SetObject(gaierror, arguments);
        Py_DECREF(arguments);
    }
}

void
lookup_set_error(const Lookup *lookup)
{
    lookup_set_error_code(lookup->error, lookup->system_error);
}

int
lookup_module_init(PyObject *Py_UNUSED(module))
{
    PyObject *socket = PyImport_ImportModule("_socket");

    if (socket == NULL) {
        return -1;
    }
    gaierror = PyObject_GetAttrString(socket, "gaierror");
    Py_DECREF(socket);
    list_init(&queue);
    if (pthread_atfork(NULL, NULL, forked_child) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    return gaierror == NULL ? -1 : 0;
}
