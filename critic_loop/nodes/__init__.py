"""What happens in a lane: plain async functions over protocols.

Internal: what users need of it, `critic_loop` offers.
"""
