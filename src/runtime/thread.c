/* Thread: starting and joining, in spite of signal handlers.
 *
 * On the main thread a signal handler may run, and raise, inside of Thread.start() or Thread.join(). So an exception there
 * does not tell whether the thread runs. Starter and thread settle that between themselves by one exchange on a ticket: if
 * the thread took it first it runs; if the starter gave up first the thread, should it come to life, leaves at once.
 */
#include "runtime/thread.h"

#include <stdlib.h>

#include "errors.h"
#include "support.h"

typedef enum TicketState { TICKET_OPEN, TICKET_TAKEN, TICKET_CANCELLED } TicketState;

typedef struct Ticket {
    _Atomic int state;
    ThreadBody body;
    void *argument;
} Ticket;

static PyObject *main_function; /* owned for ever */

static void
ticket_free(PyObject *capsule)
{
    free(PyCapsule_GetPointer(capsule, "tonio.ticket"));
}

static PyObject *
thread_main(PyObject *Py_UNUSED(module), PyObject *capsule)
{
    Ticket *ticket = PyCapsule_GetPointer(capsule, "tonio.ticket");
    PyObject *thread;

    if (ticket == NULL) {
        return NULL;
    }
    /* acq_rel: pairs with the starter's exchange */
    if (atomic_exchange_explicit(&ticket->state, TICKET_TAKEN, memory_order_acq_rel) == TICKET_CANCELLED) {
        Py_RETURN_NONE;
    }
    thread = PyObject_CallNoArgs(support.current_thread);
    if (thread == NULL) {
        error_report_current("in a thread of the runtime");
    }
    ticket->body(ticket->argument, thread);
    Py_RETURN_NONE;
}

static PyMethodDef thread_main_def = {"run", thread_main, METH_O, NULL};

int
thread_start(const char *name, ThreadBody body, void *argument, PyObject **stray)
{
    Ticket *ticket = malloc(sizeof(Ticket));
    PyObject *capsule;
    PyObject *thread;
    int result = 0;

    *stray = NULL;
    if (ticket == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    atomic_init(&ticket->state, TICKET_OPEN);
    ticket->body = body;
    ticket->argument = argument;
    capsule = PyCapsule_New(ticket, "tonio.ticket", ticket_free);
    if (capsule == NULL) {
        free(ticket);
        return -1;
    }
    thread = PyObject_CallFunction(support.start_thread, "OOs", main_function, capsule, name);
    if (thread == NULL) {
        int state = TICKET_OPEN;
        /* acq_rel: pairs with the thread's exchange */
        if (atomic_compare_exchange_strong_explicit(&ticket->state, &state, TICKET_CANCELLED, memory_order_acq_rel,
                                                    memory_order_acquire)) {
            result = -1;
        }
        else {
            *stray = PyErr_GetRaisedException();
        }
    }
    Py_XDECREF(thread);
    Py_DECREF(capsule);
    return result;
}

void
thread_join(PyObject *thread, PyObject **stray)
{
    PyObject *result = NULL;

    while (thread != NULL && result == NULL) {
        result = PyObject_CallMethodNoArgs(thread, support.name_join);
        if (result == NULL && *stray == NULL) {
            *stray = PyErr_GetRaisedException();
        }
        else if (result == NULL) {
            error_report_current("while waiting for a thread of the runtime");
        }
    }
    Py_XDECREF(result);
}

int
thread_module_init(PyObject *Py_UNUSED(module))
{
    main_function = PyCFunction_New(&thread_main_def, NULL);
    return main_function == NULL ? -1 : 0;
}
