"""A trained model at work: answers for files and arrays, and what a labeled set says of them."""
