# cython: freethreading_compatible=True, boundscheck=False, wraparound=False, nonecheck=True
# cython: embedsignature=True, auto_pickle=False, autotestdict=False
# cython: embedsignature.format=clinic, binding=False
"""What a client does for each request of a connection, and for each that waits for an answer.

Everything else of a connection is in client/session.py and in the drivers. Nothing here reads or
writes what is in messages; of an event loop it knows `call_soon`, of a blocking socket `send` and
`recv_into`.
"""

from cpython.bytes cimport PyBytes_CheckExact
from cpython.dict cimport PyDict_Check, PyDict_GetItemWithError
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc cimport errno
from libc.stdint cimport uint8_t, uint64_t
cimport cython

from hotrod_codec._ext.codec cimport Taker, answer_of, expect_in, room_of

from collections import deque as _deque
from collections.abc import Mapping as _Mapping

from hotrod_codec.errors import TransportError as _TransportError
from hotrod_codec.ops import Op as _Op

cdef extern from "Python.h":
    """
    /* What a Task asks of a future that is none of asyncio's own class is found here without a look
       through types, and nothing is made for it. */
    static PyObject *hr_blocking_name = NULL, *hr_get_loop_name = NULL;

    #define HR_SET_ATTRIBUTES(type, getter, setter) \
        (hr_blocking_name = PyUnicode_InternFromString("_asyncio_future_blocking"), \
         hr_get_loop_name = PyUnicode_InternFromString("get_loop"), \
         ((PyTypeObject *)(type))->tp_getattro = (getter), \
         ((PyTypeObject *)(type))->tp_setattro = (setter))

    /* Whether it is what a Task wants called when its future has an outcome, which asks the future
       that it is called with for its result: of asyncio's own class that takes no time. */
    static inline int hr_wakes_task(PyObject *callback, PyObject *task_type)
    {
        PyObject *self;
        if (!PyCFunction_CheckExact(callback))
            return 0;
        self = PyCFunction_GET_SELF(callback);
        return self && (PyObject *)Py_TYPE(self) == task_type
               && !strcmp(((PyCFunctionObject *)callback)->m_ml->ml_name, "task_wakeup");
    }

    /* tp_iternext and am_send are set by hand: what Cython makes of a `return` in __next__ raises
       StopIteration with a traceback, which takes longer than all the rest of an await. */
    #define HR_SET_NEXT(type, function) (((PyTypeObject *)(type))->tp_iternext = (function))
    #define HR_SET_SEND(type, function) \\
        (((PyTypeObject *)(type))->tp_as_async->am_send = (function))

    /* Before 3.12 asyncio.get_running_loop() is a system call (getpid). What it looks at is made
       anew whenever a loop begins to run in a thread: the same thing, the same loop. */
    static PyObject *hr_running(PyObject *key)
    {
    #if PY_VERSION_HEX < 0x030C0000
        PyObject *dict = PyThreadState_GetDict();
        return dict == NULL ? NULL : PyDict_GetItemWithError(dict, key);
    #else
        (void)key;
        return NULL;
    #endif
    }

    /* time.monotonic(), without an object. */
    static inline double hr_now(void)
    {
    #if PY_VERSION_HEX >= 0x030D0000
        PyTime_t now;
        (void)PyTime_MonotonicRaw(&now); /* 0 when it fails, as time.monotonic() does not */
        return PyTime_AsSecondsDouble(now);
    #else
        return _PyTime_AsSecondsDouble(_PyTime_GetMonotonicClock());
    #endif
    }

    #ifndef MS_WINDOWS
    #include <errno.h>
    #include <sys/socket.h>
    #endif

    /* On a descriptor, which sockets have on POSIX alone: how many bytes, or -errno. */
    static Py_ssize_t hr_send(int descriptor, PyObject *data, Py_ssize_t start)
    {
    #ifndef MS_WINDOWS
        const char *from = PyBytes_AS_STRING(data) + start;
        Py_ssize_t sent = send(descriptor, from, (size_t)(PyBytes_GET_SIZE(data) - start), 0);
        return sent < 0 ? -errno : sent;
    #else
        return (void)descriptor, (void)data, (void)start, -1;
    #endif
    }

    static Py_ssize_t hr_receive(int descriptor, void *data, size_t room)
    {
    #ifndef MS_WINDOWS
        Py_ssize_t count = recv(descriptor, data, room, 0);
        return count < 0 ? -errno : count;
    #else
        return (void)descriptor, (void)data, (void)room, -1;
    #endif
    }
    """
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    ctypedef PyObject *(*iternextfunc)(PyObject *) noexcept
    ctypedef PySendResult (*sendfunc)(PyObject *, PyObject *, PyObject **) noexcept
    void HR_SET_NEXT(object type, iternextfunc function)
    void HR_SET_SEND(object type, sendfunc function)
    PyObject *hr_blocking_name
    PyObject *hr_get_loop_name
    ctypedef PyObject *(*getattrofunc)(PyObject *, PyObject *) noexcept
    ctypedef int (*setattrofunc)(PyObject *, PyObject *, PyObject *) except -1
    void HR_SET_ATTRIBUTES(object type, getattrofunc getter, setattrofunc setter)
    bint hr_wakes_task(object callback, object task_type) noexcept
    PyObject *PyObject_GenericGetAttr(PyObject *object, PyObject *name) noexcept
    int PyObject_GenericSetAttr(PyObject *object, PyObject *name, PyObject *value) except -1
    PyObject *hr_running(object key) except? NULL
    void PyErr_SetObject(object type, object value)
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    object PyContext_CopyCurrent()
    double hr_now() noexcept
    Py_ssize_t hr_send(int descriptor, PyObject *data, Py_ssize_t start) noexcept nogil
    Py_ssize_t hr_receive(int descriptor, void *data, size_t room) noexcept nogil

cdef object _GET = _Op.GET
cdef object _PUT = _Op.PUT
cdef object _RUNNING = "__asyncio_running_event_loop__"

cdef enum:
    TOGETHER = 32  # requests that are written together at the most
    PENDING = 0
    CANCELLED = 1
    FAILED = 2
    ANSWERED = 3


cdef class Paths:
    """Where requests of a cache go, as one topology has it. Immutable.

    Attributes:
        topology_id: To send with each request.
        only: The server, if there is no other.

    A subclass has `owners_of`: the servers that have a key, primary first.
    """

    cdef readonly object topology_id, only

    def __init__(self, topology_id, only):
        self.topology_id = topology_id
        self.only = only


cdef class Target:
    """A cache that requests go to.

    Attributes:
        routing: Its latest topology.
    """

    cdef Paths paths

    @property
    def routing(self):
        """Its latest topology."""
        return paths_of(self)

    @routing.setter
    def routing(self, Paths routing not None):
        with cython.critical_section(self):
            self.paths = routing


cdef inline Paths paths_of(Target target):
    cdef Paths found
    with cython.critical_section(target):  # as other threads set it
        found = target.paths
    return found


cdef class Front:
    """The servers of a client, as far as each request has to look at them.

    Attributes:
        generation: Changes when the client goes to another cluster.
        failed: The servers that could not be reached, and until when to leave them alone.
    """

    cdef public uint64_t generation
    cdef readonly dict failed

    def __cinit__(self, *args, **kwargs):
        self.failed = {}


cdef class Place:
    """An event loop, and a client's connections there.

    Attributes:
        loop: The loop.
        exchanges: Those for everybody, by their servers.
    """

    cdef readonly object loop
    cdef readonly dict exchanges
    cdef object running_loop
    cdef object run  # what tells that it runs

    def __init__(self, loop):
        from asyncio import get_running_loop  # threads alone do not need asyncio
        self.loop = loop
        self.exchanges = {}
        self.running_loop = get_running_loop

    def is_here(self):
        """Whether the loop runs in this thread; False: no loop does, or another one."""
        return self.runs()

    cdef bint runs(self) except -1:
        cdef PyObject *run = hr_running(_RUNNING)
        if run is not NULL and run is <PyObject *>self.run:
            return True
        try:
            if self.running_loop() is not self.loop:
                return False
        except RuntimeError:
            return False
        if run is not NULL:
            self.run = <object>run
        return True


cdef inline object key_in(fields):
    """The key of a get: it may stand for all fields."""
    if PyDict_Check(fields) or not PyBytes_CheckExact(fields) and isinstance(fields, _Mapping):
        return fields["key"]
    return fields


cdef class Exchange:
    """Requests and answers of one connection: what is done for each. See client.session.Session.

    Args:
        reader: Of the answers.

    Attributes:
        last_id: The message id of the latest request.
        pending: How many requests have no answer yet, those included that nobody waits for.
        is_open: Whether a Way may send requests here.
        fresh_views: Whether each request wants a view of its own.
        quiet_since: Since when there was no sign of the server, on time.monotonic's clock. Set here
            when a Way sends something while nothing is pending.
        out: The bytes of requests that are not written.
        held: Whether who reads the answers writes them, too, when these are read.
        flushed_id: Up to which message id requests went to the network; the driver says.
        abandoned: For how many of `pending` nobody waits.
        failure: Why it is over; None while it is not.
        buffer: The reader's, to receive into.
    """

    cdef public uint64_t last_id, flushed_id
    cdef public Py_ssize_t pending, abandoned
    cdef public bint is_open, fresh_views, held
    cdef public double quiet_since
    cdef public list out
    cdef public object failure
    cdef public object _reader, _header, _topology_id
    cdef public dict _waiting, _views
    cdef readonly object buffer
    cdef object encoder, get, put, expect, get_context, put_context, flush
    cdef Turns turns
    cdef Py_ssize_t most

    def __init__(self, reader):
        self._reader = reader
        self.buffer = reader.buffer
        self.expect = reader.expect
        self._waiting = {}
        self._views = {}
        self.out = []

    def attach(self, turns, flush, most):
        """Let a Way send requests here, while `is_open`.

        Args:
            turns: Of the connection's loop.
            flush: Called in the loop's next turn when `out` is not empty any more, and when there
                are many requests in it.
            most: How many may be pending.
        """
        self.turns = turns
        self.flush = flush
        self.most = most

    def request(self, op, waiter, double deadline, topology_id, header, fields, into, /):
        """The bytes of a request. Arguments and errors as of Session.submit."""
        cdef Asked begun = Asked.__new__(Asked)
        begun.op = op
        begun.deadline = deadline
        begun.waiter = waiter
        return self.make(begun, topology_id, header, fields, into)

    cdef object make(self, Begun begun, topology_id, header, fields, into):
        data = self.encode(begun.op, topology_id, header, fields, into)
        self._waiting[self.last_id] = begun
        return data

    cdef object encode(self, op, topology_id, header, fields, into):
        """The bytes of a request whose answer is looked for by its id, `last_id`."""
        cdef object message_id, data
        if self.failure is not None:
            self.refuse()
        if self.fresh_views or header is not self._header or (
            topology_id is not self._topology_id and topology_id != self._topology_id
        ):
            self.use(header, topology_id)
        message_id = self.last_id + 1
        # The two that are most frequent have a short way.
        if op is _GET:
            data = self.get(key_in(fields), message_id)
            expect_in(self._reader, self.get_context, self.last_id + 1)
        elif op is _PUT:
            if len(fields) == 2:
                data = self.put(fields["key"], fields["value"], message_id)
            else:
                data = self.put(message_id=message_id, **fields)
            expect_in(self._reader, self.put_context, self.last_id + 1)
        else:
            data = self.encoder.encode(op, message_id, **fields)
            self.expect(self.encoder.context(op), message_id, into=into)
        self.last_id += 1
        self.pending += 1
        return data

    cdef Slot wait(self, op, double deadline):
        """Who gets the answer to the latest request."""
        cdef Slot slot = Slot.__new__(Slot)
        slot.op = op
        slot.deadline = deadline
        self._waiting[self.last_id] = slot
        return slot

    def refuse(self):
        """Raise that it is over."""
        raise NotImplementedError

    def received(self, count, /):
        """Take `count` bytes that were read into `buffer()`."""
        raise NotImplementedError

    def _new_view(self, header, /):
        """The encoder for a header, and the contexts of its gets and puts."""
        raise NotImplementedError

    cdef int use(self, header, topology_id) except -1:
        self._header = None
        self.encoder, self.get_context, self.put_context = (
            self._views.get(header) or self._new_view(header)
        )
        if self.encoder.topology_id != topology_id:
            self.encoder.topology_id = topology_id
        self.get = self.encoder.get
        self.put = self.encoder.put
        self._header = header
        self._topology_id = topology_id
        return 0

    cdef inline bint takes(self):
        return self.is_open and self.pending < self.most

    cdef int start(self, Answer answer, topology_id, double limit) except -1:
        """Have a request written soon."""
        cdef double now = hr_now()
        answer.deadline = now + limit
        answer.turns = self.turns
        answer.exchange = self
        data = self.make(answer, topology_id, answer.header, answer.fields, "pairs")
        answer.message_id = self.last_id
        if self.pending == 1:
            self.quiet_since = now
        self.out.append(data)
        if len(self.out) == TOGETHER:
            self.flush()
        elif len(self.out) == 1 and not self.held:
            self.turns.loop.call_soon(self.flush)
        return 0


cdef inline object server_of(Paths routing, key):
    """Where a request goes; None: to nobody in particular. As Cluster.choose, if no server has
    failed."""
    server = routing.only
    if server is None and key is not None:
        owners = routing.owners_of(key)
        if owners:
            server = owners[0]
    return server


@cython.final
cdef class Current:
    """Where a client was used last.

    Attributes:
        place: The event loop, with the connections there; None: nowhere yet.
    """

    cdef public Place place


cdef class Way:
    """The short way for requests: those that need not wait for anything are written soon.

    Args:
        current: Of the client.
        cluster: Its `failed` and `generation` are looked at.
        limit: How many seconds an answer may take.
        request: Called like `ask`, for all other requests.

    A subclass has `look`: called with an Answer and an outcome that is not what was asked for and
    nothing else: an error, or a Response that tells of an error or a topology.
    """

    cdef Current current
    cdef Front cluster
    cdef object request
    cdef dict failed
    cdef double limit

    def __init__(self, Current current not None, Front cluster not None, double limit, request):
        self.current = current
        self.cluster = cluster
        self.failed = cluster.failed
        self.limit = limit
        self.request = request

    def ask(self, op, Target state not None, header, fields, key, /):
        """What to await for the answer to a request. Arguments and errors as of
        Dispatcher.request."""
        cdef Place place
        cdef Paths routing
        cdef object server
        cdef PyObject *exchange
        cdef Answer answer
        with cython.critical_section(self.current):  # as other threads set it
            place = self.current.place
        if place is not None and not self.failed and place.runs():
            routing = paths_of(state)
            server = server_of(routing, key)
            exchange = PyDict_GetItemWithError(place.exchanges, server)
            if exchange is not NULL and (<Exchange>exchange).takes():
                answer = Answer.__new__(Answer)
                answer.way = self
                answer.op = op
                answer.state = state
                answer.header = header
                answer.fields = fields
                answer.key = key
                answer.server = server
                answer.generation = self.cluster.generation
                (<Exchange>exchange).start(answer, routing.topology_id, self.limit)
                return answer
        return self.request(op, state, header, fields, key)


@cython.final
cdef class Turns:
    """Those who have their answer, and go on all in one callback: in the next turn of the loop, or
    where the answers were read (`hold`, `go_on`).

    Args:
        loop: The event loop.
    """

    cdef object loop, cancelled_error, invalid_state_error
    cdef object task_type, get_loop
    cdef object settled  # a future with an outcome
    cdef list ready
    cdef bint held

    def __init__(self, loop):
        from asyncio import CancelledError, InvalidStateError, Task
        self.loop = loop
        self.task_type = Task
        self.settled = loop.create_future()
        self.settled.set_result(None)
        self.get_loop = self.settled.get_loop
        self.cancelled_error = CancelledError
        self.invalid_state_error = InvalidStateError
        self.ready = []

    cdef int add(self, Answer answer) except -1:
        self.ready.append(answer)
        if len(self.ready) == 1 and not self.held:
            self.loop.call_soon(self)
        return 0

    def hold(self):
        """Let them wait for `go_on`."""
        self.held = True

    def go_on(self):
        """Let them go on, now. The loop has to be running, and no task."""
        self.held = False
        if self.ready:
            self()

    def __call__(self):
        """Let them go on."""
        cdef list ready = self.ready
        cdef Py_ssize_t i = 0
        self.ready = []
        try:
            while i < len(ready):
                i += 1
                (<Answer>ready[i - 1]).call()
        except BaseException:
            # Of those behind it nobody may be forgotten.
            if i < len(ready):
                if not self.ready:
                    self.loop.call_soon(self)
                self.ready[:0] = ready[i:]
            raise


cdef class Begun(Taker):
    """A request whose answer has not come.

    Attributes:
        op: The operation.
        deadline: When to give up, on time.monotonic's clock.
    """

    cdef readonly object op
    cdef readonly double deadline

    def set_result(self, response, /):
        """The answer: what was asked for, and nothing else."""
        self.take(response)

    def end(self, outcome, /):
        """Any outcome: an answer, or an error if there is none."""
        raise NotImplementedError


@cython.final
cdef class Asked(Begun):
    """Somebody waits: gets the outcome by `set_result` or `set_exception`, whatever it is."""

    cdef object waiter

    cdef int take(self, object answer) except -1:
        self.waiter.set_result(answer)
        return 0

    def end(self, outcome, /):
        if isinstance(outcome, BaseException):
            self.waiter.set_exception(outcome)
        else:
            self.waiter.set_result(outcome)


@cython.final
cdef class Answer(Begun):
    """The answer to come: to be awaited in a task of its event loop, as an asyncio.Future is.

    It is one, as asyncio.isfuture says, and differs in this: all that have their answers at the
    same time go on in one callback of the loop; that its error was never looked at is not logged.

    Attributes:
        state, header, fields, key: Of the request, as of Way.ask.
        server: Where it went.
        generation: Of the cluster when it went there.
        context: In which the first callback will be called; None: there is none.
        again: The task that makes another attempt; None: none does. To cancel the answer is to
            cancel that, and it has its outcome when that has ended.
    """

    cdef public object _asyncio_future_blocking
    cdef readonly object state, header, fields, key, server
    cdef readonly uint64_t generation
    cdef Way way
    cdef Turns turns
    cdef Exchange exchange
    cdef uint64_t message_id
    cdef int stage
    cdef object outcome
    cdef object callback  # the first; then pairs
    cdef readonly object context
    cdef public object again
    cdef list more

    def __cinit__(self):
        self._asyncio_future_blocking = False

    # ---- for who awaits

    def get_loop(self):
        """The event loop."""
        return self.turns.loop

    def done(self):
        """Whether it has an outcome, or was cancelled."""
        return self.stage != PENDING

    def cancelled(self):
        """Whether it was."""
        return self.stage == CANCELLED

    def result(self):
        """The answer.

        Raises:
            Exception: There is none.
            CancelledError, InvalidStateError: As asyncio's.
        """
        if self.stage == ANSWERED:
            return self.outcome
        if self.stage == FAILED:
            raise self.outcome
        self.refuse()

    def exception(self):
        """Why there is no answer; None: there is one. Raises as `result`."""
        if self.stage == ANSWERED:
            return None
        if self.stage == FAILED:
            return self.outcome
        self.refuse()

    cdef int refuse(self) except -1:
        if self.stage == CANCELLED:
            error = self.turns.cancelled_error
            raise error() if self.outcome is None else error(self.outcome)
        raise self.turns.invalid_state_error("there is no answer yet")

    def add_done_callback(self, callback, /, *, context=None):
        """Call it with this when there is an outcome, in the next turn of the loop."""
        if context is None:
            context = PyContext_CopyCurrent()
        if self.callback is None:
            self.callback = callback
            self.context = context
        else:
            if self.more is None:
                self.more = []
            self.more.append((callback, context))
        if self.stage != PENDING:
            self.turns.add(self)

    def remove_done_callback(self, callback, /):
        """Do not; how many there were."""
        cdef list pairs = [(self.callback, self.context)] if self.callback is not None else []
        cdef list left
        if self.more is not None:
            pairs += self.more
        left = [pair for pair in pairs if pair[0] != callback]
        self.callback, self.context = left[0] if left else (None, None)
        self.more = left[1:]
        return len(pairs) - len(left)

    cdef int call(self) except -1:
        cdef object callback = self.callback
        cdef object context = self.context
        if callback is None:
            return 0
        if self.more:
            self.callback, self.context = self.more.pop(0)
            self.turns.add(self)
        else:
            self.callback = None
            self.context = None
        PyContext_Enter(context)
        try:
            callback(self.turns.settled if hr_wakes_task(callback, self.turns.task_type) else self)
        finally:
            PyContext_Exit(context)
        return 0

    def cancel(self, msg=None):
        """Nobody wants it any more; False: there is an outcome already."""
        if self.stage != PENDING:
            return False
        if self.again is not None:
            return self.again.cancel(msg)
        self.close(CANCELLED, msg)
        if self.exchange is not None:
            self.exchange.abandon(self.message_id)
        return True

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):  # see HR_SET_NEXT, which does the same
        if self.stage == PENDING:
            self._asyncio_future_blocking = True
            return self
        raise StopIteration(self.result())

    # ---- for who has the outcome

    cdef int take(self, object answer) except -1:
        """There it is. Raises InvalidStateError, as asyncio's, if there is an outcome already."""
        return self.set(ANSWERED, answer)

    def end(self, outcome, /):
        """For the Way to look at."""
        self.way.look(self, outcome)

    def set_exception(self, error, /):
        """There will be none. Raises as `set_result`."""
        self.set(FAILED, error)

    cdef int set(self, int stage, object outcome) except -1:
        if self.stage != PENDING:
            raise self.turns.invalid_state_error("there is an outcome already")
        return self.close(stage, outcome)

    cdef int close(self, int stage, object outcome) except -1:
        self.stage = stage
        self.outcome = outcome
        if self.callback is not None:
            self.turns.add(self)
        return 0


# ---- for threads


@cython.final
cdef class Slot(Begun):
    """Somebody waits who looks here for the outcome.

    Attributes:
        outcome: An answer, or an error if there is none; None: nothing has come.
    """

    cdef readonly object outcome

    cdef int take(self, object answer) except -1:
        self.outcome = answer
        return 0

    def set_exception(self, error, /):
        """There will be no answer."""
        self.outcome = error

    def end(self, outcome, /):
        self.outcome = outcome

    def result(self):
        """The answer. Raises why there is none."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


cdef class Line:
    """A connection on a blocking socket. Used by one thread at a time.

    Args:
        sock: The socket.
        session: Its state.
        name: Of the server, for messages.

    Attributes:
        session: Its state.
        usable: Whether it takes requests.
        at_rest: Whether nobody was interrupted in the middle of something.
        released_at: When it was last used.
        _descriptor: The socket's, if it blocks as long as the system says; -1: it is Python's
            socket that waits. The system's timeouts cost nothing; Python's are a poll() before
            each call.
        _limit: For how many seconds it waits.

    A subclass has `_arm`, which makes the socket wait until a deadline, and `_end`: what becomes of
    it when a request ends with an error.
    """

    cdef public Exchange session
    cdef public bint usable, at_rest
    cdef public double released_at, _limit
    cdef public int _descriptor
    cdef public object _sock
    cdef str name

    def __init__(self, sock, Exchange session, str name):
        self._sock = sock
        self.session = session
        self.name = name
        self.usable = True
        self.at_rest = True
        self._descriptor = -1

    def ask(self, op, Target state not None, header, fields, into, double deadline, double now, /):
        """The answer, which may be an error answer. Arguments as in Call.

        Raises:
            TransportError, RequestTimeoutError, EncodeError: There is none.
        """
        cdef bint plain
        topology_id = paths_of(state).topology_id
        return self.answer(op, topology_id, header, fields, into, deadline, deadline - now, &plain)

    @cython.final
    cdef object answer(self, op, topology_id, header, fields, into, double deadline, double left,
                       bint *plain):
        """As `ask`; `plain` becomes whether it is what was asked for and nothing else."""
        cdef Exchange session = self.session
        cdef Slot slot = None
        cdef object data = None
        cdef object response
        cdef size_t count
        self.at_rest = False
        try:
            data = session.encode(op, topology_id, header, fields, into)
            if not self._limit * 0.9 <= left <= self._limit * 1.1:
                self._arm(deadline)
            count = self.converse(data, deadline)
            response = answer_of(session._reader, count, session.last_id)
            if response is not None:
                session.pending -= 1
                self.at_rest = True
                plain[0] = True
                return response
            slot = session.wait(op, deadline)
            session.received(0)
            while slot.outcome is None:
                self._arm(deadline)
                self._take()
        except BaseException as error:
            if slot is None and data is not None:
                slot = session.wait(op, deadline)
            self._end(op, error)
        self.at_rest = True
        plain[0] = False
        return slot.result()

    @cython.final
    cdef size_t converse(self, bytes data, double deadline) except 0:
        """Send a request and receive something; how many bytes."""
        cdef int descriptor = self._descriptor
        cdef Py_ssize_t size = len(data)
        cdef Py_ssize_t sent, count = 0
        cdef uint8_t *memory = NULL
        cdef size_t room = 0
        cdef object _block  # kept as long as something is received into it
        if descriptor < 0:
            self.write(data, deadline, 0, 0)
            return self.read(0)
        _block = room_of(self.session._reader, &memory, &room)
        with nogil:
            sent = hr_send(descriptor, <PyObject *>data, 0)
            if sent == size:
                count = hr_receive(descriptor, memory, room)
        if sent == size:
            self.session.flushed_id = self.session.last_id
            return <size_t>count if count > 0 else self.read(<int>-count)
        self.write(data, deadline, max(sent, 0), <int>max(-sent, 0))
        return self.read(0)

    def _take(self):
        """Take in what comes. Raises TimeoutError when nothing does."""
        self.session.received(self.read(0))

    def _write(self, bytes data, double deadline, /):
        """Send all of it, or lose the connection: half a request is of no use to anybody."""
        self.write(data, deadline, 0, 0)

    cdef int write(self, bytes data, double deadline, Py_ssize_t sent, int error) except -1:
        """As `_write`, from where so many bytes are sent, or to send them has failed."""
        try:
            if error:
                failed(error)
            if sent == 0:
                sent = self.send(data, 0)
            self.session.flushed_id = self.session.last_id
            while sent < len(data):
                self._arm(deadline)
                sent += self.send(data, sent)
        except (TimeoutError, BlockingIOError):
            raise _TransportError(f"{self.name} took no request in time") from None
        except OSError as failure:
            raise _TransportError(f"{self.name}: {failure}") from failure
        return 0

    cdef Py_ssize_t send(self, bytes data, Py_ssize_t start) except -1:
        cdef int descriptor
        cdef Py_ssize_t sent
        while self._descriptor >= 0:
            descriptor = self._descriptor
            with nogil:
                sent = hr_send(descriptor, <PyObject *>data, start)
            if sent >= 0:
                return sent
            failed(<int>-sent)
        return self._sock.send(memoryview(data)[start:] if start else data)

    cdef size_t read(self, int error) except 0:
        """Receive something; how many bytes. Raises TimeoutError when nothing comes.

        Args:
            error: Why that has failed already; 0: it has not.
        """
        cdef Py_ssize_t count
        try:
            if error:
                failed(error)
            count = self.receive()
        except BlockingIOError:
            raise TimeoutError from None
        except TimeoutError:
            raise
        except OSError as failure:
            raise _TransportError(f"{self.name}: {failure}") from failure
        if count == 0:
            raise _TransportError(f"{self.name} closed the connection")
        return <size_t>count

    cdef Py_ssize_t receive(self) except -1:
        cdef int descriptor
        cdef Py_ssize_t count
        cdef uint8_t *memory = NULL
        cdef size_t room = 0
        cdef object _block  # kept as long as something is received into it
        while self._descriptor >= 0:
            descriptor = self._descriptor
            _block = room_of(self.session._reader, &memory, &room)
            with nogil:
                count = hr_receive(descriptor, memory, room)
            if count >= 0:
                return count
            failed(<int>-count)
        return self._sock.recv_into(self.session.buffer())


cdef int failed(int error) except -1:
    """Raise why a system call failed, unless it was interrupted and is to be made again."""
    if error == errno.EINTR:
        return PyErr_CheckSignals()
    errno.errno = error
    PyErr_SetFromErrno(OSError)
    return -1


cdef class Lines:
    """The connections to one server.

    Attributes:
        idle: Those that nobody uses.
        waiting: Who waits for one, in the order of their coming.
        retired: Whether the server is no more.

    A subclass has `hand_over`, which gives one to who waits longest: False if nobody does.
    """

    cdef public list idle
    cdef public object waiting
    cdef public bint retired

    def __cinit__(self):
        self.idle = []
        self.waiting = _deque()


cdef class Direct:
    """The short way for requests: those that need not wait for a connection.

    Args:
        cluster: Its `failed` and `generation` are looked at.
        pools: The Lines of each server.
        limit: How many seconds an answer may take.
        fresh: How many seconds a connection that was not used is taken to be as it was.
        request: Called like `ask`, for all other requests.

    A subclass has `put_back` and `release`, for a connection that was not used and for one that
    was, and `look`: called with what came of a request if it is not what was asked for and nothing
    else: an error, or a Response that tells of an error or a topology.
    """

    cdef Front cluster
    cdef object request
    cdef dict failed, pools
    cdef double limit, fresh

    def __init__(self, Front cluster not None, dict pools, double limit, double fresh, request):
        self.cluster = cluster
        self.failed = cluster.failed
        self.pools = pools
        self.limit = limit
        self.fresh = fresh
        self.request = request

    def ask(self, op, Target state not None, header, fields, key, /):
        """The answer to a request. Arguments and errors as of Dispatcher.request."""
        cdef Paths routing
        cdef object server
        cdef Lines pool
        cdef Line line
        cdef double now
        if not self.failed:
            routing = paths_of(state)
            server = server_of(routing, key)
            with cython.critical_section(self.pools):  # as other threads change it
                pool = self.pools.get(server)
            if pool is not None and pool.idle:
                now = hr_now()
                line = self.ready(pool, now)
                if line is not None:
                    return self.run(
                        op, state, header, fields, key, server, routing, pool, line, now)
        return self.request(op, state, header, fields, key)

    @cython.final
    cdef Line ready(self, Lines pool, double now):
        cdef Line line
        try:
            line = pool.idle.pop()
        except IndexError:
            return None
        if line.usable and now - line.released_at < self.fresh and line.session.abandoned == 0:
            return line
        self.put_back(line)
        return None

    @cython.final
    cdef object run(self, op, state, header, fields, key, server, Paths routing, Lines pool,
                    Line line, double now):
        cdef object outcome
        cdef uint64_t generation = self.cluster.generation
        cdef double deadline = now + self.limit
        cdef bint plain = False
        try:
            outcome = line.answer(op, routing.topology_id, header, fields, "pairs", deadline,
                                  self.limit, &plain)
        except Exception as error:
            outcome = error
        finally:
            if line.usable and line.at_rest and not pool.retired:
                line.released_at = hr_now()
                # As Driver.release.
                if not (pool.waiting and pool.hand_over(line)):
                    pool.idle.append(line)
                    if pool.waiting:
                        pool.tell()
            else:
                self.release(line)
        if plain:
            return outcome
        return self.look(op, state, header, fields, key, server, generation, deadline, outcome)


cdef PySendResult send(PyObject *me, PyObject *value, PyObject **result) noexcept:
    cdef Answer self = <Answer>me
    if self.stage == ANSWERED:
        Py_INCREF(self.outcome)
        result[0] = <PyObject *>self.outcome
        return PYGEN_RETURN
    if self.stage == PENDING:
        self._asyncio_future_blocking = True
        Py_INCREF(self)
        result[0] = me
        return PYGEN_NEXT
    result[0] = NULL
    try:
        self.result()
    except BaseException as error:
        PyErr_SetObject(type(error), error)
    return PYGEN_ERROR


cdef PyObject *next_of(PyObject *me) noexcept:
    cdef PyObject *result = NULL
    if send(me, NULL, &result) == PYGEN_RETURN:
        # A Response: neither a tuple nor an exception, which StopIteration would take apart.
        PyErr_SetObject(StopIteration, <object>result)
        Py_DECREF(<object>result)
        return NULL
    return result


cdef PyObject *attribute_of(PyObject *me, PyObject *name) noexcept:
    cdef Answer self = <Answer>me
    cdef PyObject *found
    if name is hr_blocking_name:
        found = <PyObject *>self._asyncio_future_blocking
    elif name is hr_get_loop_name and self.turns is not None:
        found = <PyObject *>self.turns.get_loop
    else:
        return PyObject_GenericGetAttr(me, name)
    Py_INCREF(<object>found)
    return found


cdef int set_attribute_of(PyObject *me, PyObject *name, PyObject *value) except -1:
    if name is hr_blocking_name and value is not NULL:
        (<Answer>me)._asyncio_future_blocking = <object>value
        return 0
    return PyObject_GenericSetAttr(me, name, value)


HR_SET_ATTRIBUTES(Answer, attribute_of, set_attribute_of)
HR_SET_NEXT(Answer, next_of)
HR_SET_SEND(Answer, send)
