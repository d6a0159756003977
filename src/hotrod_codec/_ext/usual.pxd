# usual.h, name for name.

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint64_t

from hotrod_codec._ext.core cimport hr_slice

# What CPython calls for a function, and what `usual.h` puts in its place.
ctypedef object (*fastcall)(PyObject *self, PyObject *const *args, Py_ssize_t count,
                            PyObject *names)


cdef extern from "usual.h":
    bint hr_usual_bytes(PyObject *object, hr_slice *out)
    bint hr_usual_int(PyObject *object, int64_t *out)
    bint hr_usual_id(PyObject *object, uint64_t *out)
    bint hr_usual_text(PyObject *object, hr_slice *out)
    bint hr_usual_version(PyObject *object, uint8_t *out)
    bint hr_usual_life(PyObject *object, uint8_t *unit, uint64_t *amount)
    bint hr_usual_keywords(PyObject *const *values, PyObject *names, PyObject *const *known,
                           Py_ssize_t num_known, PyObject **slots)
    bint hr_shorten(object function, fastcall quick, fastcall *into)
    bint hr_shorten_method(object type, str name, fastcall quick, fastcall *into)
