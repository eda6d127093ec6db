/* Join: what it is made of, for join.c and for the functions that start things (spawn.c). */
#ifndef TONIO_TYPES_JOIN_H
#define TONIO_TYPES_JOIN_H

#include "core/mutex.h"
#include "runtime/blocking.h"
#include "runtime/operation.h"

#include "runtime/cancel.h"

typedef struct Join Join;
typedef struct Scope Scope;

/* An error of one part; in the order in which they came. */
typedef struct JoinError {
    struct JoinError *next;
    PyObject *error; /* owned */
    uint32_t index;
} JoinError;

/* One blocking job of a join. */
typedef struct JoinJob {
    Join *join;       /* borrowed: the join refers to itself while it runs */
    BlockingJob *job; /* owned; set before the join is handed out */
    uint32_t index;
} JoinJob;

typedef enum JoinShape {
    JOIN_VALUE,   /* the result is the value of the only part */
    JOIN_LIST,    /* the values in order */
    JOIN_NOTHING, /* None */
} JoinShape;

struct Join {
    Operation base;
    Completion completion; /* what its tasks report to */
    Mutex mutex;
    _Atomic uint32_t remaining; /* parts that have not ended; written under mutex */
    uint32_t total;
    uint8_t shape;          /* JoinShape */
    bool owned;             /* a cancelled waiter cancels the parts and waits for them */
    bool plain_error;       /* the error of the only part is raised as it is */
    _Atomic bool retrieved; /* somebody was told of the errors */
    bool cancelled;         /* guarded by mutex until remaining is 0: some part was cancelled */
    List waiters;           /* tasks by `wait`; guarded by mutex */
    List tasks;             /* tasks by `sibling`; guarded by mutex */
    PyObject *result;       /* owned: value, or list; its parts are filled in by those who end */
    JoinError *errors;      /* guarded by mutex until remaining is 0 */
    _Atomic(JoinJob *)
        jobs; /* owned: `total` of them, or NULL; guarded by mutex once the join was handed out */
    PyObject *name; /* owned or NULL */
    Scope
        *scope; /* borrowed or NULL: what its task was started in, which does not end before that */
    ScopeMember member; /* of the scope */
    Join *next_ended;   /* in the scope's list; guarded by its mutex */
};

/* A join of `total` parts that have not been started. New reference or NULL. */
Join *join_new(uint32_t total, JoinShape shape);

/* Drops a join (NULL for none) of which nothing was started. */
void join_abandon(Join *self);

/* Appends the errors that nobody was told of to an error list, or, with NULL, reports them. */
void join_take_errors(Join *self, PyObject *errors);

/* A part has ended with `value` or `error` (stolen, one is NULL). `task` is NULL for a job. */
void join_part_done(Join *self, uint32_t index, Task *task, PyObject *value, PyObject *error);

/* BlockingDone for a JoinJob. */
void join_job_done(void *owner, PyObject *value, PyObject *error);

#endif
