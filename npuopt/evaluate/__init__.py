"""Task metrics: what a model is for, measured on numpy arrays that any runtime made."""

from npuopt.evaluate.classification import top1_accuracy, top1_agreement
from npuopt.evaluate.detection import frame_auc
from npuopt.evaluate.embeddings import cosine_similarities, sentence_embeddings
from npuopt.evaluate.perplexity import perplexity, token_losses, token_windows
from npuopt.evaluate.recognition import ctc_greedy_decode, exact_match

__all__ = [
    "cosine_similarities",
    "ctc_greedy_decode",
    "exact_match",
    "frame_auc",
    "perplexity",
    "sentence_embeddings",
    "token_losses",
    "token_windows",
    "top1_accuracy",
    "top1_agreement",
]
