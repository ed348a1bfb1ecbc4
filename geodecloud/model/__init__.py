"""The networks, their files, and the predictor that runs them."""
