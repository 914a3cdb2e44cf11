"""clang-format has nothing to change, clang-tidy nothing to say."""

import pytest

from gate import tools, tree

# The flags are those of the real compiler; what clang does not know of them is no news.
FLAGS = ["-Wno-unknown-warning-option", "-Wno-unused-command-line-argument"]
FLAGS += ["-Wthread-safety", "-UNDEBUG"]

NULL_IS_READ = """\
int si_x(int *p);
int si_x(int *p) {return p == 0 ? *p : 1;}
"""


@pytest.mark.parametrize("file", tree.files(tree.ALL_C, ".c", ".h"))
def test_clang_format(file, jobs):
    program = tools.program("clang-format")
    files = tree.files(tree.ALL_C, ".c", ".h")
    status, output = jobs.result(
        "format",
        file,
        lambda: {f: [program, "--dry-run", "--Werror", f] for f in files},
    )
    assert status == 0, f"clang-format -i {file}\n{output[:2000]}"


def tidy_command(entry):
    program = tools.program("clang-tidy")
    options = ["--quiet", "--warnings-as-errors=*", f"--header-filter={tree.ROOT}/.*"]
    return [program, *options, entry.source, "--", *entry.flags, *FLAGS]


@pytest.mark.parametrize("source", tree.files(tree.PRODUCT_C, ".c"))
def test_clang_tidy(source, cc_build, jobs):
    tools.require("clang-tidy")
    cc_build.entries_for(source)
    status, output = jobs.result(
        "tidy",
        source,
        lambda: {entry.source: tidy_command(entry) for entry in cc_build.product()},
    )
    assert status == 0, output


def test_clang_tools_bite(tmp_path):
    sample = tmp_path / "sample.c"
    sample.write_text(NULL_IS_READ)
    style = f"--style=file:{tree.ROOT / '.clang-format'}"
    formatter = tools.program("clang-format")
    assert tools.run([formatter, style, "--dry-run", "--Werror", sample])[0] != 0
    config = f"--config-file={tree.ROOT / '.clang-tidy'}"
    options = ["--quiet", "--warnings-as-errors=*", config]
    tidy = tools.program("clang-tidy")
    status, output = tools.run([tidy, *options, sample, "--", "-std=c11"])
    assert status != 0, "reading through NULL was accepted"
    assert "clang-analyzer-core.NullDereference" in output, output
