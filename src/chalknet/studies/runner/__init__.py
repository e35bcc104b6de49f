"""Who trains a study's units: worker processes of this machine."""
