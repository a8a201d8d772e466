"""The named spaces, one file each; none loads torch before it builds a network."""
