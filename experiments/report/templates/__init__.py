"""What the page and its Markdown are filled into, and what fills it."""
