"""The report that a person opens in a browser: pages without a network, from what the chain left on disk."""
