"""What networks with several heads are trained with, and judged by: losses and metrics by task."""
