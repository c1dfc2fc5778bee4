"""The paper's sizes: they begin calm whatever their depth, and one update of LAMBO_M fits."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lambo_agents.acl.config import Recipe
from lambo_agents.acl.trainer import Trainer
from lambo_agents.registry import make_agent

MOST_GIB = 24.0  # of memory for an update
NARROW = {"d_model": 16, "num_heads": 2, "encoder_ff": 32, "decoder_ff": 32}


def recipe(deep: bool, **fields: object) -> Recipe:
    stage = {"phase": "imitation", "updates": 1, "instances": 4, "orders": 1}
    worlds = ({"scenario": "tiny"},)
    return Recipe(preset="lambo_l", phases=(stage,), worlds=worlds, deep=deep).replace(**fields)


def test_a_deep_stack_adds_as_much_as_a_shallow_one() -> None:
    """Its input, plus what all branches add, does not grow with the number of layers."""

    def growth(layers: int, deep: bool) -> float:
        actor = Trainer(
            recipe(deep, network=NARROW | {"encoder_layers": layers, "decoder_layers": 1}),
            make_agent("local-search"),
        ).actor
        x = torch.randn(4, 8, 16, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            y = x
            for layer in actor.encoder:
                y = layer(y)
        return float((y - x).std())

    assert growth(120, deep=True) < 1.5 * growth(6, deep=True)
    assert growth(120, deep=False) > 3 * growth(6, deep=False)


def test_the_columns_of_a_ue_are_not_drowned() -> None:
    """What tells UEs apart begins about as large as what all tokens share."""

    def shared_over_own(deep: bool) -> float:
        actor = Trainer(recipe(deep, network=NARROW), make_agent("local-search")).actor
        ues = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            own = actor.servers.embed(ues, torch.ones(4, 4)).ues.std(1).mean()
        return float(actor.types.weight.detach().std() / own)

    assert shared_over_own(deep=True) < 1 < 3 < shared_over_own(deep=False)


@pytest.mark.parametrize("name", ["lambo-m", "lambo-l"])
def test_the_narrow_recipes_are_as_deep(name: str) -> None:
    shape, narrow = (Recipe.load(each).shape() for each in (name, f"{name}-narrow"))
    assert narrow.d_model * 16 == shape.d_model
    same = {field: value for field, value in shape.to_dict().items() if "layers" in field}
    assert same.items() <= narrow.to_dict().items()
    trainer = Trainer(
        Recipe.load(f"{name}-narrow", phases=recipe(True).phases), make_agent("local-search")
    )
    assert np.isfinite(trainer.update()["loss"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_an_update_of_lambo_m_fits_into_memory() -> None:
    import resource

    stages = recipe(True).phases
    trainer = Trainer(Recipe.load("lambo-m", phases=stages), make_agent("local-search"))
    assert np.isfinite(trainer.update()["loss"])
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit < MOST_GIB * 2**30
