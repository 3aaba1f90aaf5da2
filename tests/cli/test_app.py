"""What all commands have in common: help, examples, completion, ways to start them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from prunekit import __version__
from prunekit.cli import app
from tests.cli.tiny import COMMANDS

GROUP = typer.main.get_command(app)
EXAMPLE = re.compile(r"Example: \[bold\](prunekit .*?)\[/bold\]")


def test_version(invoke):
    result = invoke("--version")
    assert (result.exit_code, result.stdout) == (0, f"prunekit {__version__}\n")


def test_commands_are_known():
    assert tuple(GROUP.commands) == COMMANDS


def test_help_tells_exit_codes(invoke):
    text = re.sub(r"\s+", " ", invoke("--help").output)
    for code in ("0 success", "1 something failed", "2 a wrong file", "130 Ctrl-C"):
        assert code in text
    assert invoke().exit_code in (0, 2)  # of older versions of click and newer ones


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(invoke, command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    text = re.sub(r"\s+", " ", result.output)
    assert f"Example: prunekit {command} " in text
    assert "--json" in text
    assert "--quiet" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_example_parses(command):
    program, name, *arguments = shlex.split(EXAMPLE.search(GROUP.commands[command].help).group(1))
    assert (program, name) == ("prunekit", command)
    context = GROUP.commands[command].make_context(command, arguments)
    assert context.params


@pytest.mark.parametrize("arguments", [("run",), ("run", "tiny.yaml", "--nonsense"), ("prune", "tiny.yaml")])
def test_wrong_arguments(invoke, arguments):
    assert invoke(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run ", ["nets/deep.yaml", "tiny.yaml"]),
        ("run t", ["tiny.yaml"]),
        ("validate ne", ["nets/deep.yaml"]),
        ("show nets/", ["nets/deep.yaml"]),
        ("run [", []),
        ("run nowhere/", []),
        ("report ", ["first", "nets/run"]),
        ("compare first n", ["nets/run"]),
        ("analyze ", ["first", "nets/deep.yaml", "nets/run", "tiny.yaml"]),
        ("analyze tiny.yaml --level ", ["layer", "module", "reason", "unit"]),
        ("list op", ["optimizer"]),
        ("an", ["analyze"]),
    ],
)
def test_completion(invoke, tmp_path, monkeypatch, line, expected):
    for folder in ("first", "nets/run", "nets/empty"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "nets" / "deep.yaml").write_text("")
    for run in ("first", "nets/run"):
        (tmp_path / run / "run.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.setenv("_PRUNEKIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"prunekit {line}")
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" "))))
    result = invoke()
    assert sorted(result.stdout.split()) == expected, result.output


def test_python_m(tmp_path):
    command = [sys.executable, "-m", "prunekit", "list", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2
    assert done.stderr.startswith("Error: There is no kind of names called 'nonsense'.")


def test_command_is_installed():
    script = Path(sys.executable).with_name("prunekit")
    if not script.exists():
        pytest.skip("prunekit is not installed beside this Python; the checkout is being tested")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("prunekit ")
