/* parsers.c — the exit of CPython 3.12.0 to 3.12.3 after keyword arguments elsewhere.
 *
 * gh-119213: the first call of a C function with keyword arguments makes a tuple of their
 * names in whichever interpreter that is, and the main interpreter frees it at exit with
 * its own allocator, which aborts the process. A tuple that nobody frees does no harm.
 * Goes with support for 3.12.3.
 */
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wundef" /* of the internal headers */
#endif

#include <patchlevel.h>

#if PY_VERSION_HEX < 0x030D0000
#define Py_BUILD_CORE 1 /* for the layout of _PyRuntime, fixed within 3.12 */
#endif

#include "binding/compat/compat.h"

#if PY_VERSION_HEX < 0x030D0000
#include <internal/pycore_runtime.h>

void
sipy_compat_keep_parsers(void)
{
    if (Py_Version >= 0x030C0400) {
        return;
    }
    /* The list only grows, at its head. */
    for (struct _PyArg_Parser *parser = _PyRuntime.getargs.static_parsers; parser != NULL;
         parser = parser->next) {
        if (parser->kwtuple != NULL) {
            Py_SET_REFCNT(parser->kwtuple, _Py_IMMORTAL_REFCNT);
        }
    }
}
#else
void
sipy_compat_keep_parsers(void)
{
}
#endif
