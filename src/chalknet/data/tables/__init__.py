"""Tables of mixed columns: reading them, finding what each column holds, and encoding them as numbers."""
