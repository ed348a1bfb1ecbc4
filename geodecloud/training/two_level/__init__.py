"""Training of the generator on windows that are made where they are used."""
