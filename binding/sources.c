/* sources.c — see sources.h. */
#include "binding/sources.h"

#include <string.h>

#include "core/base/alloc.h"

/* The hash is cached in the string object by its own interpreter before it comes here
 * (find is called there first), so put does not write to a foreign object. All
 * interpreters of a process share the hash secret: equal texts have equal hashes. */
static Py_hash_t
hash_of(PyObject *text)
{
    return ((PyASCIIObject *)text)->hash != -1 ? ((PyASCIIObject *)text)->hash
                                               : PyObject_Hash(text);
}

static size_t
bytes_of(PyObject *text)
{
    return (size_t)PyUnicode_GET_LENGTH(text) * (size_t)PyUnicode_KIND(text);
}

static bool
matches(const sipy_source *s, PyObject *text, Py_hash_t hash, bool dedent)
{
    return s->code != NULL && s->hash == hash && s->dedent == dedent &&
           s->length == PyUnicode_GET_LENGTH(text) && s->kind == PyUnicode_KIND(text) &&
           memcmp(s->text, PyUnicode_DATA(text), bytes_of(text)) == 0;
}

static size_t
set_of(Py_hash_t hash)
{
    return (size_t)hash % SIPY_SOURCE_SETS;
}

PyObject *
sipy_sources_find(const sipy_sources *sources, PyObject *text, bool dedent)
{
    Py_hash_t hash = hash_of(text);
    if (sources->entries == NULL) {
        return NULL;
    }
    const sipy_source *set = &sources->entries[set_of(hash) * SIPY_SOURCE_WAYS];
    for (int way = 0; way < SIPY_SOURCE_WAYS; way++) {
        if (matches(&set[way], text, hash, dedent)) {
            return set[way].code;
        }
    }
    return NULL;
}

static void
forget(sipy_source *s)
{
    si_free(s->text);
    s->text = NULL;
    Py_CLEAR(s->code);
}

void
sipy_sources_put(sipy_sources *sources, PyObject *text, bool dedent, PyObject *code)
{
    size_t size = bytes_of(text);
    if (size > SIPY_SOURCE_MAX) {
        return;
    }
    if (sources->entries == NULL) {
        sources->entries =
            si_calloc(SIPY_SOURCE_SETS * SIPY_SOURCE_WAYS * sizeof(sipy_source));
        if (sources->entries == NULL) {
            return;
        }
    }
    void *copy = si_alloc(size + 1);
    if (copy == NULL) {
        return;
    }
    memcpy(copy, PyUnicode_DATA(text), size);
    Py_hash_t hash = hash_of(text);
    size_t set = set_of(hash);
    size_t way = sources->next_way[set]++ % SIPY_SOURCE_WAYS;
    sipy_source *s = &sources->entries[set * SIPY_SOURCE_WAYS + way];
    forget(s);
    s->text = copy;
    s->length = PyUnicode_GET_LENGTH(text);
    s->hash = hash;
    s->kind = (uint8_t)PyUnicode_KIND(text);
    s->dedent = dedent;
    s->code = Py_NewRef(code);
}

void
sipy_sources_clear(sipy_sources *sources)
{
    sipy_source *entries = sources->entries;
    sources->entries = NULL;
    if (entries == NULL) {
        return;
    }
    for (int i = 0; i < SIPY_SOURCE_SETS * SIPY_SOURCE_WAYS; i++) {
        forget(&entries[i]);
    }
    si_free(entries);
}

/* --- dedent -------------------------------------------------------------------- */

static bool
is_indent(Py_UCS4 c)
{
    return c == ' ' || c == '\t';
}

/* One past the indentation of the line that starts at start. */
static Py_ssize_t
skip_indent(PyObject *text, Py_ssize_t start)
{
    Py_ssize_t i = start;
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    while (i < length && is_indent(PyUnicode_READ_CHAR(text, i))) {
        i++;
    }
    return i;
}

/* One past the newline that ends the line at start, or the length. */
static Py_ssize_t
next_line(PyObject *text, Py_ssize_t start)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    Py_ssize_t end = PyUnicode_FindChar(text, '\n', start, length, 1);
    return end < 0 ? length : end + 1;
}

static bool
is_blank(PyObject *text, Py_ssize_t after_indent)
{
    if (after_indent >= PyUnicode_GET_LENGTH(text)) {
        return true;
    }
    Py_UCS4 c = PyUnicode_READ_CHAR(text, after_indent);
    return c == '\n' || c == '\r';
}

/* The length of the indentation that all non-blank lines share; *first: its start. */
static Py_ssize_t
common_margin(PyObject *text, Py_ssize_t *first)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    Py_ssize_t margin = -1;
    for (Py_ssize_t line = 0; line < length; line = next_line(text, line)) {
        Py_ssize_t end = skip_indent(text, line);
        if (is_blank(text, end)) {
            continue;
        }
        if (margin < 0) {
            *first = line;
            margin = end - line;
        }
        Py_ssize_t shared = 0;
        while (shared < margin && line + shared < end &&
               PyUnicode_READ_CHAR(text, line + shared) ==
                   PyUnicode_READ_CHAR(text, *first + shared)) {
            shared++;
        }
        margin = shared;
        if (margin == 0) {
            break;
        }
    }
    return margin < 0 ? 0 : margin;
}

PyObject *
sipy_dedent(PyObject *text)
{
    Py_ssize_t first = 0;
    Py_ssize_t margin = common_margin(text, &first);
    if (margin == 0) {
        return Py_NewRef(text);
    }
    PyObject *lines = PyList_New(0);
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    for (Py_ssize_t line = 0; lines != NULL && line < length;) {
        Py_ssize_t next = next_line(text, line);
        Py_ssize_t cut = line;
        /* A blank line may be shorter than the margin: keep what stands behind it. */
        while (cut < line + margin && cut < next &&
               is_indent(PyUnicode_READ_CHAR(text, cut))) {
            cut++;
        }
        PyObject *rest = PyUnicode_Substring(text, cut, next);
        if (rest == NULL || PyList_Append(lines, rest) < 0) {
            Py_CLEAR(lines);
        }
        Py_XDECREF(rest);
        line = next;
    }
    PyObject *empty = lines == NULL ? NULL : PyUnicode_FromString("");
    PyObject *result = empty == NULL ? NULL : PyUnicode_Join(empty, lines);
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    return result;
}
