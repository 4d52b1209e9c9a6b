"""Stages that run: pretraining and downstream, two wings that do not import each other."""
