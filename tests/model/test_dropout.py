import pytest
import torch

from alexnet.model.dropout import Dropout


def test_training_zeroes_with_probability_p_and_leaves_the_rest_as_it_is():
    torch.manual_seed(0)
    x = torch.rand(100_000) + 1
    y = Dropout(0.3).train()(x)
    is_dropped = y == 0
    assert torch.equal(y[~is_dropped], x[~is_dropped])
    assert is_dropped.double().mean().item() == pytest.approx(0.3, abs=0.01)


def test_evaluation_multiplies_by_the_probability_of_survival():
    x = torch.randn(1000)
    assert torch.equal(Dropout(0.5).eval()(x), x * 0.5)
    assert torch.equal(Dropout(0.25).eval()(x), x * 0.75)


def test_without_dropout_activities_pass_through():
    x = torch.randn(1000)
    assert torch.equal(Dropout(0.0).train()(x), x)
    assert torch.equal(Dropout(0.0).eval()(x), x)


def test_dropped_activities_get_no_gradient():
    x = torch.ones(1000, requires_grad=True)
    y = Dropout(0.5).train()(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_arms_with_and_without_dropout_use_up_equally_many_random_numbers():
    def next_number(p):
        torch.manual_seed(0)
        Dropout(p).train()(torch.ones(4, 33))
        return torch.rand(())

    assert torch.equal(next_number(0.0), next_number(0.5))


@pytest.mark.parametrize("p", [-0.1, 1.0, 50])
def test_a_dropout_that_is_no_probability_below_one_is_refused(p):
    with pytest.raises(ValueError, match=rf"in \[0, 1\), but is {p}"):
        Dropout(p)
