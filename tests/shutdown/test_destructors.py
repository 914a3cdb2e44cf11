"""Objects of a script are destroyed when and as they are without us: while `print` and
the modules still work, in the main interpreter and in every other one."""

import pytest

SAYS = """
    class Says:
        def __init__(self, what):
            self.what = what
        def __del__(self):
            print('end of', self.what, flush=True)
    """


def test_the_import_changes_nothing(script):
    source = SAYS + "thing = Says('main')"
    assert script.ok("import subinterpreters\n" + source_of(source)) == "end of main\n"


def source_of(text):
    return "\n".join(line[4:] for line in text.splitlines())


def test_what_functions_took_along(script):
    out = script.ok(
        f"""
    import subinterpreters
    {SAYS}
    thing = Says('thing')
    def name():
        return thing.what
    interp = subinterpreters.create()
    print(interp.call(name), flush=True)
    interp.close()
    print('over', flush=True)
    """
    )
    assert out.split("\n")[:3] == ["thing", "end of thing", "over"]
    assert out.split("\n")[3:] == ["end of thing", ""]


def test_under_run(script, tmp_path):
    path = script.write("from concurrent import interpreters\n" + source_of(SAYS))
    with path.open("a", encoding="utf-8") as file:
        file.write("\nthing = Says('script')\n")
    out = script.ok(
        f"""
    import runpy, sys
    sys.argv = ['subinterpreters', 'run', {str(path)!r}]
    runpy.run_module('subinterpreters', run_name='__main__', alter_sys=True)
    """
    )
    assert out == "end of script\n"


@pytest.mark.parametrize(
    "use",
    [
        "interp.exec(SAYS + \"thing = Says('it')\")",
        "interp.exec(SAYS); interp.exec('def f(): return thing'); "
        "interp.exec(\"thing = Says('it')\"); interp.exec('f()')",
        "interp.exec(SAYS); interp.prepare_main(what='it'); "
        "interp.exec('thing = Says(what)')",
        "interp.call(keep, Says('it')); del Says.__del__",
    ],
    ids=["exec", "several", "prepare_main", "call"],
)
def test_when_an_interpreter_closes(script, use):
    out = script.ok(
        f"""
    import subinterpreters, textwrap
    SAYS = textwrap.dedent('''{SAYS}''')
    exec(SAYS)
    def keep(thing):
        global kept
        kept = thing
    interp = subinterpreters.create()
    {use}
    print('closing', flush=True)
    interp.close()
    print('closed', flush=True)
    """
    )
    lines = out.split()
    assert "".join(lines[lines.index("closing") : lines.index("closed")]) == (
        "closingendofit"
    )
