/* usual.h - the short way from a call in Python to a frame, for arguments of the usual kinds.
 *
 * A function looks at its arguments where CPython hands them over. If all of them are as usual, it
 * is done in few steps; if not, it says so and the same call goes the long way, through what
 * Cython makes of a `def`. Nothing in here can run foreign code, so that borrowed references hold,
 * and nothing raises but for want of memory: mistakes are told by the long way.
 *
 * For CPython's own structs: not the limited API. */

#ifndef HOTROD_USUAL_H
#define HOTROD_USUAL_H

#include <Python.h>

#include "wire.h"

/* ---- arguments: 1 if it is as usual ---------------------------------------------------------- */

static inline int hr_usual_bytes(PyObject *object, hr_slice *out)
{
    if (!PyBytes_CheckExact(object) || PyBytes_GET_SIZE(object) > INT32_MAX)
        return 0;
    out->data = (const uint8_t *)PyBytes_AS_STRING(object);
    out->len = (size_t)PyBytes_GET_SIZE(object);
    return 1;
}

/* An int below 2^30 or so. */
static inline int hr_small_int(PyObject *object, int64_t *out)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)object))
        return 0;
    *out = PyUnstable_Long_CompactValue((PyLongObject *)object);
#else
    Py_ssize_t size = Py_SIZE(object);
    if (size < -1 || size > 1)
        return 0;
    *out = size ? (int64_t)((PyLongObject *)object)->ob_digit[0] * size : 0;
#endif
    return 1;
}

/* The same or a member of an enumeration; any object. */
static inline int hr_usual_int(PyObject *object, int64_t *out)
{
    return PyLong_Check(object) && hr_small_int(object, out);
}

/* An int from 0 to 2^63 - 1. */
static inline int hr_usual_id(PyObject *object, uint64_t *out)
{
    int64_t small;
    int overflow;
    if (!PyLong_CheckExact(object))
        return 0;
    if (HR_LIKELY(hr_small_int(object, &small))) {
        *out = (uint64_t)small;
        return small >= 0;
    }
    long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
    *out = (uint64_t)number;
    return number >= 0; /* -1: it does not fit */
}

static inline int hr_usual_text(PyObject *object, hr_slice *out)
{
    if (!PyUnicode_CheckExact(object) || !PyUnicode_IS_COMPACT_ASCII(object))
        return 0;
    out->data = PyUnicode_1BYTE_DATA(object);
    out->len = (size_t)PyUnicode_GET_LENGTH(object);
    return out->len <= INT32_MAX;
}

/* "4.1", a Version member or its number. */
static inline int hr_usual_version(PyObject *object, uint8_t *out)
{
    hr_slice text;
    int64_t number;
    if (hr_usual_text(object, &text)) {
        if (text.len != 3 || text.data[1] != '.')
            return 0;
        number = (text.data[0] - '0') * 10 + (text.data[2] - '0');
        if (text.data[2] < '0' || text.data[2] > '9')
            return 0;
    } else if (!hr_usual_int(object, &number)) {
        return 0;
    }
    *out = (uint8_t)number;
    return number == *out && hr_is_version(*out);
}

/* None, or whole seconds that every reader takes for such. */
static inline int hr_usual_life(PyObject *object, uint8_t *unit, uint64_t *amount)
{
    enum { THIRTY_DAYS = 30 * 24 * 60 * 60 };
    int64_t seconds = 0;
    *unit = object == Py_None ? HR_UNIT_DEFAULT : HR_UNIT_SECONDS;
    if (object != Py_None && (!PyLong_CheckExact(object) || !hr_usual_int(object, &seconds) ||
                              seconds < 1 || seconds > THIRTY_DAYS))
        return 0;
    *amount = (uint64_t)seconds;
    return 1;
}

/* Sort keyword arguments into `slots` by `known`, interned names. Callers mostly keep the order in
 * which the names stand there. 0: an unknown or not interned name. */
static inline int hr_usual_keywords(PyObject *const *values, PyObject *names,
                                    PyObject *const *known, Py_ssize_t num_known, PyObject **slots)
{
    Py_ssize_t count = names ? PyTuple_GET_SIZE(names) : 0;
    Py_ssize_t at = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        Py_ssize_t tried = 0;
        while (known[at] != name) {
            if (++at == num_known)
                at = 0;
            if (++tried == num_known)
                return 0;
        }
        slots[at] = values[i];
    }
    return 1;
}

/* ---- results --------------------------------------------------------------------------------- */

/* The frame, if as much was written as there is room. */
static inline PyObject *hr_checked(PyObject *out, const uint8_t *end)
{
    if (HR_LIKELY(end == (const uint8_t *)PyBytes_AS_STRING(out) + PyBytes_GET_SIZE(out)))
        return out;
    Py_DECREF(out);
    PyErr_SetString(PyExc_SystemError, "the encoder wrote another length than it announced");
    return NULL;
}

/* ---- functions ------------------------------------------------------------------------------- */

typedef PyObject *(*hr_fastcall)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);

static inline int hr_replace(PyMethodDef *definition, hr_fastcall quick, hr_fastcall *into)
{
    if (definition->ml_flags != (METH_FASTCALL | METH_KEYWORDS))
        return 0;
    *into = (hr_fastcall)(void (*)(void))definition->ml_meth;
    definition->ml_meth = (PyCFunction)(void (*)(void))quick;
    return 1;
}

/* Put `quick` in the place of what a function calls; `into` gets that. Returns whether the function
 * is of a kind that this can be done to; else everything goes the long way. */
static inline int hr_shorten(PyObject *function, hr_fastcall quick, hr_fastcall *into)
{
    return PyCFunction_CheckExact(function) &&
           hr_replace(((PyCFunctionObject *)function)->m_ml, quick, into);
}

/* The same for a method of an extension type. */
static inline int hr_shorten_method(PyObject *type, PyObject *name, hr_fastcall quick,
                                    hr_fastcall *into)
{
    PyObject *method = PyDict_GetItemWithError(((PyTypeObject *)type)->tp_dict, name);
    return method && Py_IS_TYPE(method, &PyMethodDescr_Type) &&
           hr_replace(((PyMethodDescrObject *)method)->d_method, quick, into);
}

#endif
