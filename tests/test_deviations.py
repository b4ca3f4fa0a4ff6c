import importlib.util

import pytest

from alexnet.paths import PROJECT

FILE = PROJECT / "docs" / "deviations.py"


@pytest.fixture(scope="module")
def deviations():
    spec = importlib.util.spec_from_file_location("deviations", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_in_the_documents_is_that_of_the_configurations(deviations):
    text = deviations.FILE.read_text()
    written = text.partition(deviations.BEGIN)[2].partition(deviations.END)[0]

    assert written == deviations.table(), "run python docs/deviations.py"


# Numbers 9 and 10 are the input's overhang and a slip of the pen: no keys.
@pytest.mark.parametrize(
    "key",
    [
        "model.norm1_before_nonlinearity",  # 1
        "model.lrn_alpha_is_divided_by_size",  # 2
        "model.same_map_norm",  # 3
        "model.init",  # 4
        "learning.bias_lr_factor",  # 5
        "learning.drops",  # 5
        "data.color_noise_epochs",  # 6
        "data.color_noise_scale",  # 7
        "data.color_noise_rescale",  # 7
        "data.crop_block",  # 8
        "learning.bias_weight_decay",  # 11
    ],
)
def test_each_difference_of_the_program_of_2012_is_a_key(deviations, key: str):
    assert f"| `{key}` |" in deviations.table()
