"""Eight workflows that do real work on real files and tables; ``README.md`` says which shows what."""
