"""Running what was compiled."""

from npuopt.runtime.artifact import Artifact, Engine
from npuopt.runtime.generation.confidence import Thresholds
from npuopt.runtime.generation.escalation import Consent, Escalation, Question
from npuopt.runtime.generation.generator import Generator, Piece
from npuopt.runtime.generation.opening import open_decoder, open_generator
from npuopt.runtime.generation.options import GenerateOptions
from npuopt.runtime.generation.sampling import Sampling
from npuopt.runtime.generation.sessions import restore_session, save_session
from npuopt.runtime.steps import Fallback, StepRunner

__all__ = [
    "Artifact",
    "Consent",
    "Engine",
    "Escalation",
    "Fallback",
    "GenerateOptions",
    "Generator",
    "Piece",
    "Question",
    "Sampling",
    "StepRunner",
    "Thresholds",
    "open_decoder",
    "open_generator",
    "restore_session",
    "save_session",
]
