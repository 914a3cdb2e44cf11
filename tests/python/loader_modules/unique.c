/* unique.c — what C++ makes of an inline variable: a symbol that each library defines and
 * that is one variable for all of them; with WEAK, what compilers make of it that know no
 * such symbols. With NAME a module, else a library.
 */
#include <Python.h>

#ifdef WEAK
#define BINDING ".weak inline_count\n.type inline_count, @object\n"
#else
#define BINDING ".globl inline_count\n.type inline_count, @gnu_unique_object\n"
#endif

__asm__(".pushsection .data\n" BINDING
        ".size inline_count, 4\n"
        "inline_count: .long 0\n"
        ".popsection\n");

__attribute__((visibility("default"))) extern int inline_count;

int
library_count(void);

#ifdef NAME
#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)

static PyObject *
count(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyLong_FromLong(++inline_count);
}

#ifdef WITH_LIBRARY
static PyObject *
count_there(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyLong_FromLong(library_count());
}
#endif

static PyMethodDef methods[] = {
    {"count", count, METH_NOARGS, NULL},
#ifdef WITH_LIBRARY
    {"count_there", count_there, METH_NOARGS, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = TEXT(NAME), .m_size = -1,
                                 .m_methods = methods};

PyMODINIT_FUNC
JOIN(PyInit_, NAME)(void)
{
    return PyModule_Create(&def);
}
#else
__attribute__((visibility("default"))) int
library_count(void)
{
    return ++inline_count;
}
#endif
