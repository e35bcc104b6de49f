import pytest

from chalknet.errors import ConfigError
from chalknet.training.recipes import RECIPES, recipe


def test_every_recipe_knows_its_own_name():
    assert all(recipe(name).name == name for name in RECIPES)


def test_an_unknown_recipe_gets_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown recipe 'writup'\. Did you mean 'writeup'\?"):
        recipe("writup")
