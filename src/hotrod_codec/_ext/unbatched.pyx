# cython: freethreading_compatible=True
# cython: embedsignature=True, embedsignature.format=clinic, auto_pickle=False, autotestdict=False
"""What comes in batches, one by one, for `async for`.

For each item an async generator of the language's own makes two objects, switches to its frame and
raises an exception. Here the language's generator gives batches; while one is in hand, an item
costs one object. All else (waiting, cancellation, who is told when it is dropped) is left to that
generator.
"""

from cpython.object cimport PyObject
cimport cython

cdef extern from *:
    """
    typedef PySendResult (*hr_send)(PyObject *step, PyObject *value, PyObject **result);

    /* Whether a StopIteration may be used again: nobody else has it, and nothing of its last use is
     * left. To make one takes longer than all the rest. */
    static int hr_is_unused(PyObject *stop)
    {
    #ifdef Py_GIL_DISABLED
        (void)stop;
        return 0;
    #else
        PyStopIterationObject *it = (PyStopIterationObject *)stop;
        return stop != Py_None && Py_REFCNT(stop) == 1 && !it->traceback && !it->context &&
               !it->cause && !it->notes && !it->dict;
    #endif
    }

    /* Raise it with this value, which it takes over. */
    static void hr_stop_with(PyObject *stop, PyObject *value)
    {
        PyStopIterationObject *it = (PyStopIterationObject *)stop;
        PyObject *old = it->value;
        it->value = value;
        Py_XDECREF(old);
    #if PY_VERSION_HEX >= 0x030C0000
        PyErr_SetRaisedException(Py_NewRef(stop));
    #else
        PyErr_SetObject(PyExc_StopIteration, stop);
    #endif
    }

    static void hr_shorten_steps(PyObject *type, hr_send send, iternextfunc next)
    {
        ((PyTypeObject *)type)->tp_as_async->am_send = send;
        ((PyTypeObject *)type)->tp_iternext = next;
    }

    static inline int hr_raise_if_set(void) { return PyErr_Occurred() ? -1 : 0; }
    static inline PyObject *hr_own(PyObject *reference) { return reference; }
    """
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    ctypedef PySendResult (*hr_send)(
        PyObject *step, PyObject *value, PyObject **result) except PYGEN_ERROR
    ctypedef PyObject *(*iternextfunc)(PyObject *step) except? NULL
    bint hr_is_unused(PyObject *stop)
    void hr_stop_with(PyObject *stop, PyObject *value)
    void hr_shorten_steps(object type, hr_send send, iternextfunc next)
    object own "hr_own"(PyObject *reference)
    PyObject *give "Py_NewRef"(object reference)
    PySendResult PyIter_Send(object awaited, object value, PyObject **result) except PYGEN_ERROR
    PyObject *PyIter_Next(object iterator)  # NULL: the end, or an exception is set
    int raise_if_set "hr_raise_if_set"() except -1

cdef enum:
    NEW      # nobody has awaited it
    WAITS    # for the source
    RUNS     # or is done

# What a step asks for.
cdef enum:
    ITEM
    THROW
    CLOSE


@cython.final
cdef class Unbatched:
    """An async generator of single items, over one of batches.

    What goes wrong with a batch is thrown into the source, as if it had gone wrong there: so that
    it can clean up.

    Args:
        source: An async generator. Nobody else may use it.
        split: Gives the items of one of its batches, an iterable.
    """

    cdef object source
    cdef object split
    cdef object items  # an iterator over the batch in hand; None: there is none
    cdef object stop   # what the last step raised; None: none did
    cdef object __weakref__

    def __cinit__(self, source, split, /):
        self.source = source
        self.split = split

    def __aiter__(self, /):
        return self

    def __anext__(self, /):
        return _step(self, ITEM, None)

    def asend(self, value, /):
        """As `__anext__`: of a value only the source could have a use."""
        return _step(self, ITEM, value)

    def athrow(self, typ, val=None, tb=None, /):
        """Raise an exception where the source stands."""
        return _step(self, THROW, _error(typ, val, tb))

    def aclose(self, /):
        """End the source. There are no more items."""
        return _step(self, CLOSE, None)


@cython.final
@cython.internal
@cython.freelist(8)
cdef class _Step:
    """What is awaited for one item. The item is not taken before."""

    cdef Unbatched of
    cdef int wants
    cdef int state
    cdef object given
    cdef object awaited  # the source's own step

    def __await__(self, /):
        return self

    def __iter__(self, /):
        return self

    def __next__(self, /):
        return self.send(None)

    def send(self, value, /):
        cdef PyObject *result = NULL
        sent = _send(<PyObject *>self, <PyObject *>value, &result)
        return _told(sent, result)

    def throw(self, typ, val=None, tb=None, /):
        cdef PyObject *result = NULL
        error = _error(typ, val, tb)
        with cython.critical_section(self, self.of):
            sent = _throw(self, error, &result)
        return _told(sent, result)

    def close(self, /):
        with cython.critical_section(self, self.of):
            _close(self)


# `await` asks for `am_send` (CPython 3.11) or for `tp_iternext`, where a result is an exception.
# What Cython makes of `__next__` would give that a traceback, which takes longer than all the rest.

cdef object _told(PySendResult sent, PyObject *result):
    """The long way to tell what `am_send` tells."""
    found = own(result)
    if sent == PYGEN_RETURN:
        raise StopIteration(found)
    return found


cdef tuple _error(object typ, object val, object tb):
    """What was given, as three are out of date."""
    return (typ,) if val is None and tb is None else (typ, val, tb)


cdef inline _Step _step(Unbatched of, int wants, object given):
    cdef _Step step = _Step.__new__(_Step)
    step.of = of
    step.wants = wants
    step.given = given
    return step


cdef PySendResult _send(
    PyObject *awaiting, PyObject *value, PyObject **result
) except PYGEN_ERROR:
    """`am_send` of steps."""
    cdef _Step self = <_Step>awaiting
    with cython.critical_section(self, self.of):
        if self.state == NEW and self.wants == ITEM and _at_hand(self, result):
            return PYGEN_RETURN
        _begin(self)
        return _go_on(self, <object>value, result)


cdef PyObject *_next(PyObject *awaiting) except? NULL:
    """`tp_iternext` of steps."""
    cdef PyObject *result = NULL
    if _send(awaiting, <PyObject *>None, &result) == PYGEN_NEXT:
        return result
    of = (<_Step>awaiting).of
    with cython.critical_section(of):
        _stop_with(of, result)
    return NULL


cdef int _stop_with(Unbatched of, PyObject *result) except -1:
    if not hr_is_unused(<PyObject *>of.stop):
        of.stop = StopIteration()
    hr_stop_with(<PyObject *>of.stop, result)
    return 0


cdef inline bint _at_hand(_Step self, PyObject **result) except -1:
    """An item for which nobody has to wait; False: there is none."""
    try:
        if _take(self.of, result):
            self.state = RUNS
            return True
    except BaseException as error:
        _throw_in(self, error)
    return False


cdef PySendResult _throw(_Step self, tuple error, PyObject **result) except PYGEN_ERROR:
    _begin(self)
    try:
        found = self.awaited.throw(*error)
    except StopIteration as end:
        if _has_come(self, end.value, result):
            return PYGEN_RETURN
        return _go_on(self, None, result)
    self.state = WAITS
    result[0] = give(found)
    return PYGEN_NEXT


cdef int _close(_Step self) except -1:
    state, self.state = self.state, RUNS
    if state == WAITS:
        self.awaited.close()
    return 0


cdef int _begin(_Step self) except -1:
    """See to it that there is something to await."""
    cdef Unbatched of = self.of
    if self.state == RUNS:
        raise RuntimeError("cannot reuse already awaited __anext__()/asend()")
    self.state = RUNS
    if self.awaited is not None:
        return 0
    of.items = None
    if self.wants == ITEM:
        self.awaited = of.source.asend(self.given)
    elif self.wants == THROW:
        self.awaited = of.source.athrow(*self.given)
    else:
        self.awaited = of.source.aclose()
    return 0


cdef PySendResult _go_on(_Step self, object value, PyObject **result) except PYGEN_ERROR:
    """Ask the source until there is an item."""
    while PyIter_Send(self.awaited, value, result) == PYGEN_RETURN:
        batch = own(result[0])
        result[0] = NULL
        if _has_come(self, batch, result):
            return PYGEN_RETURN
        value = None
    self.state = WAITS
    return PYGEN_NEXT


cdef bint _has_come(_Step self, object batch, PyObject **result) except -1:
    """Take what the source gave; False: there is nothing in it, and more has to be awaited."""
    cdef Unbatched of = self.of
    if self.wants == CLOSE:
        result[0] = give(batch)
        return True
    try:
        of.items = iter(of.split(batch))
        if _take(of, result):
            self.awaited = None
            return True
        self.awaited = of.source.asend(None)
    except BaseException as error:
        _throw_in(self, error)
    return False


cdef inline bint _take(Unbatched of, PyObject **result) except -1:
    """The next item of the batch in hand; False: there is none."""
    if of.items is None:
        return False
    result[0] = PyIter_Next(of.items)
    if result[0] is not NULL:
        return True
    raise_if_set()
    of.items = None
    return False


cdef int _throw_in(_Step self, object error) except -1:
    self.of.items = None
    self.awaited = self.of.source.athrow(error)
    return 0


hr_shorten_steps(_Step, _send, _next)
