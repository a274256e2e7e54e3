"""The road for language models: one decoder becomes static graphs that share their weights and their cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.decoder import read_hints, recognise
from npuopt.decoder.source import find_source
from npuopt.errors import InputError, UsageError
from npuopt.graph import dims, label, load, name_nodes, note_origins
from npuopt.passes.freeze.freeze_dims import FreezeDims
from npuopt.passes.freeze.freeze_key_value_cache import FreezeKeyValueCache
from npuopt.passes.freeze.insert_position_inputs import InsertPositionInputs
from npuopt.passes.freeze.insert_token_choice import InsertTokenChoice
from npuopt.passes.freeze.split_embedding import SplitEmbedding
from npuopt.passes.tune.fold_adapters import FoldAdapters
from npuopt.passes.tune.insert_adapters import InsertAdapters
from npuopt.pipeline.catalogue import find_pass
from npuopt.pipeline.recipes import CLEAN
from npuopt.pipeline.runner import Runner
from npuopt.road.branches import take_branch
from npuopt.road.encoder_decoder import CROSS_MASK, cross_names, split_source
from npuopt.road.encoding import open_encoder
from npuopt.road.preparation import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.bundle import CacheForm
    from npuopt.decoder import Decoder, Hints
    from npuopt.decoder.source import Source
    from npuopt.graph import Model, Value
    from npuopt.road.encoding import Encoder
    from npuopt.road.options import LanguageModelOptions, Say
    from npuopt.target import Target


RAISED_FOR_RECOGNITION = {"Attention": ("lower-attention",), "RotaryEmbedding": ("lower-rotary-embedding",)}
"""Ops that a decoder is recognised by -> what takes them apart."""


@dataclass
class Opened:
    """A decoder that was recognised.

    Attributes:
        model: cleaned and fused, shapes free.
        decoder: what it is.
        runner: has run all passes so far.
        encoder: the other half of an encoder-decoder, or None.
        cross: makes keys and values of the encoder's states, where there is one.
    """

    model: Model
    decoder: Decoder
    runner: Runner
    encoder: Encoder | None = None
    cross: Model | None = None


def open_decoder(path: Path, context: int, hints: Hints, *, encoder: Encoder | None = None, say: Say) -> Opened:
    """Load a model, clean and fuse it, and recognise the decoder in it.

    Args:
        path: the ONNX file.
        context: most tokens that are looked at.
        hints: what the graph does not tell.
        encoder: whose states the decoder reads.
        say: told what is being done.

    Raises:
        InputError: when it is none, or something of it is not clear.
    """
    say(f"loading {path}")
    model = load(path)
    name_nodes(model)
    note_origins(model)
    runner = Runner(None, "off")
    try:
        take_branch(model)
    except InputError as error:
        error.where = f"{path}: {error.where}"
        raise
    prepare(model, runner, {}, say=say)
    say("recognising the decoder")
    cross: Model | None = None
    try:
        source = find_source(model)
        if (source is None) != (encoder is None):
            raise _halves_apart(source)
        if source is None or encoder is None:
            decoder = recognise(model, context, hints)
        else:
            model, cross = split_source(model, runner, source, encoder)
            given = (CROSS_MASK, *(name for pair in cross_names(source.layers) for name in pair))
            decoder = recognise(model, context, hints, source, given)
    except InputError as error:
        error.where = error.where or str(path)
        raise
    return Opened(model, decoder, runner, encoder, cross)


def open_halves(path: Path, wanted: LanguageModelOptions, *, say: Say) -> Opened:
    """Load a decoder, and the encoder that was given beside it."""
    encoder = None if wanted.encoder is None else open_encoder(wanted.encoder, wanted.source_length, say=say)
    return open_decoder(path, wanted.context, read_hints(wanted.hints), encoder=encoder, say=say)


def _halves_apart(source: Source | None) -> InputError:
    if source is None:
        return InputError(
            "reads no states of an encoder", hint="leave out --encoder, or give the encoder's own decoder"
        )
    what = f"reads the states of an encoder, {source.states!r}"
    return InputError(what, hint="give the encoder's file too: --encoder FILE")


def merge_adapter(opened: Opened, options: LanguageModelOptions) -> None:
    """Add low-rank adapters to the weights, where they are asked for.

    Raises:
        InputError: when they fit no layer.
    """
    if options.merge_adapter is not None:
        Runner(None, "off").run(opened.model, [FoldAdapters(adapters=options.merge_adapter)])


def cache_form(target: Target, wanted: str | None) -> CacheForm:
    """Return the form of the cache that the target wants, or the one that is asked for.

    Raises:
        UsageError: when the target does not take it.
    """
    forms: tuple[CacheForm, ...] = target.descriptor.cache.forms
    if wanted is None:
        return forms[0]
    found: CacheForm | None = next((form for form in forms if form == wanted), None)
    if found is None:
        raise UsageError(f"{target.name} does not take a cache of form {wanted}", hint=f"it takes {', '.join(forms)}")
    return found


def lower_raised(model: Model, target: Target, scheme: str) -> None:
    """Take apart what recognition raised and the target does not compute in the scheme, though perhaps in float."""
    computed = target.computed_in(scheme)
    for op_type, lowerings in RAISED_FOR_RECOGNITION.items():
        rule = target.rule(op_type)
        if rule is None or computed not in rule.schemes:
            Runner(None, "off").run_until_stable(model, [find_pass(name)() for name in (*lowerings, *CLEAN)])


def _drop_inputs(model: Model, dropped: list[Value]) -> None:
    """Remove those inputs that are left of some that only said how long the text is, which is known now.

    Raises:
        InputError: when one of them is still read.
    """
    for value in [value for value in model.graph.inputs if value in dropped]:
        if value.uses():
            reader = next(iter(value.uses())).node
            raise InputError(
                f"input {value.name!r} does more than mask padding or say positions", where=f"node {label(reader)}"
            )
        model.graph.inputs.remove(value)


def freeze_profile(opened: Opened, new: int, form: CacheForm, options: LanguageModelOptions) -> Model:
    """Return the decoder with a cache of fixed size and `new` tokens in a run, all shapes static."""
    model, decoder = opened.model.clone(), opened.decoder
    runner = Runner(None, "off")
    if options.adapter is not None and options.merge_adapter is not None:
        raise UsageError("an adapter is an input or merged, not both")
    if options.last_logits:
        runner.run(model, [InsertTokenChoice(product=decoder.head)])
    steps = [
        InsertPositionInputs(tables=decoder.tables, new=new),
        FreezeKeyValueCache(decoder=decoder, form=form, new=new, most=max(options.lengths.values())),
    ]
    tokens = decoder.tokens or decoder.embeddings
    first = next(value for value in model.graph.inputs if value.name == tokens)
    free = [axis for axis, dim in enumerate(dims(first) or ()) if not isinstance(dim, int)]
    sizes = {f"{tokens}:{axis}": (1, new)[axis] for axis in free if axis < 2}
    if opened.encoder is not None:
        sizes[f"{CROSS_MASK}:2"] = new
    extra = [value for value in model.graph.inputs if value.name in decoder.extra]
    adapters = [] if options.adapter is None else [InsertAdapters(adapters=options.adapter)]
    split = [SplitEmbedding(lookup=decoder.lookup)] if options.embedding == "host" else []
    runner.run(model, [*steps, FreezeDims(dims=tuple(sizes.items())), *split, *adapters])
    runner.run_until_stable(model, [find_pass(name)() for name in CLEAN])
    _drop_inputs(model, extra)
    return model
