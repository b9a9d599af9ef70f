"""Other benchmarks' own ways to ask and to score, beside mubench's."""
