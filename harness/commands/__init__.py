"""The subcommands of `batch-flash`, one module each."""
