"""The commands' own options, a module for each group; what a command does is imported when it is called."""
