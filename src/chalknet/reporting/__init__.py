"""Numbers first, as plain tables and figures; drawings second, made from them."""
