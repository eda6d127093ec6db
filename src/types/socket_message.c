/* Socket message: sendmsg, recvmsg and recvmsg_into - scattered buffers and ancillary data.
 *
 * A Message holds what one call needs from the moment the operation is made: exported buffers, the vector over them, and the
 * control buffer. It belongs to its operation. The system call is made by the task that waits, as for all others; descriptors
 * that a call has received are closed if they cannot be handed over. Attached; no state.
 */
#include "types/socket.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
message_free(Message *message)
{
    if (message == NULL) {
        return;
    }
    for (size_t i = 0; i < message->count; i++) {
        PyBuffer_Release(&message->buffers[i]);
    }
    free(message->buffers);
    free(message->parts);
    free(message->control);
    free(message);
}

PyObject *
receive_room(size_t size)
{
    if (size > (size_t)PY_SSIZE_T_MAX - 1024) {
        return PyErr_NoMemory();
    }
    return PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
}

PyObject *
receive_room_filled(PyObject *room, size_t size)
{
    size_t all = (size_t)PyBytes_GET_SIZE(room);

    if (size < all / 2) {
        PyObject *copy = PyBytes_FromStringAndSize(PyBytes_AS_STRING(room), (Py_ssize_t)size);
        if (copy != NULL) {
            Py_DECREF(room);
            return copy;
        }
        PyErr_Clear();
    }
    /* It is shortened where it is; nobody else has it, and it has never been hashed. */
    if (size < all) {
        Py_SET_SIZE(room, (Py_ssize_t)size);
        PyBytes_AS_STRING(room)[size] = '\0';
    }
    return room;
}

/* ---- ancillary data -------------------------------------------------------------------------------------- */

/* The bytes of a control message that are there: the buffer may have been too small for them. */
static size_t
control_length(struct msghdr *header, struct cmsghdr *item)
{
    size_t before = (size_t)((char *)CMSG_DATA(item) - (char *)header->msg_control);
    size_t room = header->msg_controllen > before ? header->msg_controllen - before : 0;
    size_t length = item->cmsg_len > CMSG_LEN(0) ? item->cmsg_len - CMSG_LEN(0) : 0;

    return length < room ? length : room;
}

/* A list of (level, type, bytes). */
static PyObject *
control_to_object(struct msghdr *header)
{
    PyObject *list = PyList_New(0);

    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); list != NULL && item != NULL;
         item = CMSG_NXTHDR(header, item)) {
        PyObject *entry =
            Py_BuildValue("(iiy#)", item->cmsg_level, item->cmsg_type, (char *)CMSG_DATA(item),
                          (Py_ssize_t)control_length(header, item));
        if (entry == NULL || PyList_Append(list, entry) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(entry);
    }
    return list;
}

/* What came cannot be handed over: its descriptors would stay open for ever. */
static void
control_close_descriptors(struct msghdr *header)
{
    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item != NULL;
         item = CMSG_NXTHDR(header, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = control_length(header, item) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof(fd));
            close(fd);
        }
    }
}

/* One control message: its head is stored in *head, its data exported in *data. */
static int
control_item(PyObject *object, struct cmsghdr *head, Py_buffer *data)
{
    /* a tuple: code that runs while its items are read cannot take them out of it */
    PyObject *item = PySequence_Tuple(object);

    if (item == NULL && !PyErr_ExceptionMatches(PyExc_TypeError)) {
        return -1;
    }
    if (item == NULL || PyTuple_GET_SIZE(item) != 3) {
        Py_XDECREF(item);
        PyErr_SetString(PyExc_TypeError,
                        "sendmsg(): an item of ancdata must be (level, type, bytes)");
        return -1;
    }
    int failed =
        int_argument("sendmsg()", "a level", PyTuple_GET_ITEM(item, 0), &head->cmsg_level) < 0 ||
        int_argument("sendmsg()", "a type", PyTuple_GET_ITEM(item, 1), &head->cmsg_type) < 0 ||
        readable_buffer("sendmsg()", "data", PyTuple_GET_ITEM(item, 2), data) < 0;
    Py_DECREF(item);
    if (!failed && data->len > INT_MAX) {
        PyBuffer_Release(data);
        PyErr_SetString(PyExc_OSError, "sendmsg(): an item of ancdata is too large");
        return -1;
    }
    head->cmsg_len = failed ? 0 : CMSG_LEN((size_t)data->len);
    return failed ? -1 : 0;
}

/* Fills message->control from `ancdata`, an iterable. */
static int
control_from_object(PyObject *ancdata, Message *message)
{
    PyObject *items = PySequence_List(ancdata);
    int result = -1;

    if (items == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError, "sendmsg(): ancdata must be an iterable, not %.200s",
                         Py_TYPE(ancdata)->tp_name);
        }
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items); i++) {
        struct cmsghdr head;
        Py_buffer data;
        if (control_item(PyList_GET_ITEM(items, i), &head, &data) < 0) {
            goto end;
        }
        size_t space = CMSG_SPACE((size_t)data.len);
        char *grown = message->control_size + space > INT_MAX
                          ? NULL
                          : realloc(message->control, message->control_size + space);
        if (grown == NULL) {
            PyBuffer_Release(&data);
            PyErr_NoMemory();
            goto end;
        }
        memset(grown + message->control_size, 0, space);
        memcpy(grown + message->control_size, &head, sizeof(head));
        if (data.len > 0) {
            memcpy(grown + message->control_size + CMSG_LEN(0), data.buf, (size_t)data.len);
        }
        message->control = grown;
        message->control_size += space;
        PyBuffer_Release(&data);
    }
    result = 0;
end:
    Py_DECREF(items);
    return result;
}

/* ---- buffers --------------------------------------------------------------------------------------------- */

/* Exports all of an iterable of buffers. */
static int
parts_from_object(const char *function, PyObject *object, bool writable, Message *message)
{
    PyObject *items = PySequence_List(object);
    size_t count;
    int result = -1;

    if (items == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError, "%s: buffers must be an iterable of them, not %.200s",
                         function, Py_TYPE(object)->tp_name);
        }
        return -1;
    }
    count = (size_t)PyList_GET_SIZE(items);
    message->buffers = calloc(count + 1, sizeof(Py_buffer));
    message->parts = calloc(count + 1, sizeof(struct iovec));
    if (message->buffers == NULL || message->parts == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    for (size_t i = 0; i < count; i++) {
        PyObject *item = PyList_GET_ITEM(items, (Py_ssize_t)i);
        Py_buffer *buffer = &message->buffers[i];
        if ((writable ? writable_buffer(function, item, buffer)
                      : readable_buffer(function, "data", item, buffer)) < 0) {
            goto end;
        }
        message->parts[i] = (struct iovec){.iov_base = buffer->buf, .iov_len = (size_t)buffer->len};
        message->count++;
    }
    result = 0;
end:
    Py_DECREF(items);
    return result;
}

/* ---- system calls ---------------------------------------------------------------------------------------- */

PyObject *
message_send(SocketOperation *op, ssize_t *count)
{
    Message *message = op->message;
    struct msghdr header = {
        .msg_name = message->address.length > 0 ? &message->address.storage : NULL,
        .msg_namelen = message->address.length,
        .msg_iov = message->parts,
        .msg_iovlen = message->count,
        .msg_control = message->control,
        .msg_controllen = message->control_size,
    };

    *count = sendmsg(op->socket->fd, &header, op->flags | MSG_NOSIGNAL);
    return *count < 0 ? NULL : PyLong_FromSsize_t(*count);
}

PyObject *
message_receive(SocketOperation *op, ssize_t *count)
{
    Message *message = op->message;
    bool into = op->call == CALL_RECVMSG_INTO;
    Address from;
    PyObject *data = NULL;
    PyObject *ancillary;
    PyObject *address;
    struct iovec whole;

    if (!into) {
        data = receive_room(op->size);
        if (data == NULL) {
            *count = 0;
            return NULL;
        }
        whole = (struct iovec){.iov_base = PyBytes_AS_STRING(data), .iov_len = op->size};
    }
    struct msghdr header = {
        .msg_name = &from.storage,
        .msg_namelen = sizeof(from.storage),
        .msg_iov = into ? message->parts : &whole,
        .msg_iovlen = into ? message->count : 1,
        .msg_control = message->control,
        .msg_controllen = message->control_size,
    };
    /* descriptors that come with it are not for other programs, as with all that Python opens */
    *count = recvmsg(op->socket->fd, &header, op->flags | MSG_CMSG_CLOEXEC);
    if (*count < 0) {
        int error = errno;
        Py_XDECREF(data);
        errno = error;
        return NULL;
    }
    from.length = header.msg_namelen;
    if (into) {
        data = PyLong_FromSsize_t(*count);
    }
    else {
        data = receive_room_filled(data, (size_t)*count < op->size ? (size_t)*count : op->size);
    }
    ancillary = control_to_object(&header);
    address = address_to_object(&from);
    if (data == NULL || ancillary == NULL || address == NULL) {
        control_close_descriptors(&header);
        Py_XDECREF(data);
        Py_XDECREF(ancillary);
        Py_XDECREF(address);
        return NULL;
    }
    int flags = header.msg_flags & ~((op->flags & MSG_CMSG_CLOEXEC) ? 0 : MSG_CMSG_CLOEXEC);
    PyObject *result = Py_BuildValue("(NNiN)", data, ancillary, flags, address);
    if (result == NULL) {
        control_close_descriptors(&header);
    }
    return result;
}

/* ---- methods --------------------------------------------------------------------------------------------- */

/* An operation with an empty message, or NULL. */
static SocketOperation *
message_operation(PyObject *self, SocketCall call, PyObject *timeout, int flags)
{
    SocketOperation *op = socket_operation_new(self, call, timeout);

    if (op == NULL) {
        return NULL;
    }
    op->message = calloc(1, sizeof(Message));
    if (op->message == NULL) {
        PyErr_NoMemory();
        return (SocketOperation *)socket_operation_drop(op);
    }
    op->flags = flags;
    /* as for recv(): these have no readiness of their own */
    if ((flags & MSG_DONTWAIT) || (call != CALL_SENDMSG && (flags & (MSG_OOB | MSG_ERRQUEUE)))) {
        op->at_once = true;
    }
    return op;
}

/* Room for ancillary data. */
static int
control_room(SocketOperation *op, const char *function, size_t size)
{
    if (size > INT_MAX) {
        PyErr_Format(PyExc_ValueError, "%s: ancbufsize is too large", function);
        return -1;
    }
    op->message->control = size == 0 ? NULL : malloc(size);
    if (size != 0 && op->message->control == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    op->message->control_size = size;
    return 0;
}

static PyObject *
receive_operation(PyObject *self, SocketCall call, const char *function, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *timeout;
    size_t size = 0;
    size_t room;
    int flags;

    if (position_arguments(function, 1, 3, args, nargs, kwnames, &timeout) < 0 ||
        (call == CALL_RECVMSG && size_argument(function, "bufsize", args[0], &size) < 0) ||
        size_argument(function, "ancbufsize", nargs > 1 ? args[1] : NULL, &room) < 0 ||
        int_argument(function, "flags", nargs > 2 ? args[2] : NULL, &flags) < 0) {
        return NULL;
    }
    if ((flags & MSG_WAITALL) && ((Socket *)self)->type == SOCK_STREAM) {
        PyErr_Format(PyExc_ValueError,
                     "%s: MSG_WAITALL would lose bytes if it were cancelled: receive in a loop",
                     function);
        return NULL;
    }
    SocketOperation *op = message_operation(self, call, timeout, flags);
    if (op == NULL) {
        return NULL;
    }
    op->size = size;
    if (control_room(op, function, room) < 0 ||
        (call == CALL_RECVMSG_INTO &&
         parts_from_object(function, args[0], true, op->message) < 0)) {
        return socket_operation_drop(op);
    }
    return (PyObject *)op;
}

PyObject *
Socket_recvmsg(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return receive_operation(self, CALL_RECVMSG, "recvmsg()", args, nargs, kwnames);
}

PyObject *
Socket_recvmsg_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return receive_operation(self, CALL_RECVMSG_INTO, "recvmsg_into()", args, nargs, kwnames);
}

PyObject *
Socket_sendmsg(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char function[] = "sendmsg()";
    PyObject *timeout;
    int flags;

    if (position_arguments(function, 1, 4, args, nargs, kwnames, &timeout) < 0 ||
        int_argument(function, "flags", nargs > 2 ? args[2] : NULL, &flags) < 0) {
        return NULL;
    }
    SocketOperation *op = message_operation(self, CALL_SENDMSG, timeout, flags);
    if (op == NULL) {
        return NULL;
    }
    if (parts_from_object(function, args[0], false, op->message) < 0 ||
        (nargs > 1 && control_from_object(args[1], op->message) < 0) ||
        (nargs > 3 && args[3] != Py_None &&
         address_argument(op, function, args[3], &op->message->address) < 0)) {
        return socket_operation_drop(op);
    }
    return (PyObject *)op;
}
