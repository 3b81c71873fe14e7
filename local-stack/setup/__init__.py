"""The steps of install.py, one file per subject. They need only Python's standard library."""
