"""Is it slower? Pure deciders: arrays of round medians in, verdicts out. Nothing here measures or starts anything.

``paired`` decides between two arms measured in turn, ``compare`` between stored runs and against a stored baseline,
``history`` over a series of commits; ``equivalence`` says what is proven to be the same, ``power`` what could have been
seen; ``simulate`` drives these very functions with simulated machines and counts their mistakes.
"""
