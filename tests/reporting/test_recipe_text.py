"""What a report says of a recipe is what the recipe does."""

import pytest
from study_factory import make_report_data

import chalknet
from chalknet.reporting.sections.setup import seeds_text, training_text


def words(name="writeup", vary="hidden=5,9", **settings):
    recipe = chalknet.recipe(name).with_settings(**{"train_size": 160, "valid_size": 40, **settings})
    return make_report_data(vary, recipe=recipe)


def test_the_write_ups_recipe_is_told_as_before():
    text = training_text(words())
    assert "The networks have dense layers with relu between them." in text
    assert "for 200 epochs by gradient descent on the full training set, one update per epoch" in text
    assert "momentum 0.99 for the weights and none for the biases." in text
    assert "Regularization" not in text
    assert "transformed at random" not in text


def test_strong_is_told_with_its_optimizer_and_what_it_adds_and_changes():
    text = training_text(words("strong"))
    assert "by AdamW on mini-batches of 128 samples" in text
    assert "a learning rate that rises to 0.002 and falls to near 0 (one cycle)" in text
    assert "momentum" not in text
    assert "Regularization: dropout of 10 % of the hidden units and decoupled weight decay 0.05." in text
    assert "shifted by up to 3 pixels, rotated by up to 10 degrees" in text
    assert "Training scores are measured with these random changes" in text
    assert "zoomed by a factor of 1/1.1 to 1.1" in text
    assert "sheared by up to 0.1 pixels per pixel of height" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"activation": "leaky_relu"}, "layers with leaky relu between them"),
        ({"batch_norm": True}, "relu between them, batch normalization"),
        ({"optimizer": "nesterov"}, "by gradient descent with Nesterov's momentum on"),
        ({"optimizer": "gradient_descent"}, "over the batch."),
        (
            {"l2": 0.1, "class_weights": "balanced"},
            "an L2 penalty of strength 0.1 and class weights that balance the classes",
        ),
        ({"schedule": "cosine"}, "learning rate 1e-05, which falls as a cosine"),
        ({"schedule": "coslog4"}, "learning rate 1e-05 at the peaks of four cosine periods"),
        (
            {"weight_decay": 0.1, "weight_decay_schedule": "flat_cos"},
            "decoupled weight decay 0.1, which falls in the second half",
        ),
    ],
)
def test_each_setting_is_told(settings, said):
    assert said in training_text(words(**settings))


def test_layers_that_are_named_one_by_one_are_told_in_their_order():
    layers = [{"type": "dense", "units": 9, "bias": False}, "batch_norm", "silu", {"type": "dropout", "rate": 0.2}]
    text = training_text(words(vary="learning_rate=0.1,0.2", layers=layers))
    assert (
        "The networks have these layers, from input to output: dense of 9 units without bias, batch normalization, "
        "silu "
        "and dropout of rate 0.2, and a dense output layer. They are trained"
    ) in text


def test_the_layers_of_a_table_recipe_are_told():
    layers = [
        {"type": "periodic_embedding", "columns": 2}, "piecewise_linear_embedding", "scale",
        {"type": "dense", "units": 5},
        {"type": "parametric_activation", "activation": "selu"}, {"type": "dense", "parametrization": "ntk"},
    ]  # fmt: skip
    assert (
        "periodic embedding of the first 2 inputs, piecewise linear embedding of all inputs, a learned scale of each "
        "value, dense of 5 units and parametric selu, and a dense output layer in NTK parametrization"
    ) in training_text(words(vary="learning_rate=0.1,0.2", layers=layers))


def test_an_embedding_of_categories_is_told():
    short = training_text(words(vary="learning_rate=0.1,0.2", hidden=[50], embed_categories=4))
    assert "one hidden layer of 50 relu units, embedding of categories in 4 numbers before them" in short
    layers = ["relu", {"type": "dense", "units": 5}]
    long = training_text(words(vary="learning_rate=0.1,0.2", layers=layers, embed_categories=4))
    assert "from input to output: embedding of categories in 4 numbers, relu and dense of 5 units" in long


def test_what_is_varied_is_not_told_as_if_it_were_one_value():
    text = training_text(words("strong", "dropout=0.1,0.4"))
    assert "dropout of hidden units (varied)" in text


def test_seeds_differ_in_what_training_draws_at_random_only_where_it_draws():
    assert "the random draws of training" in seeds_text(words("strong"))
    assert "at random" not in seeds_text(words())


def test_the_values_that_vary_are_listed():
    recipe = chalknet.recipe("strong").with_settings(train_size=160, valid_size=40, epochs=8)
    text = training_text(make_report_data("hidden=16,32", "learning_rate=0.001,0.01", recipe=recipe))
    assert "The configurations differ in hidden units (16, 32) and learning rate (0.001, 0.01)." in text
    assert "a learning rate that rises to the varied value and falls to near 0 (one cycle)" in text


def test_a_schedule_that_varies_is_not_told_as_the_first_one():
    text = training_text(words("strong", "schedule=one_cycle,constant"))
    assert "one cycle" not in text
    assert "schedule (one_cycle, constant)" in text


def test_training_that_cannot_stop_early_is_not_said_to_stop():
    # 8 epochs with a patience of 20
    text = training_text(words("strong", stop_early=True, patience=20, epochs=8))
    assert "at most" not in text
    assert "Training stops after" not in text
    assert "trained for 8 epochs" in text
    assert "The weights of the epoch with the best validation accuracy are kept." in text
    assert "at most 30 epochs" in training_text(words("strong", stop_early=True, patience=20, epochs=30))


def test_one_run_is_told_of_one_network_and_which_weights_it_keeps():
    recipe = chalknet.recipe("writeup").with_settings(train_size=160, valid_size=40, hidden=[128], epochs=40)
    text = training_text(make_report_data(seeds=1, recipe=recipe))
    assert text.startswith("The network has one hidden layer of 128 relu units. It is trained for 40 epochs")
    assert "Training does not stop early, and the weights after the last epoch are kept." in text
    assert text.endswith("With only 40 validation samples the best epoch cannot be chosen.")
