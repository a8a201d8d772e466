"""One file per change; the revision is the number that the file starts with."""
