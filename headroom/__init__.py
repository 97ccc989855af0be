"""Headroom's entry: the `headroom` command and the Python interface, above all folders.

import headroom
corpus = headroom.open("workspace")
corpus.curate("footage/")
corpus.tier("a2v_gold").to_polars()
"""

from headroom.command import main
from headroom.corpus import Corpus, Tier, open

__all__ = ["Corpus", "Tier", "main", "open"]
