"""Trees in which a known thing went wrong: planted first, labelled by who planted them (`labels.toml`)."""
