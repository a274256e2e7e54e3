"""Fetch and export the real models that tests and benchmarks use: `python -m tools.models [NAME ...]`.

Each model becomes a folder below $NPUOPT_MODELS (default: npuopt/models in the user's cache folder) that holds
model.onnx, calibration.npz and evaluation.npz; `exporters`, `decoders` and `encoder_decoders` hold small networks
only, each by two exporters. What is there and unchanged is left alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.models.environment import environment_python
from tools.models.failure import ModelError, last_lines
from tools.models.location import models_folder
from tools.models.publish import is_current, only_one, publish, recipe_digest

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
MODELS = {
    "minilm": ("sentences",),
    "efficientnet_lite0": ("photographs",),
    "ppocr_rec": ("sentences", "text_lines"),
    "ppocr_det": ("ppocr_rec", "sentences", "text_lines"),
    "silero": (),
    "exporters": ("architectures",),
    "decoders": ("architectures", "exporters"),
    "encoder_decoders": ("architectures", "exporters", "decoders"),
}
"""The models, each with the modules that its recipe alone or with some others is made of."""
ON_REQUEST = {
    "fashion_mnist": ("registries",),
    "minilm_tasks": ("minilm", "sentences", "registries", "texts"),
    "gemma": ("registries", "texts"),
}
"""What is made only when it is named: its data comes by apt-get or npm, or it has terms of its own."""
TERMS = {
    "gemma": "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms; "
    "whoever fetches it agrees to them. They are written beside the model, and its weights are not for passing on.",
}
SHARED = ("packages", "samples")
RECIPE_SECONDS = 1800


def recipe_of(name: str) -> str:
    """Return the digest of everything that decides what the model's folder holds."""
    return recipe_digest([REQUIREMENTS, *recipe_files(name)])


def recipe_files(name: str) -> list[Path]:
    """Return the source files of a model's recipe."""
    modules = {**MODELS, **ON_REQUEST}[name]
    return [HERE / "recipes" / f"{module}.py" for module in (name, *modules, *SHARED)]


def make(name: str, cache: Path, recipe: str, python: Path) -> None:
    """Run one recipe in the recipes' environment and publish what it made.

    Raises:
        ModelError: when it fails; nothing is published then.
    """
    partial = cache / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent), "OMP_NUM_THREADS": "1"}
    command = [str(python), "-m", "tools.models.recipes", name, str(partial)]
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=RECIPE_SECONDS, check=False, env=environment
        )
        if run.returncode:
            raise ModelError(last_lines(run.stderr))
        publish(partial / "model", cache / name, recipe)
    except subprocess.TimeoutExpired:
        raise ModelError(f"not done after {RECIPE_SECONDS} seconds") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def size_of(folder: Path) -> str:
    """Return what a model's folder takes on disk, for people."""
    return f"{sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.0f} MB"


def main() -> int:
    """Make the models that are asked for, one line for each; 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.models", description=__doc__)
    known = ", ".join((*MODELS, *ON_REQUEST))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {known}; without a name the first {len(MODELS)}")
    parser.add_argument("--force", action="store_true", help="make them anew even if they are there")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in {*MODELS, *ON_REQUEST}]:
        parser.error(f"no model is called {', '.join(unknown)}; there are {known}")
    cache = models_folder()
    with only_one(cache):
        recipes = {name: recipe_of(name) for name in arguments.names or MODELS}
        stale = {name for name in recipes if arguments.force or not is_current(cache / name, recipes[name])}
        try:
            python = environment_python(cache / ".environment", REQUIREMENTS) if stale else Path(sys.executable)
        except ModelError as error:
            print(f"{', '.join(recipes)}: FAILED: {error}", file=sys.stderr)
            return 1
        made = [make_or_say_why_not(name, cache, recipes[name], python, stale) for name in recipes]
    return int(not all(made))


def make_or_say_why_not(name: str, cache: Path, recipe: str, python: Path, stale: set[str]) -> bool:
    """Make one model if it is stale and print one line about it; False when it failed."""
    start = time.monotonic()
    try:
        if name in stale:
            if name in TERMS:
                print(f"{name}: {TERMS[name]}", flush=True)
            make(name, cache, recipe, python)
    except ModelError as error:
        print(f"{name}: FAILED: {error}", file=sys.stderr, flush=True)
        return False
    note = f"made in {time.monotonic() - start:.0f} s" if name in stale else "there already"
    print(f"{name}: {note}, {size_of(cache / name)} in {cache / name}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
