"""The commands of bench, a file a group."""
