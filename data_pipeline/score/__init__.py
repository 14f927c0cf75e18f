"""Scores: columns beside the documents, by models trained from labelled texts."""

from data_pipeline.score.stage import run as run
