"""Callbacks: what watches a run without being part of it."""

from lmkit.callbacks.board import Board
from lmkit.callbacks.checkpoints import BestAndLast
from lmkit.callbacks.exact_resume import ExactResume
from lmkit.callbacks.export import HuggingFaceExport
from lmkit.callbacks.final_validation import FinalValidation
from lmkit.callbacks.metrics_file import MetricsFile
from lmkit.callbacks.optimizer_options import OptimizerOptions
from lmkit.callbacks.predictions import Predictions
from lmkit.callbacks.progress import ProgressBar
from lmkit.callbacks.recipe import KeepRecipe
from lmkit.callbacks.samples import Samples
from lmkit.callbacks.stopwatch import Stopwatch
from lmkit.callbacks.throughput import Throughput

__all__ = [
    "BestAndLast",
    "Board",
    "ExactResume",
    "FinalValidation",
    "HuggingFaceExport",
    "KeepRecipe",
    "MetricsFile",
    "OptimizerOptions",
    "Predictions",
    "ProgressBar",
    "Samples",
    "Stopwatch",
    "Throughput",
]
