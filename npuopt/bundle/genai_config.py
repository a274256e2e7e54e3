"""What onnxruntime-genai reads of an artifact: `genai_config.json`, and beside the profiles a model that joins them."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from npuopt.bundle.end_tokens import end_tokens, special_tokens
from npuopt.bundle.genai_model import IDS, LOGITS, PAST, PRESENT, genai_model
from npuopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.bundle.language_model import LanguageModelRecord

CONFIG_FILE = "genai_config.json"
MODEL_FILE = "genai.onnx"
TOKENIZER_FILE, TOKENIZER_CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"


def write_genai(folder: Path, record: LanguageModelRecord) -> str:
    """Write what onnxruntime-genai needs into an unfinished artifact; it shares the profiles' weights.

    Args:
        folder: the artifact's, with its profiles and its tokenizer.
        record: what it says of its language model.

    Returns:
        Why nothing was written, or an empty string.
    """
    first = record.caches[0]
    if any((cache.heads, cache.size, cache.dtype) != (first.heads, first.size, first.dtype) for cache in record.caches):
        return "onnxruntime-genai gives the caches of all layers one shape, and those of this model differ"
    if any(mask.bias for mask in record.masks):
        return "onnxruntime-genai is given no masks with biases by distance"
    try:
        model = genai_model(folder, record)
    except InputError as error:
        return str(error)
    path = folder / PurePosixPath(record.profiles[0].model).parent / MODEL_FILE
    path.write_bytes(model.SerializeToString(deterministic=True))
    config = _config(folder, record, path.relative_to(folder).as_posix())
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    configuration = folder / TOKENIZER_CONFIG_FILE
    if (folder / TOKENIZER_FILE).is_file() and not configuration.is_file():
        configuration.write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}\n', encoding="utf-8")
    return ""


def _config(folder: Path, record: LanguageModelRecord, model: str) -> dict[str, Any]:
    first = record.caches[0]
    special = special_tokens(folder / TOKENIZER_FILE)
    ends = end_tokens(special, special, folder / TOKENIZER_CONFIG_FILE) or [0]
    return {
        "model": {
            "type": "decoder",
            "vocab_size": record.vocabulary_size,
            "context_length": record.context_length,
            "bos_token_id": ends[0],
            "eos_token_id": ends,
            "pad_token_id": ends[0],
            "decoder": {
                "filename": model,
                "session_options": {"session.x64quantprecision": "1", "provider_options": []},
                "head_size": first.size,
                "num_key_value_heads": first.heads,
                "num_hidden_layers": record.layers,
                "inputs": {"input_ids": IDS, "past_key_names": PAST["key"], "past_value_names": PAST["value"]},
                "outputs": {
                    "logits": LOGITS,
                    "present_key_names": PRESENT["key"],
                    "present_value_names": PRESENT["value"],
                },
            },
        },
        "search": {"max_length": record.context_length, "do_sample": False, "past_present_share_buffer": False},
    }
