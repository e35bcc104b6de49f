"""A trained model at work: answers for files and arrays, and what a labelled set says of them."""
