"""The commands of `netloom`, one file per job.

Modules here import at their top only what `netloom --help` can afford; stores, spaces, torch and
Ray are imported inside the functions.
"""
