"""``flambeau demo``: train a network on handwritten digits and show what it learned."""
