/* execute.h — what Interpreter's methods do inside another interpreter. */
#ifndef SIPY_EXECUTE_H
#define SIPY_EXECUTE_H

#include "binding/home.h"
#include "binding/state.h"

/* Interpreter.exec(): runs str, bytes-like, a code object or the code of a function in
 * __main__ of interp. -> None | NULL with ExecutionFailed, SyntaxError, TypeError,
 * ValueError, InterpreterError or InterpreterNotFoundError set */
PyObject *
sipy_execute(sipy_state *state, sipy_interp *interp, PyObject *code, bool dedent);

/* Interpreter.call(): vectorcall arguments without the function itself.
 * -> the result | NULL with the exceptions of sipy_execute or NotShareableError */
PyObject *
sipy_call(sipy_state *state, sipy_interp *interp, PyObject *func, PyObject *const *args,
          Py_ssize_t nargs, PyObject *kwnames);

/* Interpreter.prepare_main(): binds the items of the dict ns in __main__ of interp.
 * -> None | NULL with NotShareableError, TypeError, ... set, nothing bound */
PyObject *
sipy_prepare_main(sipy_state *state, sipy_interp *interp, PyObject *ns);

#endif /* SIPY_EXECUTE_H */
