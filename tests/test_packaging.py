"""The two commands, and the three files that say what they install."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import hatchling.build
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = {"linux": "posix", "darwin": "posix", "win32": "nt"}
# What each lock pins beyond the project's own dependencies: extras of pyproject.toml.
LOCKS = {
    "requirements.lock": ("install",),
    "tests/requirements.lock": ("install", "dev"),
    "benchmarks/requirements.lock": ("bench", "arrow"),
}

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is missing: apt-get install make")


def text_of(lock: str) -> str:
    return (ROOT / lock).read_text(encoding="utf-8")


def locked(lock: str) -> list[tuple[Requirement, int]]:
    """What the lock pins, and how many hashes each pin has."""
    entry = r"^([a-z0-9].*?) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)*)"
    pins = re.findall(entry, text_of(lock), re.MULTILINE)
    return [(Requirement(pin), hashes.count("--hash")) for pin, hashes in pins]


def locked_on(lock: str, python: str, system: str) -> dict[str, str]:
    """Name and version of all that the lock installs there."""
    where = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system}
    where |= {"os_name": SYSTEMS[system], "platform_python_implementation": "CPython"}
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin, _ in locked(lock)
        if pin.marker is None or pin.marker.evaluate(where)
    }


def outside_of_make(**changed: str) -> dict[str, str]:
    """The environment without what a running `make test` hands down to its children."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return outside | changed


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", str(ROOT), "--no-print-directory", *arguments]
    return subprocess.run(command, env=outside_of_make(), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_dependency_within_its_range(lock: str, python: str, system: str) -> None:
    pins = locked_on(lock, python, system)
    extras = [PROJECT["optional-dependencies"][extra] for extra in LOCKS[lock]]
    for dependency in map(Requirement, sum(extras, PROJECT["dependencies"])):
        name = canonicalize_name(dependency.name)
        if name == PROJECT["name"]:  # an extra of our own, which is in the list
            continue
        assert name in pins, f"{name} is not in {lock}: make lock"
        assert pins[name] in dependency.specifier, f"{name} {pins[name]} is outside {dependency}: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_of_a_lock_has_a_hash_and_names_no_host(lock: str) -> None:
    pins, text = locked(lock), text_of(lock)
    assert len(pins) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE)) > 50
    assert all(hashes for _, hashes in pins)
    assert all(str(pin.specifier).startswith("==") for pin, _ in pins)
    assert "://" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_no_lock_changes_a_version_of_another(python: str, system: str) -> None:
    first, *others = (locked_on(lock, python, system) for lock in LOCKS)
    for pins in others:
        assert {name: pins[name] for name in pins.keys() & first.keys()}.items() <= first.items()
        first |= pins


def test_what_a_learner_waits_for_has_neither_the_tools_nor_the_peers() -> None:
    pins = locked_on("requirements.lock", PYTHONS[0], "linux")
    assert not {"mypy", "playwright", "pytest", "polars", "duckdb", "pyarrow"} & pins.keys()


def test_conda_installs_what_the_lock_pins_on_a_python_that_the_project_supports() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    python, pip, packages = dependencies
    assert python.removeprefix("python=") in PYTHONS
    assert pip == "pip"
    assert packages == {"pip": ["-r tests/requirements.lock"]}


def test_the_readme_gives_the_same_commands_for_conda_as_the_file_itself() -> None:
    said = re.findall(r"^#   (\S.*?)(?:  +instead of.*)?$", (ROOT / "environment.yml").read_text(), re.MULTILINE)
    *commands, lab, test = said
    assert commands[0] == "conda env create -f environment.yml"
    assert test == "pytest --nbval"
    assert "\n".join([*commands, lab]) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_place_that_names_pythons_names_the_same() -> None:
    admitted = SpecifierSet(PROJECT["requires-python"])
    assert tuple(f"3.{minor}" for minor in range(30) if f"3.{minor}" in admitted) == PYTHONS
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith("Programming")]
    assert tuple(named) == PYTHONS
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    assert tuple(workflow["jobs"]["test"]["strategy"]["matrix"]["python"]) == PYTHONS
    assert f"case $$version in {'|'.join(PYTHONS)})" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_wheel_carries_the_library_its_types_and_a_quiet_jupyterlab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with zipfile.ZipFile(tmp_path / hatchling.build.build_wheel(str(tmp_path))) as wheel:
        names = wheel.namelist()
        (overrides,) = [name for name in names if name.endswith("share/jupyter/lab/settings/overrides.json")]
        settings = json.loads(wheel.read(overrides))["@jupyterlab/apputils-extension:notification"]
    assert settings == {"checkForUpdates": False, "fetchNews": "false"}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ecomlib").rglob("*.py")}
    assert modules | {"ecomlib/py.typed"} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "notebooks"))]


@pytest.mark.parametrize(("no_skip", "closing"), [("0", "3 skipped"), ("1", "1 failed, 2 errors")])
def test_where_none_is_allowed_a_skip_is_a_failure_that_names_what_is_missing(
    no_skip: str, closing: str, tmp_path: Path
) -> None:
    skips = """
        import pytest
        def test_skipped(): pytest.skip("no browser: install one")
        @pytest.mark.skipif(True, reason="no broker: install one")
        def test_marked(): pass
        @pytest.mark.xfail
        def test_known_bug(): assert False
    """
    (tmp_path / "test_some.py").write_text(dedent(skips))
    (tmp_path / "test_all.py").write_text("import pytest\npytest.importorskip('no_such_package')\n")
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-rs", "--continue-on-collection-errors"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        env=os.environ | {"PYTHONPATH": str(ROOT), "ECOMLIB_NO_SKIP": no_skip},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    for missing in ("no browser: install one", "no broker: install one", "could not import 'no_such_package'"):
        assert missing in run.stdout
    assert closing in run.stdout.splitlines()[-1].replace(", 1 xfailed", "")
    assert (run.returncode != 0) is (no_skip == "1")


@needs_make
def test_make_alone_says_what_there_is_to_make() -> None:
    said = make().stdout
    for target in ("lab", "test", "bench", "lint", "format", "notebooks", "env", "tools", "peers", "lock", "clean"):
        assert f"  make {target} " in said


@needs_make
@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("#!/bin/sh\necho 3.10\n", "ecomlib needs Python 3.11, 3.12 or 3.13: {} is 3.10; Install one"),
        ("#!/bin/sh\nexit 127\n", "ecomlib needs Python 3.11, 3.12 or 3.13: none was found. Install one"),
    ],
    ids=["too old", "not working"],
)
def test_make_says_which_python_it_needs(python: str, sentence: str, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text(python)
    fake.chmod(0o755)
    result = make("env", f"PYTHON={fake}", f"VENV={tmp_path / 'venv'}")
    assert result.returncode == 2
    assert sentence.format(fake) in result.stderr
    assert not (tmp_path / "venv").exists()


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A folder that make takes for a whole environment."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    (tmp_path / ".locked").touch()
    (tmp_path / ".whole").write_text(str(ROOT))
    return tmp_path


def would_make(environment: Path) -> bool:
    return "-m venv --clear" in make("--dry-run", "env", f"VENV={environment}").stdout


@needs_make
def test_make_keeps_a_whole_environment(environment: Path) -> None:
    assert not would_make(environment)


@needs_make
@pytest.mark.parametrize("stamp", [".locked", ".whole"])
def test_make_begins_anew_where_it_was_interrupted(stamp: str, environment: Path) -> None:
    (environment / stamp).unlink()
    assert would_make(environment)


@needs_make
def test_make_begins_anew_when_the_lock_has_changed(environment: Path) -> None:
    os.utime(environment / ".locked", (0, 0))
    assert would_make(environment)


@needs_make
def test_make_begins_anew_in_another_folder_or_without_its_python(environment: Path) -> None:
    (environment / ".whole").write_text("/somewhere/else")
    assert would_make(environment)
    (environment / ".whole").write_text(str(ROOT))
    (environment / "bin/python").unlink()
    assert would_make(environment)


@needs_make
@pytest.mark.parametrize(
    ("goal", "more"),
    [("env", []), ("tools", ["tests/requirements.lock"]), ("peers", ["benchmarks/requirements.lock"])],
)
def test_make_installs_by_hash_and_no_more_than_is_asked_for(goal: str, more: list[str], environment: Path) -> None:
    (environment / ".locked").unlink()
    would_do = make("--dry-run", goal, f"VENV={environment}").stdout
    installed = re.findall(r"uv pip install .*?--require-hashes -r ([\w/.]+)", would_do)
    assert installed == ["requirements.lock", *more]


@needs_make
def test_uv_is_the_one_that_the_lock_pins_by_hash() -> None:
    (line,) = [line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "/^uv==/" in line]
    sed = line.strip().partition(" > ")[0].replace("$$", "$")
    picked = subprocess.run(["sh", "-c", sed], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert re.fullmatch(r"uv==\S+ \\", picked[0])
    assert len(picked) > 1
    assert all("--hash=sha256:" in hashed for hashed in picked[1:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def lab_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address that `make lab` prints, with an empty home; it answers by then."""
    if not Path(sys.prefix, ".whole").exists():
        pytest.skip("make lab is tried in the environment that make makes: make test")
    log = tmp_path_factory.mktemp("lab") / "log"
    home = tmp_path_factory.mktemp("home")
    server = subprocess.Popen(
        [
            "make",
            "-C",
            str(ROOT),
            "lab",
            f"VENV={os.path.relpath(sys.prefix, ROOT)}",
            "BROWSER=no",
            f"PORT={free_port()}",
        ],
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        env=outside_of_make(HOME=str(home)),
        start_new_session=True,  # so that what make starts can be ended with it
    )
    try:
        deadline = time.monotonic() + 60
        while not (printed := re.search(r"http://127\.0\.0\.1:\S+token=\w+", log.read_text())):
            with suppress(subprocess.TimeoutExpired):
                server.wait(timeout=0.1)
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
        yield printed[0]
        assert not list(home.iterdir()), "make lab wrote into the home"
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def test_make_lab_prints_the_address_of_the_first_lesson_with_its_token(lab_address: str) -> None:
    assert urlsplit(lab_address).path == "/lab/tree/00_fire_an_order.ipynb"
    with urlopen(lab_address, timeout=30) as page:
        assert b"jupyter-config-data" in page.read()


def test_make_lab_serves_the_lessons(lab_address: str) -> None:
    with urlopen(lab_address.replace("/lab/tree/", "/api/contents/"), timeout=30) as lesson:
        assert json.load(lesson)["type"] == "notebook"


def test_make_lab_brings_no_news(lab_address: str) -> None:
    settings = "/lab/api/settings/@jupyterlab/apputils-extension:notification"
    with urlopen(lab_address.replace("/lab/tree/00_fire_an_order.ipynb", settings), timeout=30) as answer:
        assert json.load(answer)["schema"]["properties"]["fetchNews"]["default"] == "false"


def test_make_lab_answers_no_one_without_the_token(lab_address: str) -> None:
    without = lab_address.partition("?")[0].replace("/lab/tree/", "/api/contents/")
    with pytest.raises(HTTPError, match="403"):
        urlopen(without, timeout=30)


def test_make_lab_listens_to_this_machine_only(lab_address: str) -> None:
    every_interface_would_answer = ("127.0.0.2", urlsplit(lab_address).port)
    with pytest.raises(OSError, match=r"refused|timed out|assign|unreachable"):
        socket.create_connection(every_interface_would_answer, timeout=2)


@needs_make
@pytest.mark.parametrize(
    ("goal", "lock"), [("tools", "tests/requirements.lock"), ("peers", "benchmarks/requirements.lock")]
)
def test_make_installs_more_once_and_again_when_its_lock_or_the_environment_has_changed(
    goal: str, lock: str, environment: Path
) -> None:
    stamp = environment / f".{goal}"

    def installs(*options: str) -> bool:
        would_do = make("--dry-run", *options, goal, f"VENV={environment}").stdout
        return f"--require-hashes -r {lock};" in would_do and f"touch {stamp}" in would_do

    assert installs()
    stamp.touch()
    assert not installs()
    assert installs("-W", lock)
    assert installs("-W", f"{environment}/.locked")
