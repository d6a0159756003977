/* bare.c - what the codec's results cost at the least: the same Python objects, made from offsets
 * that are known beforehand. Parses nothing and checks no offset: an extension for bench/ alone,
 * never part of a wheel. Each function is the reference "bare" of some rows. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

static int wants(const char *name, Py_ssize_t found, Py_ssize_t wanted)
{
    if (found == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%s: wants %zd arguments, got %zd", name, wanted, found);
    return 0;
}

static PyObject *new_bytes(const char *data, int64_t start, int64_t length)
{
    return PyBytes_FromStringAndSize(data + start, (Py_ssize_t)length);
}

PyDoc_STRVAR(copy_doc, "copy(data: bytes, /) -> bytes\n\nA new object of the same bytes.");
static PyObject *bare_copy(PyObject *module, PyObject *data)
{
    (void)module;
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data));
}

PyDoc_STRVAR(slice_doc, "slice(data: bytes, start: int, length: int, /) -> bytes");
static PyObject *bare_slice(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (!wants("slice", count, 3))
        return NULL;
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), length = PyLong_AsSsize_t(args[2]);
    if ((start == -1 || length == -1) && PyErr_Occurred())
        return NULL;
    return new_bytes(PyBytes_AS_STRING(args[0]), start, length);
}

PyDoc_STRVAR(get_request_doc,
             "get_request(data: bytes, cache: int, cache_length: int, key: int, key_length: int, /)"
             " -> bytes\n\nMakes the text of the cache's name, and the key, which it returns.");
static PyObject *bare_get_request(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Py_ssize_t places[4];
    if (!wants("get_request", count, 5))
        return NULL;
    for (int i = 0; i < 4; i++) {
        places[i] = PyLong_AsSsize_t(args[1 + i]);
        if (places[i] == -1 && PyErr_Occurred())
            return NULL;
    }
    const char *data = PyBytes_AS_STRING(args[0]);
    PyObject *cache = PyUnicode_DecodeUTF8(data + places[0], places[1], "surrogateescape");
    if (!cache)
        return NULL;
    PyObject *key = new_bytes(data, places[2], places[3]);
    Py_DECREF(cache);
    return key;
}

/* The offsets of a list: int64, `width` to an item. The caller releases the view. */
static const int64_t *offsets_of(PyObject *array, Py_ssize_t width, Py_buffer *view,
                                 Py_ssize_t *count)
{
    if (PyObject_GetBuffer(array, view, PyBUF_SIMPLE) < 0)
        return NULL;
    *count = view->len / ((Py_ssize_t)sizeof(int64_t) * width);
    return view->buf;
}

PyDoc_STRVAR(slices_doc, "slices(data: bytes, offsets: int64 array (n, 2), /) -> list[bytes]\n\n"
                         "A row of offsets is start and length.");
static PyObject *bare_slices(PyObject *module, PyObject *const *args, Py_ssize_t num_args)
{
    (void)module;
    Py_buffer view;
    Py_ssize_t count;
    if (!wants("slices", num_args, 2))
        return NULL;
    const int64_t *at = offsets_of(args[1], 2, &view, &count);
    if (!at)
        return NULL;
    const char *data = PyBytes_AS_STRING(args[0]);
    PyObject *out = PyList_New(count);
    for (Py_ssize_t i = 0; out && i < count; i++, at += 2) {
        PyObject *item = new_bytes(data, at[0], at[1]);
        if (!item)
            Py_CLEAR(out);
        else
            PyList_SET_ITEM(out, i, item);
    }
    PyBuffer_Release(&view);
    return out;
}

static PyObject *new_pair(const char *data, const int64_t *at)
{
    PyObject *pair = PyTuple_New(2);
    if (!pair)
        return NULL;
    PyObject *key = new_bytes(data, at[0], at[1]);
    PyObject *value = new_bytes(data, at[2], at[3]);
    PyTuple_SET_ITEM(pair, 0, key);
    PyTuple_SET_ITEM(pair, 1, value);
    if (!key || !value)
        Py_CLEAR(pair);
    else
        PyObject_GC_UnTrack(pair); /* as the collector would do on its first visit */
    return pair;
}

PyDoc_STRVAR(pairs_doc,
             "pairs(data: bytes, offsets: int64 array (n, 4), /) -> list[tuple[bytes, bytes]]\n\n"
             "A row of offsets is start and length of the first, start and length of the second.");
static PyObject *bare_pairs(PyObject *module, PyObject *const *args, Py_ssize_t num_args)
{
    (void)module;
    Py_buffer view;
    Py_ssize_t count;
    if (!wants("pairs", num_args, 2))
        return NULL;
    const int64_t *at = offsets_of(args[1], 4, &view, &count);
    if (!at)
        return NULL;
    const char *data = PyBytes_AS_STRING(args[0]);
    PyObject *out = PyList_New(count);
    for (Py_ssize_t i = 0; out && i < count; i++, at += 4) {
        PyObject *pair = new_pair(data, at);
        if (!pair)
            Py_CLEAR(out);
        else
            PyList_SET_ITEM(out, i, pair);
    }
    PyBuffer_Release(&view);
    return out;
}

PyDoc_STRVAR(dict_doc, "dict(data: bytes, offsets: int64 array (n, 4), /) -> dict[bytes, bytes]");
static PyObject *bare_dict(PyObject *module, PyObject *const *args, Py_ssize_t num_args)
{
    (void)module;
    Py_buffer view;
    Py_ssize_t count;
    if (!wants("dict", num_args, 2))
        return NULL;
    const int64_t *at = offsets_of(args[1], 4, &view, &count);
    if (!at)
        return NULL;
    const char *data = PyBytes_AS_STRING(args[0]);
    PyObject *out = PyDict_New();
    for (Py_ssize_t i = 0; out && i < count; i++, at += 4) {
        PyObject *key = new_bytes(data, at[0], at[1]);
        PyObject *value = new_bytes(data, at[2], at[3]);
        if (!key || !value || PyDict_SetItem(out, key, value) < 0)
            Py_CLEAR(out);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    PyBuffer_Release(&view);
    return out;
}

PyDoc_STRVAR(lists_doc, "lists(data: bytes, offsets: int64 array (n, 4), /)"
                        " -> tuple[list[bytes], list[bytes]]");
static PyObject *bare_lists(PyObject *module, PyObject *const *args, Py_ssize_t num_args)
{
    (void)module;
    Py_buffer view;
    Py_ssize_t count;
    if (!wants("lists", num_args, 2))
        return NULL;
    const int64_t *at = offsets_of(args[1], 4, &view, &count);
    if (!at)
        return NULL;
    const char *data = PyBytes_AS_STRING(args[0]);
    PyObject *keys = PyList_New(count), *values = PyList_New(count), *out = NULL;
    Py_ssize_t made = 0;
    for (; keys && values && made < count; made++, at += 4) {
        PyObject *key = new_bytes(data, at[0], at[1]);
        PyObject *value = new_bytes(data, at[2], at[3]);
        PyList_SET_ITEM(keys, made, key);
        PyList_SET_ITEM(values, made, value);
        if (!key || !value)
            break;
    }
    if (keys && values && made == count)
        out = PyTuple_Pack(2, keys, values);
    Py_XDECREF(keys);
    Py_XDECREF(values);
    PyBuffer_Release(&view);
    return out;
}

PyDoc_STRVAR(integer_doc, "integer(number: int, /) -> int\n\nA new object of the same number.");
static PyObject *bare_integer(PyObject *module, PyObject *number)
{
    (void)module;
    long value = PyLong_AsLong(number);
    return value == -1 && PyErr_Occurred() ? NULL : PyLong_FromLong(value);
}

PyDoc_STRVAR(
    int32s_doc,
    "int32s(keys: list[bytes], known: int32 array (n,), out: int32 array (n,), /) -> out\n\n"
    "Look at each key and store the number that is known of it.");
static PyObject *bare_int32s(PyObject *module, PyObject *const *args, Py_ssize_t num_args)
{
    (void)module;
    Py_buffer known, out;
    if (!wants("int32s", num_args, 3) || PyObject_GetBuffer(args[1], &known, PyBUF_SIMPLE) < 0)
        return NULL;
    if (PyObject_GetBuffer(args[2], &out, PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&known);
        return NULL;
    }
    const int32_t *from = known.buf;
    int32_t *to = out.buf;
    Py_ssize_t count = PyList_GET_SIZE(args[0]);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *key = PyList_GET_ITEM(args[0], i);
        to[i] = PyBytes_GET_SIZE(key) ? from[i] : 0;
    }
    PyBuffer_Release(&out);
    PyBuffer_Release(&known);
    return Py_NewRef(args[2]);
}

/* Where valgrind cuts its profile: a name that it finds. */
#if defined(__GNUC__)
__attribute__((noinline, used, visibility("default")))
#endif
void hotrod_bench_mark(void);
void hotrod_bench_mark(void)
{
#if defined(__GNUC__)
    __asm__ volatile("");
#endif
}

PyDoc_STRVAR(mark_doc, "mark() -> None\n\nBegins a new part of a profile.");
static PyObject *bare_mark(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    hotrod_bench_mark();
    Py_RETURN_NONE;
}

/* The fast calling convention has a type of its own; PyMethodDef holds the plain one. */
#define FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL

static PyMethodDef methods[] = {
    {"copy", bare_copy, METH_O, copy_doc},
    {"slice", FAST(bare_slice), slice_doc},
    {"get_request", FAST(bare_get_request), get_request_doc},
    {"slices", FAST(bare_slices), slices_doc},
    {"pairs", FAST(bare_pairs), pairs_doc},
    {"dict", FAST(bare_dict), dict_doc},
    {"lists", FAST(bare_lists), lists_doc},
    {"integer", bare_integer, METH_O, integer_doc},
    {"int32s", FAST(bare_int32s), int32s_doc},
    {"mark", bare_mark, METH_NOARGS, mark_doc},
    {0},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "bare",
    .m_doc = "The codec's results, made without parsing: the least that they cost.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit_bare(void)
{
    return PyModuleDef_Init(&definition);
}
