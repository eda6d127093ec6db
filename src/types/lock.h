/* Lock: what a Condition needs to know of the lock that it goes with. */
#ifndef TONIO_TYPES_LOCK_H
#define TONIO_TYPES_LOCK_H

#include "types/permits.h"

typedef struct Lock {
    PyObject_HEAD vectorcallfunc vectorcall; /* lock() */
    Permits permits;                         /* one */
} Lock;

extern PyTypeObject Lock_Type;
extern const AcquireKind lock_kind;

/* A free lock: new reference or NULL. */
Lock *lock_new(void);

#endif
