"""One file a format: bytes from anywhere become a `Dataset`, or one `DataError` that says what is wrong with them."""
