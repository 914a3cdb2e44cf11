"""How the benchmarks measure, judge and print; knows no topic."""
