"""DeepSpeed settings: how to run, and nothing about what is run."""

from pathlib import Path

FOLDER = Path(__file__).parent
