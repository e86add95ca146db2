"""The subcommands of `vispa`: each module offers `add_arguments` and `run`."""
