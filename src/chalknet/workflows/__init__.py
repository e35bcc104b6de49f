"""The use cases of chalknet: one public function for each, which its command calls too."""
