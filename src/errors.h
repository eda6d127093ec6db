/* Errors: the exception classes of tonio.exceptions, and what happens to an error that nobody can receive.
 *
 * The classes are defined in Python (tonio/exceptions.py) and looked up once, when the module is imported. All functions
 * are called attached, from any thread.
 */
#ifndef TONIO_ERRORS_H
#define TONIO_ERRORS_H

#include "compat.h"

typedef enum ErrorType {
    ERROR_CANCELLED,
    ERROR_TASK_CANCELLED,
    ERROR_WOULD_BLOCK,
    ERROR_DEADLOCK,
    ERROR_NOT_INITIALIZED,
    ERROR_ALREADY_INITIALIZED,
    ERROR_RESOURCE_BROKEN,
    ERROR_RESOURCE_CLOSED,
    ERROR_RESOURCE_BUSY,
    ERROR_END_OF_CHANNEL,
    ERROR_LAGGED,
    ERROR_INCOMPLETE_READ,
    ERROR_DELIMITER_NOT_FOUND,
    ERROR_TYPES,
} ErrorType;

/* Borrowed. */
PyObject *error_type(ErrorType type);

/* Sets a fresh CancelledError. */
void error_set_cancelled(void);

/* Is it the end of a cancelled coroutine (CancelledError, or the GeneratorExit of one that had to be closed)? */
bool error_is_cancelled(PyObject *error);

/* Does it end the whole run (SystemExit, KeyboardInterrupt)? */
bool error_ends_run(PyObject *error);

/* Hands an error (borrowed), or the current exception, to sys.unraisablehook. `where` completes "Exception ignored ...". */
void error_report(PyObject *error, const char *where);
void error_report_current(const char *where);

int errors_module_init(PyObject *module);

#endif
