"""Which base models the service has, and the folder of each.

The built-in ones (``built_in``), every Hugging Face folder beside them under ``WORKBENCH_MODELS`` by
its name (``mine`` or ``org/mine``), and every model of the hub's cache on this machine by its id
(``org/name``). Nothing is downloaded for the last two. Neither torch nor transformers is loaded before
a built-in folder is asked for.
"""

import re
from pathlib import Path

from workbench.errors import SetupError

SMOLLM2 = "SmolLM2-135M-Instruct"
NANO = "nano"
BUILT_IN = (SMOLLM2, NANO)
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
        folder = models / name
        if not folder.is_dir():
            from workbench.local.models.built_in import make  # loads torch, which names do not need

            make(name, folder)
        return folder
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
