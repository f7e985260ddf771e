"""Where the parts are put together: the only package that imports LangGraph."""
