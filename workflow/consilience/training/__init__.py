"""Training of ensembles: recipes, members, the loop, the stack, and the file that holds an ensemble."""
