"""Nothing that ships turns data into code, starts a shell, or leaves out a certificate's proof."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    path for package in ("train", "convert", "edge") for path in (ROOT / package).rglob("*.py")
)
MODULES = {
    "pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml",
    "code", "codeop", "pty", "telnetlib", "ftplib", "xmlrpc", "socketserver", "wsgiref",
}  # fmt: skip
"""Loading data runs code, or a server listens. (`http.server` is looked for by its own name.)"""
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
ATTRIBUTES = {
    "os": {"system", "popen", "execl", "execle", "execlp", "execv", "execve", "execvp", "spawnl",
           "spawnv", "spawnvp", "posix_spawn", "posix_spawnp"},
    "subprocess": {"getoutput", "getstatusoutput"},
    "tempfile": {"mktemp"},
    "ssl": {"_create_unverified_context", "CERT_NONE", "CERT_OPTIONAL"},
    "logging.config": {"listen"},
}  # fmt: skip
ANYWHERE = {"tls_insecure_set", "check_hostname", "verify_mode", "enable_unsafe_deserialization"}
WORDS = {("shell", True), ("verify", False), ("safe_mode", False), ("allow_pickle", True)}
"""Arguments that no call may be given, a value that is computed included."""
ALLOWED = {
    ("edge/sightpost_edge/commands/service.py", "os.execvp"): "becomes journalctl, word by word",
}
"""(file, finding): why that is no shell, and no code out of data."""


def findings(tree: ast.AST) -> Iterator[str]:
    """What of the above a module does, by name."""
    names = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=imported):
                names |= {one.asname or one.name: one.name for one in imported}
                yield from (f"import {one.name}" for one in imported if _is_banned(one.name))
            case ast.ImportFrom(module=str(module), names=imported, level=0):
                if _is_banned(module):
                    yield f"import {module}"
                banned = ATTRIBUTES.get(module, set())
                yield from (f"{module}.{one.name}" for one in imported if one.name in banned)
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                yield name
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=of), attr=name) if name in ATTRIBUTES.get(
                names.get(of, of), set()
            ):
                yield f"{names.get(of, of)}.{name}"
            case ast.Attribute(attr=name) if name in ANYWHERE:
                yield name
            case ast.Call(keywords=keywords):
                yield from (f"{k.arg}={ast.unparse(k.value)}" for k in keywords if _is_unsafe(k))


def _is_banned(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in MODULES or module == "http.server"


def _is_unsafe(keyword: ast.keyword) -> bool:
    for word, bad in WORDS:
        if keyword.arg == word:
            return not (
                isinstance(keyword.value, ast.Constant) and keyword.value.value == (not bad)
            )
    return False


def test_all_that_ships_is_looked_at() -> None:
    """The folders are where this test thinks they are."""
    assert len(SHIPPED) > 150


@pytest.mark.parametrize("package", ["train", "convert", "edge"])
def test_no_data_becomes_code(package: str) -> None:
    """No pickle, no eval or exec, no shell, no listener, no TLS without proof."""
    found = {
        (path.relative_to(ROOT).as_posix(), finding)
        for path in SHIPPED
        if path.is_relative_to(ROOT / package)
        for finding in findings(ast.parse(path.read_text()))
    }
    assert not found - set(ALLOWED)


def test_what_is_allowed_is_still_needed() -> None:
    """The list of exceptions does not outlive them."""
    for place, finding in ALLOWED:
        assert finding in set(findings(ast.parse((ROOT / place).read_text())))


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("import pickle", "import pickle"),
        ("from pickle import loads", "import pickle"),
        ("import http.server", "import http.server"),
        ("eval('1')", "eval"),
        ("import os as o\no.system('ls')", "os.system"),
        ("from os import popen", "os.popen"),
        ("import subprocess\nsubprocess.run('ls', shell=True)", "shell=True"),
        ("import subprocess\nsubprocess.run('ls', shell=on)", "shell=on"),
        ("np.load(path, allow_pickle=True)", "allow_pickle=True"),
        ("import ssl\nssl.CERT_NONE", "ssl.CERT_NONE"),
        ("context.check_hostname = False", "check_hostname"),
        ("load_model(path, safe_mode=False)", "safe_mode=False"),
    ],
)
def test_each_is_recognised(source: str, finding: str) -> None:
    """The test would find it."""
    assert finding in set(findings(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    ["np.load(path, allow_pickle=False)", "re.compile('a')", "import subprocess", "x.run()"],
)
def test_the_ordinary_is_left_alone(source: str) -> None:
    """And nothing else."""
    assert not list(findings(ast.parse(source)))
