"""Where the parts are put together: the only package that imports LangGraph.

Internal: what users need of it, `critic_loop` offers.
"""
