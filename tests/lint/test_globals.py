"""docs/internals/globals.md lists every variable of the process, with its guard.

There are many GILs, so none of them guards such a variable. What has a guard, or is
written by nobody, says so in one place where a reader can check it.
"""

import re

from gate import symbols, tools, tree

LIST = "docs/internals/globals.md"
ROW = re.compile(r"^\| `(?P<name>\w+)` \| `(?P<file>[\w./-]+)` \| (?P<rest>.*) \|$")

SAMPLE = """\
int plain;
static int hidden = 1;
static _Thread_local int own;
static const char *names[] = {"a"};
static const char *const constant[] = {"a"};
static const int number = 1;
int use(void) { static int inner; return hidden + own + inner++ + number
                                         + *names[0] + *constant[0]; }
"""


def listed():
    """{(file, variable): what the list says of it}."""
    found = {}
    for number, line in enumerate(tree.read(LIST).split("\n"), 1):
        if not line.startswith("| `"):
            continue
        match = ROW.match(line)
        assert match, f"{LIST}:{number}: not | `name` | `file` | what | guard |"
        key = (match["file"], match["name"])
        assert key not in found, f"{LIST}:{number}: {key} is there twice"
        found[key] = [cell.strip() for cell in match["rest"].split(" | ")]
    tree.some(found, f"rows in {LIST}")
    return found


def test_variables_are_listed_with_their_guard(objects):
    actual = {
        (source, name) for source, path in objects for name in symbols.variables(path)
    }
    assert actual, "found no variable: nm was misread"
    rows = listed()
    tree.report(
        [
            f"{LIST} lacks `{name}` of `{file}`"
            for file, name in sorted(actual - set(rows))
        ]
        + [f"{file} has no `{name}`" for file, name in sorted(set(rows) - actual)]
        + [
            f"{LIST}: `{name}` of `{file}` without what it is and its guard"
            for (file, name), cells in rows.items()
            if len(cells) != 2 or not all(cells)
        ]
    )


def test_variables_are_found(tmp_path):
    compiler = tools.system("cc", "a C compiler")
    (tmp_path / "sample.c").write_text(SAMPLE)
    target = tmp_path / "sample.o"
    tools.accept([compiler, "-fPIC", "-c", tmp_path / "sample.c", "-o", target])
    assert symbols.variables(target) == {"plain", "hidden", "own", "names", "inner"}
