"""How a network learns: recipes, optimisers and the trainer, an iterator of epochs."""
