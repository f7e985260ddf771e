"""What happens in a lane: plain async functions over protocols."""
