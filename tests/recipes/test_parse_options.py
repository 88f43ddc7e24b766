import subprocess
from pathlib import Path

import pytest

PARSER = Path(__file__).parents[2] / "recipes" / "utils" / "parse_options.sh"


@pytest.fixture
def run(tmp_path):
    """Run a script with options; returns its exit status, output and error output."""
    script = tmp_path / "script.sh"
    script.write_text(
        "#!/usr/bin/env bash\n# What it does.\n#\n#   script.sh --some-name VALUE\n\n# Not help.\nset -euo pipefail\n"
        f'some_name=default\nflag=false\nempty=\n. {PARSER}\necho "$some_name|$flag|$empty|$*"\n'
    )

    def call(*arguments):
        result = subprocess.run(["bash", script, *arguments], capture_output=True, text=True, check=False)
        return result.returncode, result.stdout, result.stderr

    return call


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ((), "default|false||\n"),
        (("--some-name", "a b"), "a b|false||\n"),
        (("--some_name=x=y",), "x=y|false||\n"),
        (("--flag", "true", "--empty", "--flag"), "default|true|--flag|\n"),
        (("--some-name", "$(touch x); `id`"), "$(touch x); `id`|false||\n"),
        (("--some-name=", "rest", "--flag"), "|false||rest --flag\n"),
        (("--", "--flag"), "default|false||--flag\n"),
    ],
)
def test_options_set_variables(run, arguments, output):
    assert run(*arguments) == (0, output, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--other", "1"), "unknown option --other"),
        (("--HOME", "1"), "unknown option --HOME"),
        (("--BASH_SOURCE", "1"), "unknown option --BASH_SOURCE"),
        (("-n",), "unknown option -n"),
        (("--some;name=1",), "unknown option --some;name"),
        (("--some-name",), "--some-name needs a value"),
        (("--flag", "yes"), "--flag is true or false, not yes"),
    ],
)
def test_mistakes_end_the_script(run, arguments, message):
    status, output, error = run(*arguments)
    assert (status, output) == (1, "")
    assert error == f"script.sh: error: {message} (--help tells more)\n"


def test_help_is_the_comment_at_the_head(run):
    assert run("--help") == (0, "What it does.\n\n  script.sh --some-name VALUE\n", "")
