"""The README promises nothing that is not so: its commands run, its links lead somewhere, its minutes are right."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from ecomlib.broker import PrivateNode
from ecomlib.cli import main
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
SHELL = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
PYTHON = [block for kind, block in BLOCKS if kind == "python"]
VERBS = [line.removeprefix(".venv/bin/ecomlib ") for line in SHELL if line.startswith(".venv/bin/ecomlib ")]
SERVE = [verb for verb in VERBS if verb.startswith("serve")]  # it stays, so it has a test of its own
WORKERS = [verb for verb in VERBS if verb.startswith("worker")]  # they stay, too, and need a broker
PRODUCE = [verb for verb in VERBS if verb.startswith("produce")]
PLAIN, SIGNED = (block for kind, block in BLOCKS if "curl" in block)
MAKES = [line.split()[1] for line in SHELL if line.startswith("make ")]
CONDA = [
    "conda env create -f environment.yml",
    "conda activate ecomlib",
    "pip install --no-deps --no-build-isolation -e .",
]


def test_every_command_is_of_a_kind_that_a_test_runs() -> None:
    webhook = [*PLAIN.splitlines(), *SIGNED.splitlines()]
    known = (".venv/bin/ecomlib ", "make ", "jupyter lab ")
    rest = [line for line in SHELL if not line.startswith(known) and line not in webhook]
    assert rest == CONDA  # conda itself is the workflow's: `environment.yml` is held to the lock by test_packaging
    assert VERBS
    assert PYTHON


def test_the_verbs_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in (verb for verb in VERBS if verb not in (*SERVE, *WORKERS, *PRODUCE)):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main(shlex.split(verb)) == 0, verb
        assert out.getvalue().strip(), verb


@pytest.mark.parametrize("lines", [PLAIN.splitlines()[1:], SIGNED.splitlines()], ids=["plain", "signed"])
@pytest.mark.skipif(not all(map(shutil.which, ("curl", "openssl"))), reason="install curl and openssl")
def test_the_server_takes_the_reports_as_they_are_printed(lines: list[str], tmp_path: Path, unused_port: int) -> None:
    secret = {"ECOMLIB_WEBHOOK_SECRET": "only-the-partner-knows"} if "secret" in "".join(lines).lower() else {}
    environment = {**os.environ, **secret}
    (verb,) = SERVE
    command = [sys.executable, "-m", "ecomlib", *shlex.split(verb), "--port", str(unused_port)]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stderr is not None
            assert "The live page is at" in server.stderr.readline()
            assert "The webhook is at" in server.stderr.readline()
            script = "\n".join(lines).replace("8000", str(unused_port))
            asked = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=30)
            answer = json.loads(asked.stdout)
            assert (answer["status"], answer["event_name"]) == ("success", "order.paid"), asked
        finally:
            server.terminate()
        said, _ = server.communicate(timeout=30)
        assert server.returncode == 0
        assert "paid  1" in said


def test_the_three_terminals_work_together(rabbitmq: PrivateNode, tmp_path: Path) -> None:
    """That they make the same day as the shop in one process, `test_three_terminals` shows."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ECOMLIB_RABBITMQ_URL": rabbitmq.url}
    with ExitStack() as running:
        workers = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "ecomlib", *shlex.split(verb)],
                    cwd=tmp_path,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for verb in WORKERS
        ]
        try:
            (verb,) = PRODUCE
            small = shlex.split(verb.replace("1000", "3"))
            sent = subprocess.run(
                [sys.executable, "-m", "ecomlib", *small, "--json"], cwd=tmp_path, env=environment, capture_output=True
            )
            assert json.loads(sent.stdout)["confirmed"] >= 3
            handled = [
                (worker.stderr and next(line for line in worker.stderr if '"handled"' in line)) for worker in workers
            ]
            assert all(handled)
        finally:
            for worker in workers:
                worker.terminate()
        ends = [worker.communicate(timeout=30) for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0], ends
        assert all(out.strip() for out, _ in ends)


@pytest.mark.parametrize("goal", MAKES)
def test_make_knows_the_goals(goal: str) -> None:
    """That they do what they should, `test_packaging` shows for the lab; this run shows it for the tests."""
    asked = subprocess.run(["make", "--dry-run", goal], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, asked.stderr
    assert {"lab": "jupyterlab", "test": "pytest --nbval"}[goal] in asked.stdout


def test_the_lesson_that_jupyter_is_told_to_open_is_there() -> None:
    for line in SHELL:
        if line.startswith("jupyter lab "):
            assert (ROOT / line.split()[-1]).is_file()


SAID = ("'revenue': '50.00'", "order.paid              50.0")


@pytest.mark.parametrize(("code", "said"), list(zip(PYTHON, SAID, strict=True)))
def test_the_python_runs(code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "README.md", "exec"), {})
    assert said in out.getvalue()


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_table_names_every_lesson_with_its_minutes() -> None:
    rows = dict(re.findall(r"\]\((notebooks/[^)]+)\) \| (\d+) \|", README))
    lessons = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(rows) == [f"notebooks/{lesson.name}" for lesson in lessons]
    for lesson in lessons:
        text = lesson.read_text(encoding="utf-8")
        assert re.search(rf"\b{rows[f'notebooks/{lesson.name}']} minutes", text), lesson.name


def test_the_map_names_every_module() -> None:
    table = README[README.index("## A map") : README.index("## For instructors")]
    modules = {path.stem for path in (ROOT / "ecomlib").glob("*.py") if not path.stem.startswith("__")}
    helpers = {"importing", "habits", "sampling", "zones"}  # small ones that the modules on the map share
    assert sorted(module for module in modules - helpers if f"`{module}`" not in table) == []
