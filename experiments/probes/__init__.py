"""Questions to one detector: where its loss is, what it costs, how fast it trains."""
