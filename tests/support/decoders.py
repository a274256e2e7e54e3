"""A decoder's static profiles beside the dynamic model that they were made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.decoder import NO_HINTS
from npuopt.graph import Session, load
from npuopt.pipeline.runner import Runner
from npuopt.road.built import Built
from npuopt.road.decoding import freeze_profile, open_decoder
from npuopt.road.driving import Driver
from npuopt.road.language_model_records import describe
from npuopt.road.options import LanguageModelOptions, silent
from npuopt.road.preparation import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.bundle import CacheForm


def static_driver(path: Path, options: LanguageModelOptions, form: CacheForm, hints=NO_HINTS) -> Driver:
    """Return a driver of float profiles in ONNX Runtime."""
    opened = open_decoder(path, options.context, hints, say=silent)
    built = {}
    for name, new in options.lengths.items():
        prepared = prepare(freeze_profile(opened, new, form, options), Runner(None, "final"), {}, say=silent)
        built[name] = Built(name, new, prepared, plan=None)  # type: ignore[arg-type] -- nothing is placed here
    record = describe(opened.decoder, built, form, options, "profiles")
    sessions = {name: Session(item.prepared.model, threads=1) for name, item in built.items()}
    if options.last_logits:
        profiles = tuple(item.model_copy(update={"logits": "last"}) for item in record.profiles)
        record = record.model_copy(update={"profiles": profiles})
    return Driver(record, lambda profile, feeds: sessions[profile.name].run(feeds))


class Dynamic:
    """The model as it was exported, fed with any number of tokens; its cache grows, where it has one."""

    def __init__(self, path: Path) -> None:
        model = load(path)
        self.session = Session(path, threads=1)
        self.shapes = {value.name: value.shape for value in model.graph.inputs}
        self.empty()

    def empty(self) -> None:
        """Forget all tokens."""
        shapes = {name: shape for name, shape in self.shapes.items() if len(shape) == 4}
        self.past = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in shapes.items()}
        self.ids: list[int] = []

    def feed(self, tokens: list[int]) -> np.ndarray:
        """Return the logits of the tokens."""
        self.ids += tokens
        new = tokens if self.past else self.ids
        total = len(self.ids) if not self.past else next(iter(self.past.values())).shape[2] + len(tokens)
        feeds = dict(self.past)
        for name in self.session.inputs:
            if name in feeds:
                continue
            if "mask" in name:
                feeds[name] = np.ones((1, total), np.int64)
            elif "position" in name:
                feeds[name] = np.arange(total - len(new), total)[None]
            else:
                feeds[name] = np.array([new])
        found = self.session.run(feeds)
        names = list(self.session.outputs)
        self.past = {name: found[names[1 + index]] for index, name in enumerate(self.past)}
        return found[names[0]][0][-len(tokens) :]
