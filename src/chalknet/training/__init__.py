"""How a network learns: recipes, optimizers and the trainer, an iterator of epochs."""
