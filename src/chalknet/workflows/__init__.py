"""Rooms put together: what a command and the public function of the same name both call."""
